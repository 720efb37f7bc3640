"""The settings of training that suit a task, for keys that a recipe leaves out."""

from __future__ import annotations

from typing import Any

from nas.errors import DataError, RecipeError, did_you_mean
from nas.recipe.recipe import Recipe
from nas.recipe.training_sections import why_no_folds
from nas.space.parts.parents import parents_space
from nas.space.search_space import SearchSpace
from nas.tasks.task import Task
from nas.training.regressions import can_regress


def with_training_defaults(recipe: Recipe, given: Recipe, task: Task | None, space: SearchSpace) -> Recipe:
    """Return the recipe with the task's own defaults for keys that ``given``, the recipe as it was written, lacks.

    Folds are no default where candidates cannot be trained in folds. Parts of a parent begin with a fitted head.
    """
    if task is None:
        return recipe
    _check(task)
    of_task, is_part = dict(task.training_defaults), parents_space(space) is not None
    if is_part and can_regress(task.criterion):
        of_task["training"] = {**of_task.get("training", {}), "fit_head": True}
    values = recipe.model_dump()
    for section, defaults in of_task.items():
        written = set(getattr(given, section).model_fields_set if section in given.model_fields_set else ())
        if why_no_folds(recipe.training, recipe.evaluate, recipe.precisions) or is_part:
            written.add("folds")
        values[section] = {**values[section], **{key: each for key, each in defaults.items() if key not in written}}
    return Recipe.from_mapping(values) if of_task else recipe


def defaults_told(recipe: Recipe, task: Task) -> list[str]:
    """Return a sentence on the keys that have the task's own defaults, if there are some."""
    used = [
        f"{section}.{key}={_shown(value)}"
        for section, defaults in task.training_defaults.items()
        for key, value in defaults.items()
        if getattr(getattr(recipe, section), key) == value
    ]
    return [f"defaults for these {task.noun}: {', '.join(used)}"] if used else []


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check(task: Task) -> None:
    """Check the defaults of a task, which may be a user's own. Raises DataError if a recipe would refuse them."""
    kind, sections = type(task).__qualname__, Recipe.model_fields
    for section, defaults in task.training_defaults.items():
        if section not in sections or not isinstance(defaults, dict):
            raise DataError(
                f"training_defaults of the task {kind} must map sections of a recipe, such as "
                f'{{"training": {{"epochs": 20}}}}, but got {section!r}: {defaults!r:.80}. '
                f"{did_you_mean(section, sections)}"
            )
        try:
            Recipe.from_mapping({section: defaults})
        except RecipeError as error:
            raise DataError(
                f"training_defaults of the task {kind} must be values that a recipe takes, but: {error}"
            ) from error
