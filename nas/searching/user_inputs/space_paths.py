"""Files that a space's options name. A run may be resumed from another folder, so their paths are recorded whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nas.errors import SpaceError
from nas.recipe.recipe import Recipe
from nas.recipe.sections import AUTO
from nas.results.bundle import GIVEN
from nas.space.plug_ins import load_plug_in

GROUP = "nas.search_spaces"


def with_whole_paths(recipe: Recipe) -> Recipe:
    """Return the recipe of a new run with whole paths in the options that the space's ``path_options`` names.

    These have for each option the words that are no paths. A value that is no file or folder stays as it is, too: the
    space refuses it.

    Raises:
        SpaceError: ``path_options`` are no such mapping.
    """
    if recipe.space.name in (AUTO, GIVEN):
        return recipe
    words = getattr(load_plug_in(GROUP, recipe.space.name, "search space"), "path_options", {})
    if not isinstance(words, Mapping) or not all(isinstance(each, (tuple, list)) for each in words.values()):
        raise SpaceError(
            f"path_options of a space must be a mapping from options to the words that are no paths, but got "
            f"{words!r:.80}."
        )
    whole: dict[str, str] = {}
    for name, value in recipe.space.options.items():
        if name in words and isinstance(value, str) and value and value not in words[name]:
            path = Path(value).expanduser()
            whole |= {name: str(path.resolve())} if path.exists() else {}
    if not whole:
        return recipe
    space = {**recipe.space.options, **whole, "name": recipe.space.name}
    return Recipe.from_mapping({**recipe.model_dump(), "space": space})
