"""Checking that a task has the metrics that a recipe minimises or limits, before anything runs."""

from __future__ import annotations

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe
from nas.space.search_space import SearchSpace
from nas.tables.row_space import RowSpace
from nas.tasks.corruptions import NOISE
from nas.tasks.task import Task, metrics_of
from nas.training.settings import robustness_of
from nas.values.objective import trained_metrics


def check_metrics(recipe: Recipe, task: Task) -> None:
    """Check that the task has each trained metric that was asked for, and the corruptions that the recipe names.

    Raises:
        RecipeError: it lacks one; the message names those that it has.
    """
    asked = trained_metrics(recipe.parsed_objectives, recipe.parsed_limits)
    if NOISE in asked or recipe.robustness.corruptions:
        robustness_of(recipe).names(task)
    known = metrics_of(task)
    for name in asked:
        if name not in known:
            raise RecipeError(
                f"objectives and limits are metrics of the task, but {task.name} has no {name}. "
                f"It has {', '.join(known)}."
            )
    if recipe.evaluate == "zero-cost":
        check_error_alone(recipe, "a zero-cost score stands for the error alone")


def check_error_alone(recipe: Recipe, reason: str) -> None:
    """Check that no trained metric but the error was asked for. Raises RecipeError."""
    for name in trained_metrics(recipe.parsed_objectives, recipe.parsed_limits):
        if name != "error":
            raise RecipeError(
                f"objectives and limits on {name} need trainings, but {reason}. Name error instead, or evaluate by "
                '"train".'
            )


def check_has_layers(space: SearchSpace, recipe: Recipe) -> None:
    """Check that nothing is counted by layers in a space that has none. Raises RecipeError."""
    asked = [objective.metric for objective in recipe.parsed_objectives]
    asked += [limit.metric for limit in recipe.parsed_limits]
    counted = [metric.name for metric in asked if metric.source in ("counted", "modelled")]
    if counted and isinstance(space, RowSpace):
        raise RecipeError(
            f"objectives and limits on {counted[0]} count layers, which rows of a table do not have. Name a measured "
            f"metric, whose column the table has, or leave it out."
        )
