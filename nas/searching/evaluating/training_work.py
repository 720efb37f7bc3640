"""The work of training: by the trainer of this project, or by a function of the user's own."""

from __future__ import annotations

from nas.searching.state import RunState
from nas.training.own.work import OwnTraining
from nas.training.settings import TrainingSettings
from nas.training.supernet import SharedWeights
from nas.training.training import CandidateTraining


def training_work(
    state: RunState, settings: TrainingSettings, start: SharedWeights | None = None, longer: float = 1.0
) -> CandidateTraining | OwnTraining:
    """Return the work that trains by ``settings``, or by a candidate's own choices where it has some.

    ``start`` holds the weights to begin with. ``longer`` multiplies a candidate's own epochs.
    """
    found = state.resolved
    if found.function is not None:
        return OwnTraining(found.space, found.source, settings, found.function, state.stopwatch, longer)
    return CandidateTraining(
        found.space, found.source, settings, state.stopwatch, start, found.teacher, longer, state.inheritance
    )
