"""Hardware-aware neural architecture search whose every Pareto point is measured on your machine.

``dir(nas)`` lists the public names. Importing this package loads neither torch nor Ray: each name is imported from
its room when it is first used. ``__init__.pyi`` is the only list of names; type checkers read it too.
"""

from __future__ import annotations

import functools
import importlib

__version__: str


@functools.cache
def _homes() -> dict[str, tuple[str, str]]:
    """Read from ``__init__.pyi`` the module of each public name, and the name there."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("nas")
    if name == "__all__":
        return sorted(_homes())
    if name.startswith("__") or name not in _homes():
        raise AttributeError(_unknown(name))
    module, attribute = _homes()[name]
    found = getattr(importlib.import_module(module), attribute)
    globals()[name] = found  # so that this function is asked once
    return found


def __dir__() -> list[str]:
    return [*sorted(_homes()), "__version__"]


def _unknown(name: str) -> str:
    if name.startswith("_"):
        return f"module 'nas' has no attribute {name!r}"
    from nas.errors import nearest

    near = nearest(name, sorted(_homes()))
    hint = "dir(nas) lists the public names." if near is None else f"Did you mean {near!r}?"
    return f"module 'nas' has no attribute {name!r}. {hint}"
