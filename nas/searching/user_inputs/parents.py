"""Checking that a space with a parent is searched in a way in which candidates inherit and learn from it."""

from __future__ import annotations

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe
from nas.space.parts.parents import parents_space
from nas.space.search_space import SearchSpace


def check_parent(recipe: Recipe, space: SearchSpace) -> None:
    """Check that candidates of a space with a parent are trained by the trainer of this project.

    Raises:
        RecipeError: they are not.
    """
    if parents_space(space) is None:
        return
    if recipe.evaluate != "train":
        raise RecipeError(
            f'parts of a parent are tuned, so evaluate must be "train" with the space {recipe.space.name!r}, but got '
            f'"{recipe.evaluate}". Leave it out.'
        )
    if recipe.training.function is not None:
        raise RecipeError(
            f"parts of a parent learn from it in the trainer of this project, but got training.function "
            f"{recipe.training.function!r} with the space {recipe.space.name!r}. Leave the function out."
        )
    if recipe.training.folds > 1:
        raise RecipeError(
            f"a parent is tested on the validation items as they are, so training.folds must be 1 with the space "
            f"{recipe.space.name!r}, but got {recipe.training.folds}. Leave it out."
        )
