"""Files that a space's options name. A run may be resumed from another folder, so their paths are recorded whole."""

from __future__ import annotations

from pathlib import Path

from nas.errors import SpaceError
from nas.recipe.recipe import Recipe
from nas.recipe.sections import AUTO
from nas.results.bundle import GIVEN
from nas.space.plug_ins import load_plug_in

GROUP = "nas.search_spaces"


def with_whole_paths(recipe: Recipe) -> Recipe:
    """Return the recipe with whole paths in the options that the space's ``path_options`` names.

    A value that is no file or folder stays as it is: it may be a word with a meaning, or the space refuses it.

    Raises:
        SpaceError: ``path_options`` are no names.
    """
    if recipe.space.name in (AUTO, GIVEN):
        return recipe
    names = getattr(load_plug_in(GROUP, recipe.space.name, "search space"), "path_options", ())
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
        raise SpaceError(f"path_options of a space must be a tuple of names of its options, but got {names!r:.80}.")
    given = {name: value for name, value in recipe.space.options.items() if name in names and isinstance(value, str)}
    whole = {name: str(path.resolve()) for name, value in given.items() if (path := Path(value).expanduser()).exists()}
    if not whole:
        return recipe
    space = {**recipe.space.options, **whole, "name": recipe.space.name}
    return Recipe.from_mapping({**recipe.model_dump(), "space": space})
