"""The defaults of a search with few trials are smaller, and those of a larger one are as they were."""

from __future__ import annotations

from typing import Any

import pytest

from nas.recipe.recipe import Recipe
from nas.recipe.sections import MeasuringRecipe


def effort(**keys: Any) -> tuple[int, int, int, int]:
    """Return the rounds, the first measurements, the most of them, and those of a round."""
    recipe = Recipe.from_mapping(keys)
    measuring = recipe.measuring
    return recipe.rounds, measuring.initial, measuring.most_initial, measuring.per_round


@pytest.mark.parametrize(
    ("trials", "found"),
    [
        (1, (1, 6, 6, 2)),
        (4, (1, 6, 9, 4)),
        (8, (1, 8, 14, 6)),
        (12, (2, 9, 18, 6)),
        (20, (3, 12, 28, 6)),
        (39, (3, 16, 47, 6)),
    ],
)
def test_few_trials_have_few_measurements(trials: int, found: tuple[int, int, int, int]) -> None:
    assert effort(trials=trials) == found


@pytest.mark.parametrize("keys", [{}, {"trials": 40}, {"trials": 300}, {"search_time_s": 60}])
def test_other_searches_keep_their_defaults(keys: dict[str, Any]) -> None:
    """Also one that the time ends, whose effort is decided while it runs."""
    assert effort(**keys) == (3, 16, 48, 6)


def test_nothing_is_saved_in_a_table() -> None:
    """Looking up costs nothing."""
    assert effort(trials=4, evaluate="table", table={"path": "t.csv"}) == (3, 16, 48, 6)


def test_what_is_given_stays() -> None:
    """Also as an object, and a lower ceiling holds for the default below it."""
    assert effort(trials=8, rounds=4) == (4, 8, 14, 2)
    assert effort(trials=8, measuring={"initial": 16}) == (1, 16, 22, 6)
    assert effort(trials=8, measuring={"per_round": 9, "most_initial": 50}) == (1, 8, 50, 9)
    assert effort(trials=8, measuring={"most_initial": 7}) == (1, 7, 7, 6)
    assert effort(trials=8, measuring=MeasuringRecipe(per_round=1)) == (1, 8, 14, 1)


def test_a_written_recipe_is_read_as_it_was() -> None:
    """A run goes on with the numbers that it began with, whatever the defaults are later."""
    recipe = Recipe(trials=4)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert "initial = 6" in recipe.to_toml()
