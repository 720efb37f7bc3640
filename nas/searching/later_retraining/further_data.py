"""The further data that winners are retrained on: loaded by name as the run's own, or passed as an object."""

from __future__ import annotations

from dataclasses import replace

from nas.errors import RecipeError
from nas.progress import Progress
from nas.recipe.recipe import Recipe
from nas.results.bundle import GIVEN
from nas.results.data_of_run import source_of
from nas.searching.user_inputs.objects import GivenData, task_of
from nas.tasks.images.images import Images
from nas.tasks.task import Task

MoreData = GivenData | str
"""Further data as a user passes them: a name, such as ``folder:more-photos``, a task, or three torch data sets."""


def further_task(more: MoreData, recipe: Recipe, task: Task, progress: Progress) -> Task:
    """Return the task of further data. By name they are loaded by the options of the run's own, at its image size.

    Raises:
        RecipeError: a name for a run that was given its data as an object.
        DataError: the data cannot be used.
    """
    if not isinstance(more, str):
        found = task_of(more, recipe.data)
        assert found is not None, "who asks for further data gives some"
        return found
    if recipe.data.name == GIVEN:
        raise RecipeError(
            f"further data are loaded as the run's own were, but this run was given its data as an object, and more "
            f"data by the name {more!r}. Pass a task to nas.retrain(…, more_data=…)."
        )
    section = recipe.data
    if isinstance(task, Images) and section.image_size is None:
        _, height, width = task.input_shape
        loaded = replace(source_of(recipe), name=more).load(progress)
        if loaded.signature == task.signature or height != width:
            return loaded
        section = section.model_copy(update={"image_size": height})
    return replace(source_of(recipe.model_copy(update={"data": section})), name=more).load(progress)
