"""Finding a plug-in by name: an installed entry point, or ``module:Name`` for one's own."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import entry_points
from pathlib import Path

from nas.errors import RecipeError, did_you_mean


def plug_in_names(group: str) -> list[str]:
    """Names registered under an entry-point group, sorted."""
    return sorted({entry.name for entry in entry_points(group=group)})


def load_plug_in(group: str, name: str, noun: str) -> object:
    """The object registered as ``name``, or the one at ``module:Name``.

    A module in the current folder is found too, as for a script that runs there.

    Raises:
        RecipeError: no such entry point, module or attribute; the nearest known name is given.
    """
    if ":" in name:
        return _load_path(name, noun)
    for entry in entry_points(group=group):
        if entry.name == name:
            return entry.load()
    raise RecipeError(f"unknown {noun} {name!r}. {did_you_mean(name, plug_in_names(group))}")


def plug_in_path(group: str, name: str, noun: str) -> str:
    """The ``module:Name`` that ``name`` stands for, without loading it. Raises RecipeError when it is unknown."""
    if ":" in name:
        return name
    for entry in entry_points(group=group):
        if entry.name == name:
            return entry.value
    raise RecipeError(f"unknown {noun} {name!r}. {did_you_mean(name, plug_in_names(group))}")


def _load_path(path: str, noun: str) -> object:
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise
        raise RecipeError(
            f"{noun} {path!r} names the module {module_name!r}, which is neither installed nor in {here}."
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise RecipeError(
            f"{noun} {path!r}: {module_name} has no {attribute!r}. {did_you_mean(attribute, public)}"
        ) from None
