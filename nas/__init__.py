"""Hardware-aware neural architecture search whose every Pareto point is measured on your machine.

Importing this loads neither torch nor Ray: what needs them is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.architecture import Architecture, Choice
from nas.layer import Layer

if TYPE_CHECKING:
    from nas.dataset import DataSet
    from nas.front import Front, Winner
    from nas.recipe import Recipe
    from nas.run import resume, search

_HOMES = {
    "DataSet": "nas.dataset",
    "Front": "nas.front",
    "Recipe": "nas.recipe",
    "Winner": "nas.front",
    "resume": "nas.run",
    "search": "nas.run",
}

__all__ = ["Architecture", "Choice", "DataSet", "Front", "Layer", "Recipe", "Winner", "resume", "search"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
