"""Guesses of how long an epoch of a candidate takes, by a few steps of its training."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from nas.errors import CandidateError
from nas.searching.durations import PART
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.search_space import sample
from nas.training.pace import epoch_seconds
from nas.training.settings import training_settings

PROBED = 5
"""Random architectures, of which the middle one by multiply-accumulates is trained for two steps."""
LEAST_APART = 1.5
"""The smallest of these is trained too, if the middle one has at least this many times its multiply-accumulates."""


def guess_epochs(state: RunState) -> None:
    """Note once about how long an epoch of a candidate's training takes, as far as that can be known yet.

    If the search has a time, also by how much it differs between small and larger networks.
    """
    recipe, beliefs, durations = state.recipe, state.beliefs, state.durations
    if state.resolved.function is not None or durations.guess is not None:
        return
    settings = training_settings(recipe)
    drawn = [each for each in drawn_at_first(state, PROBED) if each.get(PART) not in durations.own_fits]
    if not drawn:
        return

    def macs(architecture: Architecture) -> float:
        return beliefs.counted(architecture)["macs"]

    try:
        in_order = sorted(drawn, key=macs)
    except CandidateError:  # it becomes a failed row where it is proposed
        return
    smallest, middle = in_order[0], in_order[len(drawn) // 2]
    durations.guess = epoch_seconds(beliefs.look, middle, state.resolved.task, settings)
    durations.guess_macs = macs(middle)
    if durations.guess and state.schedule.is_timed and macs(middle) > LEAST_APART * macs(smallest) > 0:
        quick_s = epoch_seconds(beliefs.look, smallest, state.resolved.task, settings)
        if quick_s:
            grown = math.log(durations.guess / quick_s) / math.log(macs(middle) / macs(smallest))
            durations.growth = min(1.0, max(0.0, grown))


def usual_layers(state: RunState) -> int:
    """Return the number of layers of the middle one of some random architectures; 0 where none can be built."""
    found = []
    for architecture in drawn_at_first(state, PROBED):
        with contextlib.suppress(CandidateError):  # it becomes a failed row where it is proposed
            found.append(len(state.beliefs.describer.layers(architecture)))
    return sorted(found)[len(found) // 2] if found else 0


def drawn_at_first(state: RunState, count: int) -> list[Architecture]:
    """Return up to ``count`` random architectures, each once."""
    rng = np.random.default_rng((state.recipe.seed, 4))
    return list({a.id: a for a in (sample(state.beliefs.space, rng) for _ in range(count))}.values())
