"""The work of training: by the trainer of this project, or by a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.tasks.data_source import DataSource
from nas.training.own.work import OwnTraining
from nas.training.settings import TrainingSettings
from nas.training.supernet import SharedWeights
from nas.training.training import CandidateTraining


def training_work(
    state: RunState,
    settings: TrainingSettings,
    start: Callable[[Architecture, torch.nn.Module], None] | None = None,
    longer: float = 1.0,
    *,
    teacher: Callable[[], torch.nn.Module] | None = None,
    source: DataSource | None = None,
) -> CandidateTraining | OwnTraining:
    """Return the work that trains by ``settings``, or by a candidate's own choices where it has some.

    ``start`` holds the weights to begin with. ``longer`` multiplies a candidate's own epochs. A ``teacher`` and a
    ``source`` of the task take the place of the recipe's.
    """
    found = state.resolved
    source = source or found.source
    if found.function is not None:
        return OwnTraining(found.space, source, settings, found.function, state.stopwatch, longer)
    # Shared weights come without statistics of batch normalisations, so that no head can be fitted to features.
    if isinstance(start, SharedWeights):
        settings = replace(settings, fit_head=False)
    return CandidateTraining(
        found.space, source, settings, state.stopwatch, start, teacher or found.teacher, longer, state.inheritance
    )
