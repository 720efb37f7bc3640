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
    from nas.progress import PlainProgress
    from nas.recipe import Recipe
    from nas.run import resume, search
    from nas.search_space import load_space
    from nas.table import read_table
    from nas.tracing import describer_of

_HOMES = {
    "DataSet": "nas.dataset",
    "Front": "nas.front",
    "PlainProgress": "nas.progress",
    "Recipe": "nas.recipe",
    "Winner": "nas.front",
    "describer_of": "nas.tracing",
    "load_space": "nas.search_space",
    "read_table": "nas.table",
    "resume": "nas.run",
    "search": "nas.run",
}

__all__ = [
    "Architecture",
    "Choice",
    "DataSet",
    "Front",
    "Layer",
    "PlainProgress",
    "Recipe",
    "Winner",
    "describer_of",
    "load_space",
    "read_table",
    "resume",
    "search",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
