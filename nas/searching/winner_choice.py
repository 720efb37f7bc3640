"""Which candidates become winners: some that stand for the front as measured, or else the nearest misses."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import final

import numpy as np

from nas.searching.run_state import RunState
from nas.searching.search import Search
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation
from nas.values.pareto import FloatArray, hypervolume

MOST_EXCHANGES = 50
NEGLIGIBLE = 1e-9
"""Of the hypervolume of a front that is scaled to 1."""


@final
class WinnerChoice:
    """Chooses anew each time it is asked, from what the rows say by then."""

    def __init__(self, state: RunState, search: Search) -> None:
        self._state = state
        self._search = search
        self._told_of_misses = False

    def choose(self, count: int) -> list[Architecture]:
        """Up to ``count`` architectures of the front that meet the limits as measured, or else the nearest misses.

        Those of which a row tells that they were chosen before stay, unless they failed: then others take their place.
        """
        state = self._state
        if not self._state.knowledge.candidates:
            return []
        chosen_before = (*state.knowledge.retrainings.values(), *state.knowledge.winners.values())
        excluded = {row.architecture for row in chosen_before if row.failed}
        rows = self._eligible(excluded)
        if not rows:
            return []
        losses = np.array([state.screen.losses(state.screen.values(r.architecture, state.knowledge)) for r in rows])
        kept = {row.architecture for row in chosen_before}
        picks = [index for index, row in enumerate(rows) if row.architecture in kept]
        for index in spread_over_front(losses, count):
            if len(picks) < count and index not in picks:
                picks.append(index)
        return [rows[index].architecture for index in sorted(picks)]

    def _eligible(self, excluded: Collection[Architecture]) -> list[Evaluation]:
        """The front as measured; when nothing meets the limits, the candidates that exceed them least."""
        state = self._state
        front = self._search.front_candidates(surely=True, without=excluded)
        if front:
            return front
        candidates = [row for row in state.knowledge.candidates if row.architecture not in excluded]
        if not state.screen.cost_limits:
            return self._search.non_dominated_rows(candidates)

        def miss(row: Evaluation) -> tuple[float, ...]:
            values = state.screen.values(row.architecture, state.knowledge)
            return state.screen.total_excess(row.architecture, state.knowledge), *state.screen.losses(values)

        nearest = sorted(candidates, key=miss)[: state.recipe.retraining.winners]
        limits = ", ".join(map(str, state.screen.cost_limits))
        if not self._told_of_misses:
            self._told_of_misses = True
            state.progress.say(
                f"no trained candidate surely meets {limits} as measured; the nearest misses take their place."
            )
        return nearest


def spread_over_front(losses: FloatArray, count: int) -> list[int]:
    """Up to ``count`` rows of a front, the best in its first objective and others that together have most hypervolume.

    They are chosen one after the other, and then exchanged one by one for others as long as that is better.
    The reference point is so far beyond the worst that even distances are best and the ends belong to them: 1 + 1/H,
    where H steps from one end to the other make about ``count`` points (Ishibuchi and others, "How to specify a
    reference point in hypervolume calculation for fair performance comparison", 2018).
    """
    if len(losses) == 0:
        return []
    lowest, highest = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - lowest) / np.maximum(highest - lowest, 1e-12)
    reference = np.full(losses.shape[1], 1 + 1 / _steps(count, losses.shape[1]))
    first, others = int(np.argmin(scaled[:, 0])), list[int]()

    def volume(rows: Sequence[int]) -> float:
        return hypervolume(scaled[[first, *rows]], reference)

    def with_best(rows: Sequence[int]) -> list[int]:
        rest = [index for index in range(len(losses)) if index != first and index not in rows]
        return [*rows, max(rest, key=lambda index: volume([*rows, index]))]

    while len(others) + 1 < min(count, len(losses)):
        others = with_best(others)
    for _ in range(MOST_EXCHANGES):
        exchanged = max(
            (with_best([*others[:n], *others[n + 1 :]]) for n in range(len(others))), key=volume, default=[]
        )
        if volume(exchanged) <= volume(others) + NEGLIGIBLE:
            break
        others = exchanged
    return [first, *others]


def _steps(count: int, objectives: int) -> int:
    """The most steps for which an even grid on a flat front of so many objectives has at most ``count`` points."""
    steps = 1
    while objectives > 1 and math.comb(steps + objectives, objectives - 1) <= count:
        steps += 1
    return steps
