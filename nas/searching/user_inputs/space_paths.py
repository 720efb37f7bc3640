"""Files that a space's options name. A run may be resumed from another folder, so their paths are recorded whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from nas.recipe.recipe import Recipe
from nas.recipe.sections import AUTO
from nas.results.bundle import GIVEN
from nas.space.plug_ins import is_own, load_plug_in

GROUP = "nas.search_spaces"


def with_whole_paths(recipe: Recipe) -> Recipe:
    """Return the recipe of a new run with whole paths in the options that the space's ``path_options`` names.

    These have for each option the words that are no paths. A value that is no file or folder stays as it is, too: the
    space refuses it. Only spaces of this project are asked: a user's own code is first imported in another process.
    """
    if recipe.space.name in (AUTO, GIVEN) or is_own(GROUP, recipe.space.name):
        return recipe
    words: Mapping[str, Collection[str]] = getattr(
        load_plug_in(GROUP, recipe.space.name, "search space"), "path_options", {}
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
