"""The space that is searched when none is named, and data that fit no space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from nas.errors import RecipeError
from nas.progress import NullProgress
from nas.recipe.recipe import Recipe
from nas.recipe.sections import DataRecipe
from nas.searching.instruments import Instruments
from nas.searching.resolving import Resolved, resolve
from nas.searching.run import look
from nas.searching.user_inputs.default_space import with_default_space
from nas.searching.user_inputs.objects import task_of, with_given_names
from nas.space.parts.parents import first_of
from nas.space.search_space import load_space
from nas.space.signature import Signature, TensorType
from nas.tasks.data_sets import DataSetTask
from nas.tasks.loading import Loading
from nas.tasks.texts.loading import load_text
from nas.tasks.usual_space import usual_space


def resolved_of(shape: tuple[int, ...], space: str = "auto", classes: int = 3) -> Resolved:
    """Return what a recipe stands for with random data of this shape."""
    split = TensorDataset(torch.randn(12, *shape), torch.arange(12) % classes)
    task = task_of((split, split, split), DataRecipe())
    recipe = with_given_names(Recipe(space=space), None, task)
    return resolve(recipe, None, task, Instruments(), NullProgress())


@pytest.mark.parametrize(
    ("inputs", "output", "space"),
    [
        ((TensorType("images", (3, 32, 32)),), (10,), "mobilenet"),
        ((TensorType("signals", (3, 128)),), (10,), "conv1d"),
        ((TensorType("values", (5,)),), (1,), "mlp"),
        ((TensorType("values", (5,)), TensorType("categories", (2,), "int64", (3, 4))), (1,), "mlp"),
        ((TensorType("tokens", (64,), "int64", (256,)),), (64, 256), "gpt"),
        ((TensorType("videos", (3, 4, 8, 8)),), (10,), None),
        ((TensorType("images", (3, 8, 8)), TensorType("values", (5,))), (10,), None),
    ],
)
def test_the_shapes_of_inputs_suggest_a_space(
    inputs: tuple[TensorType, ...], output: tuple[int, ...], space: str | None
) -> None:
    assert usual_space(Signature(inputs, output)) == space


def test_a_recipe_without_a_space_gets_that_of_the_task(tmp_path: Path) -> None:
    """The complete recipe and the run's folder name the real one."""
    recipe, lines = look(Recipe(), tmp_path, None)
    assert Recipe().space.name == "auto"
    assert recipe.space.name == "mobilenet"
    assert lines[-1] == f"run folder: {tmp_path / 'digits-mobilenet'}"


def test_options_of_a_space_that_is_not_named_are_those_of_the_task_s(tmp_path: Path) -> None:
    recipe, _ = look(Recipe(space={"preset": "28x28"}), tmp_path, None)
    assert (recipe.space.name, recipe.space.options) == ("mobilenet", {"preset": "28x28"})


def test_images_as_data_sets_get_the_space_of_images() -> None:
    found = resolved_of((1, 8, 8))
    found.look.close()
    assert (found.recipe.space.name, found.recipe.data.name) == ("mobilenet", "given")


def test_data_that_no_space_is_known_for_are_refused_by_their_shapes() -> None:
    with pytest.raises(RecipeError, match=r"none is known for models of inputs \(float32, 2×3×4×5\) → 3"):
        resolved_of((2, 3, 4, 5))


def test_a_space_that_does_not_fit_the_data_is_refused_by_name_and_shape() -> None:
    """The message names a space that does."""
    with pytest.raises(RecipeError, match=r"mobilenet takes images, .* inputs, float32 of shape \(3, 128\).* conv1d"):
        resolved_of((3, 128), "mobilenet")


class WithSimple(DataSetTask):
    """A task that names simple models, one of which suits its data and one of which does not."""

    @property
    def simple_spaces(self) -> tuple[str, ...]:
        return ("nearest_mean:NearestMeans", "rocket")


def test_n_grams_are_searched_beside_transformers(tmp_path: Path) -> None:
    """Of a text, with the n-grams first: they cost seconds."""
    (tmp_path / "book.txt").write_text("so did the cat, and so did I.\n" * 400)
    task = load_text("book.txt", Loading(folder=tmp_path), context=16, root=str(tmp_path / "tokens"))
    recipe = with_default_space(Recipe.from_mapping({"data": {"task": "text", "name": "book.txt"}}), task)
    assert (recipe.space.name, recipe.space.options) == ("joined", {"spaces": ["gpt", "ngram"]})
    space = load_space("joined", recipe.space.options, task.signature)
    assert {architecture["space"] for architecture in first_of(space)} == {"ngram"}


@pytest.mark.parametrize(
    ("keys", "is_joined"),
    [
        ({}, True),
        ({"evaluate": "zero-cost"}, False),
        ({"prior": "synflow"}, False),
        ({"training": {"function": "marking_training:train"}}, False),
        ({"space": "mobilenet"}, False),
    ],
)
def test_simple_models_of_the_task_are_searched_beside_the_usual_space(keys: dict[str, Any], is_joined: bool) -> None:
    """As far as they suit the data, where candidates are trained as usual and no space is named."""
    split = TensorDataset(torch.randn(12, 3, 8, 8), torch.arange(12) % 3)
    task = WithSimple(split, split, split)
    recipe = with_given_names(Recipe.from_mapping(keys), None, task)
    if recipe.space.name == "auto":
        recipe = with_default_space(recipe, task)
    if is_joined:
        assert recipe.space.name == "joined"
        assert recipe.space.options["spaces"] == ["mobilenet", "nearest_mean:NearestMeans"]
    else:
        assert recipe.space.name == "mobilenet"
