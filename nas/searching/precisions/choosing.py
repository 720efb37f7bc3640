"""Adding the choice of a precision to a space."""

from __future__ import annotations

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe
from nas.searching.user_inputs.training_choices import LookWithout
from nas.space.first_look import FirstLook
from nas.space.parts.candidate import PRECISION
from nas.space.parts.device_parts import AdaptedSpace, with_precisions
from nas.space.search_space import SearchSpace


def with_precision_choice(recipe: Recipe, space: SearchSpace, look: FirstLook) -> tuple[SearchSpace, FirstLook]:
    """Return a space with the choice of the recipe's precisions, and what looks at its architectures.

    Raises:
        RecipeError: the space has a choice of that name already.
    """
    if recipe.precisions and any(choice.name == PRECISION for choice in space.choices):
        raise RecipeError(
            f"precisions adds the choice {PRECISION!r}, but the space {recipe.space.name}, or training.search, has one "
            "of that name already. Leave one of them out."
        )
    made = with_precisions(space, recipe.precisions)
    return made, LookWithout(look, made) if isinstance(made, AdaptedSpace) and made is not space else look
