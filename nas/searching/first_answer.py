"""The answer of a search without trainings: what could be best by what is known beforehand is measured."""

from __future__ import annotations

import numpy as np

from nas.errors import CandidateError
from nas.results.first_answer import unbeaten
from nas.searching.drawing import draw, pool_size
from nas.searching.fitting import Fitting
from nas.searching.sampler_feedback import known_losses
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.parts.known_values import KnownPrior
from nas.space.parts.parents import first_of

PASSES = 2
"""Predictions move the front as more is measured, so it is looked at again, but not for ever."""


def give_first_answer(state: RunState, fitting: Fitting) -> None:
    """Measure the front of predicted costs and of what the space knows, until all of it is measured.

    A space that knows nothing has no such front: then the first measurements are the answer.
    """
    if state.known is None:
        return
    measured = {row.round for row in state.beliefs.rows if row.stage == "measure"}
    for number in range(1, PASSES + 1):
        if number in measured:  # a run that was killed goes on: a pass reaches the disk whole or not at all
            continue
        wanted = [each for each in _hopeful(state, state.known) if not state.beliefs.is_measured(each)]
        wanted = wanted[: state.recipe.measuring.initial]
        if not wanted or not state.schedule.has_time_to_measure(len(wanted)):
            return
        state.measure(wanted, number)
        fitting.fit(number)


def _hopeful(state: RunState, known: KnownPrior) -> list[Architecture]:
    """Return the architectures within the limits that no other one beats by predictions and by what is known."""
    beliefs = state.beliefs
    parts, rng = beliefs.parts, np.random.default_rng((state.recipe.seed, 6))
    drawn = [*first_of(beliefs.space), *draw(beliefs.device_describer.space, pool_size(beliefs.space), rng)]
    pool = parts.one_each(drawn)
    kept: list[tuple[Architecture, tuple[float, ...], float]] = []
    for architecture, value in zip(pool, known(pool)[:, 0].tolist(), strict=True):
        try:
            is_fit = architecture not in beliefs.unfit and beliefs.probably_meets(architecture)
        except CandidateError:  # it cannot be built
            continue
        if is_fit and np.isfinite(value):
            kept.append((architecture, known_losses(beliefs, architecture), value))
    if not kept:
        return []
    mask = unbeaten(np.array([costs for _, costs, _ in kept]), np.array([value for *_, value in kept]))
    return [architecture for (architecture, *_), is_best in zip(kept, mask, strict=True) if is_best]
