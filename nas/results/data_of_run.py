"""The data of a run: where each process gets the task that its recipe names."""

from __future__ import annotations

import json

from nas.recipe.recipe import Recipe
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task


def source_of(recipe: Recipe, task: Task | None = None) -> DataSource:
    """Return where each process gets the recipe's task, or the ``task`` that was passed as an object."""
    section = recipe.data
    return DataSource(
        given=task,
        name=section.name,
        task=section.task,
        options=json.dumps(section.task_options, sort_keys=True),
        validation_share=section.validation_share,
    )
