"""Few signals are searched in folds, except where candidates cannot be trained so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_space import TinySpace

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe
from nas.searching.user_inputs.parents import check_parent
from nas.searching.user_inputs.training_defaults import defaults_told, with_training_defaults
from nas.tasks.signals.signals import Signals

FEW = Signals.from_arrays(np.random.default_rng(0).standard_normal((60, 1, 16)), np.arange(60) % 2)


class Parted(TinySpace):
    """A space with a parent, as far as anything here looks at it."""

    parent = first = untuned = notes = ()

    def parent_module(self) -> Any: ...

    def inheritance(self, parent: Any, losses: Any) -> Any: ...

    def inherit(self, architecture: Any, module: Any, inheritance: Any) -> None: ...


@pytest.mark.parametrize(
    ("keys", "folds"),
    [
        ({}, 5),
        ({"training": {"folds": 3}}, 3),
        ({"training": {"folds": 1}}, 1),
        ({"training": {"function": "module:fit"}}, 1),
        ({"evaluate": "zero-cost"}, 1),
        ({"precisions": ("fp32", "int8")}, 1),
    ],
)
def test_the_default_holds_where_it_can(keys: dict[str, Any], folds: int) -> None:
    """A user's own value is kept, and nothing that the user asked for is refused because of a default."""
    recipe = Recipe.from_mapping(keys)
    complete = with_training_defaults(recipe, recipe, FEW, TinySpace())
    assert complete.training.folds == folds
    assert any("training.folds=5" in text for text in defaults_told(complete, FEW)) == (folds == 5)


def test_parts_of_a_parent_are_not_divided() -> None:
    """The parent is tested on the validation split as it is, and its parts are compared with it."""
    recipe = Recipe()
    assert with_training_defaults(recipe, recipe, FEW, Parted()).training.folds == 1
    with pytest.raises(RecipeError, match=r"training\.folds must be 1 with the space 'auto', but got 4"):
        check_parent(Recipe(training={"folds": 4}), Parted())


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"training": {"folds": 3}, "evaluate": "supernet"}, 'is 3, but evaluate must be "train", but is "supernet"'),
        ({"training": {"folds": 3, "function": "m:f"}}, "a function of your own gets the splits as they are, but"),
        ({"training": {"folds": 2}, "precisions": ["fp32", "int8"]}, "int8 is tested on validation items, which folds"),
        ({"training": {"folds": 0}}, "input should be greater than or equal to 1"),
    ],
)
def test_folds_that_cannot_be_are_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(RecipeError) as refused:
        Recipe.from_mapping(keys)
    assert "training.folds" in str(refused.value)
    assert why in str(refused.value)
