"""Estimating how long trainings take, from one step of one architecture."""

from __future__ import annotations

from nas.errors import CandidateError
from nas.space.architecture import Architecture
from nas.space.first_look import FirstLook
from nas.tasks.dataset import DataSet
from nas.training.training import TrainingSettings, device_named

EVALUATING = 1.2
"""How much longer an epoch takes than its steps, because the model is evaluated after it; roughly."""


def epoch_seconds(
    look: FirstLook, architecture: Architecture, data: DataSet, settings: TrainingSettings
) -> float | None:
    """Return about how long an epoch of a training takes on this processor.

    None if a GPU trains, or if the architecture cannot be trained, of which its own training gives the reason.
    """
    if device_named(settings.device).type != "cpu":
        return None
    batch = min(settings.batch_size, len(data.train))
    try:
        return look.step_seconds(architecture, batch, settings.threads) * _steps(data, settings) * EVALUATING
    except CandidateError:  # this is only an estimate
        return None


def _steps(data: DataSet, settings: TrainingSettings) -> int:
    images = max(1, int(settings.subset * len(data.train)))
    return max(1, images // settings.batch_size)
