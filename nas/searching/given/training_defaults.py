"""The settings of training that suit a task, for keys that a recipe leaves out."""

from __future__ import annotations

from nas.recipe.recipe import Recipe
from nas.tasks.task import Task


def with_training_defaults(recipe: Recipe, given: Recipe, task: Task | None) -> Recipe:
    """Return the recipe with the task's own defaults for keys that ``given``, the recipe as it was written, lacks."""
    if task is None or not task.training_defaults:
        return recipe
    values = recipe.model_dump()
    for section, defaults in task.training_defaults.items():
        written = getattr(given, section).model_fields_set if section in given.model_fields_set else frozenset()
        values[section] = {**values[section], **{key: each for key, each in defaults.items() if key not in written}}
    return Recipe.from_mapping(values)


def defaults_told(recipe: Recipe, task: Task) -> list[str]:
    """Return a sentence on the keys that have the task's own defaults, if there are some."""
    used = [
        f"{section}.{key}={value:g}"
        for section, defaults in task.training_defaults.items()
        for key, value in defaults.items()
        if getattr(getattr(recipe, section), key) == value
    ]
    return [f"defaults for these {task.noun}: {', '.join(used)}"] if used else []
