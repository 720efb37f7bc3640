"""Spaces, data and training functions that are passed as objects, in the place of the recipe's names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe
from nas.recipe.sections import DataRecipe, PlugIn
from nas.results.bundle import GIVEN
from nas.space.search_space import SearchSpace
from nas.tasks.batches import Examples
from nas.tasks.checking import check_task
from nas.tasks.data_sets import DataSetTask
from nas.tasks.loading import IMAGES, TABLES, Loading, is_frame, load_task
from nas.tasks.task import Task
from nas.training.own.function import TrainingFunction, load_training_function, training_function

GivenSpace = SearchSpace | type[SearchSpace]
"""A space as a user passes it: an object, or a class that can be made for the signature of the data's models."""


class GivenFrame(Protocol):
    """A DataFrame of pandas, or of a library that converts to it by ``to_pandas``, such as polars."""

    @property
    def columns(self) -> Any:
        """The names of the columns, or the columns."""


GivenData = Task | tuple[Examples, Examples, Examples] | GivenFrame
"""Data as a user passes them: a task; torch data sets to train, to validate and to test; or a DataFrame."""

GivenTraining = Callable[..., Any]
"""A training function as a user passes it: it takes (module, task, settings), or (architecture, task, settings)."""


def with_given_names(
    recipe: Recipe, space: GivenSpace | None, data: GivenData | None, train: GivenTraining | None = None
) -> Recipe:
    """Return the recipe, in which everything that was passed as an object is called ``given``.

    Of a DataFrame it keeps the options, such as the target.

    Raises:
        RecipeError: there are options for what was passed as an object, which has its own.
    """
    changes: dict[str, Any] = {}
    if space is not None:
        _check_without_options("space", recipe.space, ("name", "class"))
        kind = space if isinstance(space, type) else type(space)
        changes["space"] = {"name": GIVEN, "class": kind.__qualname__}
    if data is not None:
        if not is_frame(data):
            _check_without_options("data", recipe.data, ("name", "task"))
        options = {**recipe.data.model_dump(exclude_unset=True), "task": TABLES} if is_frame(data) else {}
        changes["data"] = {**options, "name": GIVEN}
    if train is not None:
        changes["training"] = {**recipe.training.model_dump(exclude_unset=True), "function": GIVEN}
    # Keys that are not set stay so, because a task may have defaults of its own for them.
    return Recipe.from_mapping({**recipe.model_dump(exclude_unset=True), **changes}) if changes else recipe


def _check_without_options(what: str, section: PlugIn, allowed: Collection[str]) -> None:
    """Check that a recipe has no options for an object in the place of what it names. Raises RecipeError."""
    unused = [f"{what}.{key}" for key in section.model_dump(exclude_unset=True) if key not in allowed]
    if unused:
        raise RecipeError(
            f"{what}=… passes an object, which no option changes, but the recipe has {', '.join(unused)}. Make the "
            "object with them, and leave them out of the recipe."
        )


def task_of(data: object, section: DataRecipe) -> Task | None:
    """Return the task of data that were passed as an object; None if there are none.

    ``section`` is the recipe's, with the options of a DataFrame, such as its target.

    Raises:
        RecipeError: they are neither a task, nor three torch data sets, nor a DataFrame; or options do not fit it.
        DataError: items of the data sets do not fit together, or the table cannot be learned from.
    """
    if isinstance(data, Task):
        check_task(data)
        return data
    if data is None:
        return None
    if isinstance(data, (tuple, list)) and len(data) == 3 and not any(isinstance(each, str) for each in data):
        return DataSetTask(*data)
    if is_frame(data):
        if section.task not in (IMAGES, TABLES):
            raise RecipeError(f"a DataFrame is data of the task {TABLES}, but the recipe has data.task={section.task}.")
        return load_task(TABLES, data, Loading(section.validation_share), section.task_options)
    shown = repr(data) if isinstance(data, str) else f"an object of the class {type(data).__qualname__}"
    raise RecipeError(
        f"data=… takes a nas.Task, three torch data sets or a DataFrame, but got {shown}. Make images with "
        'nas.Images.from_arrays, or name data in the recipe, such as {"data": "digits"} or {"data": "folder:photos"}.'
    )


def check_given(
    recipe: Recipe, space: GivenSpace | None, task: Task | None, train: GivenTraining | None = None
) -> None:
    """Check that everything is there that the recipe calls ``given``, and no other training function.

    Raises:
        RecipeError: an object is missing, or the recipe trains in another way than by the function that was passed.
    """
    named = (
        (space, recipe.space.name, "space"),
        (task, recipe.data.name, "data"),
        (train, recipe.training.function, "train"),
    )
    for given, name, what in named:
        if given is None and name == GIVEN:
            noun = "training function" if what == "train" else f"{what} object"
            raise RecipeError(f"this recipe was made with a {noun}; pass it again as {what}=…")
    if train is not None and recipe.training.function != GIVEN:
        name = recipe.training.function
        trains = "the trainer of this project" if name is None else f"the function {name}"
        raise RecipeError(
            f"a run goes on with the training that it began with, which is by {trains}. Leave train=… out, or start "
            "a new run."
        )


def function_of(recipe: Recipe, train: GivenTraining | None) -> TrainingFunction | None:
    """Return the training function that is given or that the recipe names; None if the project's trainer trains.

    Raises:
        RecipeError: it cannot be found, or is none.
    """
    if train is not None:
        return training_function(train, getattr(train, "__qualname__", type(train).__qualname__))
    name = recipe.training.function
    return None if name is None else load_training_function(name)
