"""Hardware-aware neural architecture search whose every Pareto point is measured on your machine.

Importing this loads neither torch nor Ray: what needs them is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.space.architecture import Architecture, Choice
from nas.space.layer import Layer

if TYPE_CHECKING:
    from nas.progress import PlainProgress
    from nas.recipe.recipe import Recipe
    from nas.results.front import Front
    from nas.results.winner import Winner
    from nas.searching.run import resume, search
    from nas.space.search_space import load_space
    from nas.space.tracing import describer_of
    from nas.tables.table import read_table
    from nas.tasks.dataset import DataSet

_HOMES = {
    "DataSet": "nas.tasks.dataset",
    "Front": "nas.results.front",
    "PlainProgress": "nas.progress",
    "Recipe": "nas.recipe.recipe",
    "Winner": "nas.results.winner",
    "describer_of": "nas.space.tracing",
    "load_space": "nas.space.search_space",
    "read_table": "nas.tables.table",
    "resume": "nas.searching.run",
    "search": "nas.searching.run",
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
