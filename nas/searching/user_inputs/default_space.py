"""The space that is searched when a recipe names none, and the check that a space fits the data."""

from __future__ import annotations

import contextlib
from typing import Any

from nas.errors import RecipeError, SpaceError
from nas.recipe.recipe import Recipe
from nas.space.plug_ins import plug_in_names
from nas.space.search_space import SearchSpace, load_space
from nas.space.signature import Signature
from nas.space.tracing import check_fits
from nas.tasks.images.images import Images
from nas.tasks.task import Task
from nas.tasks.usual_space import usual_space

GROUP = "nas.search_spaces"
JOINED = "joined"
"""The space that joins others."""


def with_default_space(recipe: Recipe, task: Task | None) -> Recipe:
    """Return the recipe with the space that people would pick for the task; without a task, for images in a table.

    Where candidates are trained, the task's simple models are searched beside it, as far as they suit the data.

    Raises:
        RecipeError: no installed space suits the task.
    """
    name = Images.default_space if task is None else task.default_space or usual_space(task.signature)
    if name is None or (name not in plug_in_names(GROUP) and ":" not in name):
        assert task is not None
        raise RecipeError(
            f"no search space is named, and none is known for models of {task.signature}. Name one with --space, or "
            "space in a recipe; nas list shows all, and my_module:MySpace is a class of your own."
        )
    space: dict[str, Any] = {**recipe.space.options, "name": name}
    trains = recipe.evaluate == "train" and recipe.training.function is None and recipe.prior == "none"
    if task is not None and trains and not recipe.space.options and (simple := _simple(task, name)):
        space = {"name": JOINED, "spaces": [name, *simple]}
    return Recipe.from_mapping({**recipe.model_dump(), "space": space})


def _simple(task: Task, name: str) -> list[str]:
    """Return the names of the task's spaces of simple models that suit its data."""
    found = []
    for each in task.simple_spaces:
        with contextlib.suppress(RecipeError):  # such as kernels that are longer than the signals
            load_space(JOINED, {"spaces": [name, each]}, task.signature)
            found.append(each)
    return found


def check_suits(space: SearchSpace, name: str, signature: Signature) -> None:
    """Check that an architecture of a space is a model for the data: its smallest one runs on inputs without data.

    Raises:
        SpaceError: it is none. The message names the inputs with their shapes, and a space that suits them.
    """
    try:
        check_fits(space, name, signature)
    except SpaceError as error:
        usual = usual_space(signature)
        is_known = usual in plug_in_names(GROUP) and usual != name
        hint = f"For such data, there is --space {usual}." if is_known else "Name another with --space."
        raise SpaceError(f"{error} {hint}") from error
