"""A recipe's names are checked before any work begins, and errors name the nearest known ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_spaces import Faulty
from quick_runs import OneChoice, instruments, search

import nas
from nas.errors import RecipeError, SpaceError
from nas.progress import NullProgress
from nas.recipe.recipe import Recipe
from nas.recipe.sections import DataRecipe
from nas.results.bundle import GIVEN
from nas.searching.resolving import data_warnings, described, resolve
from nas.searching.user_inputs.objects import task_of, with_given_names
from nas.tasks.images.images import Images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "tpee"}, "unknown sampler 'tpee'. Did you mean 'tpe'?"),
        ({"predictor": "stackd"}, "unknown predictor 'stackd'. Did you mean 'stacked'?"),
        (
            {"sampler": {"name": "nsga2", "populaton": 8}},
            "sampler 'nsga2' has no option 'populaton'. Did you mean 'population'?",
        ),
        ({"sampler": {"name": "random", "population": 8}}, "sampler 'random' has no option 'population'."),
        (
            {"prior": "snip", "sampler": "tpe"},
            'a prior needs a sampler that learns from it, but got prior "snip" with sampler "tpe". Set sampler=gp, or ',
        ),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_refused_before_any_work(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """No folder is made."""
    with pytest.raises(RecipeError, match=re.escape(message)):
        search(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


def resolved(recipe: Recipe, space: Any = None, data: Images | None = None) -> nas.SearchSpace:
    return resolve(recipe, space, data, instruments(Faulty()), NullProgress()).space


class TestGivenObjects:
    def test_are_called_given_in_the_recipe(self, digits: Images) -> None:
        """The recipe records the class of the space, be it an object or a class, and changes nothing else."""
        recipe = Recipe(seed=3)
        for space in (OneChoice(), OneChoice):
            named = with_given_names(recipe, space, digits)
            assert (named.space.name, named.space.options) == (GIVEN, {"class": "OneChoice"})
            assert (named.data.name, named.seed) == (GIVEN, 3)
        assert with_given_names(recipe, None, None) == recipe

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"data": {"image_size": 16, "validation_share": 0.3}}, "data.image_size, data.validation_share"),
            ({"data": {"name": "other", "group": "person"}}, "data.group"),
            ({"space": {"name": "mobilenet", "widths": [8]}}, "space.widths"),
        ],
    )
    def test_take_no_options_of_the_recipe(self, changes: dict[str, Any], named: str, digits: Images) -> None:
        """They would do nothing. A name alone is replaced."""
        told = f"passes an object, which no option changes, but the recipe has {re.escape(named)}. Make the object"
        with pytest.raises(RecipeError, match=told):
            with_given_names(Recipe.from_mapping(changes), OneChoice, digits)
        plain = {what: {"name": "digits" if what == "data" else "mobilenet"} for what in changes}
        assert with_given_names(Recipe.from_mapping(plain), OneChoice, digits).data.name == GIVEN

    @pytest.mark.parametrize(("space", "data"), [(OneChoice(), False), (None, True)], ids=["space", "data"])
    def test_must_be_passed_again(self, space: Any, data: bool, digits: Images) -> None:
        """The message names the argument."""
        recipe = with_given_names(Recipe(), space, digits if data else None)
        with pytest.raises(RecipeError, match=f"pass it again as {'data' if data else 'space'}=…"):
            resolved(recipe)

    def test_may_be_classes(self) -> None:
        """A space is made of its class."""
        assert isinstance(resolved(with_given_names(Recipe(), OneChoice, None), OneChoice), OneChoice)

    def test_that_are_no_space_are_refused(self) -> None:
        """The message says what a space must have."""
        with pytest.raises(SpaceError, match=r"a space must have a method build\(architecture\), but int has none"):
            resolved(with_given_names(Recipe(), 3, None), 3)  # type: ignore[arg-type]

    @pytest.mark.parametrize(("data", "shown"), [("digits", "'digits'"), (np.zeros((3, 8, 8)), "class ndarray")])
    def test_that_are_no_data_are_refused(self, data: Any, shown: str) -> None:
        """The message says how to make a data set, and how to name one."""
        with pytest.raises(
            RecipeError, match=rf"takes a nas.Task, .* or a DataFrame, but got .*{shown}. Make images with nas.Images"
        ):
            task_of(data, DataRecipe())


class Noting(OneChoice):
    """A space that says what it leaves out."""

    notes: Any = ("a width of 7 is left out",)


def test_notes_of_a_space_are_told_once_in_a_run_and_in_a_dry_run() -> None:
    """An attribute of the same name that holds no sentences is not told."""
    recipe = with_given_names(Recipe(), Noting(), None)
    found = resolve(recipe, Noting(), None, instruments(Noting()), NullProgress())
    for told in (data_warnings(found), described(recipe, found)):
        assert told.count("note: a width of 7 is left out") == 1
    odd = Noting()
    odd.notes = "none"
    found = resolve(recipe, odd, None, instruments(odd), NullProgress())
    assert not any(line.startswith("note: ") for line in data_warnings(found))
