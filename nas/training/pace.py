"""Estimating how long trainings take, from one step of one architecture."""

from __future__ import annotations

from nas.errors import CandidateError
from nas.space.architecture import Architecture
from nas.space.first_look import FirstLook
from nas.tasks.task import Task
from nas.training.modules import device_named
from nas.training.settings import TrainingSettings

EVALUATING = 1.2
"""How much longer an epoch takes than its steps, because the model is evaluated after it; roughly."""


def epoch_seconds(look: FirstLook, architecture: Architecture, task: Task, settings: TrainingSettings) -> float | None:
    """Return about how long an epoch of a training takes on this processor.

    None if a GPU trains, or if the architecture cannot be trained, of which its own training gives the reason.
    """
    if device_named(settings.device).type != "cpu":
        return None
    batch = min(settings.batch_size, len(task.train))
    try:
        return look.step_seconds(architecture, batch, settings.threads) * _steps(task, settings) * EVALUATING
    except CandidateError:  # this is only an estimate
        return None


def _steps(task: Task, settings: TrainingSettings) -> int:
    items = len(task.train)
    if settings.folds > 1:  # each item is left out of one training
        items = (len(task.train) + len(task.validation)) * (settings.folds - 1) // settings.folds
    return settings.folds * max(1, int(settings.subset * items) // settings.batch_size)
