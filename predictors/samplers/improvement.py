"""Which candidates come first: those that would add most to the front, then those that are nearest to adding anything.

Losses are scaled by what was seen and what is known of the candidates, and hypervolume is reckoned from a little beyond
the worst, so that the ends of the front count. Known costs may be scaled as logarithms, since they often span a factor
of ten and more: else a large network that is hardly better counts for more than a small one that is far better.

Where evaluations take different times, an improvement counts by the second: Snoek, Larochelle and Adams, "Practical
Bayesian optimization of machine learning algorithms", 2012.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.special import ndtr

from nas.prediction.predictor import FloatArray
from nas.values.pareto import hypervolume
from predictors.samplers.error_surrogate import Belief
from predictors.samplers.hypervolume_improvement import DominatedRegion

MARGIN = 0.05
NEGLIGIBLE = 1e-6
"""Improvements below this share of the front's hypervolume count as none."""
_CELLS_AT_ONCE = 4_000_000


@final
@dataclass(frozen=True, eq=False)
class Outlook:
    """What is known and believed of N candidates, by the number of the objective.

    ``excesses`` are beliefs of how far each constraint is exceeded, ``seconds`` of how long an evaluation takes.
    """

    known: Mapping[int, FloatArray]
    beliefs: Mapping[int, Belief]
    excesses: Sequence[Belief] = ()
    seconds: Belief | None = None

    def losses(self, optimism: float) -> FloatArray:
        """Losses, shape (N, M), if what is uncertain is so many standard deviations better than expected."""
        columns = dict(self.known) | {index: belief.optimistic(optimism) for index, belief in self.beliefs.items()}
        return np.column_stack([columns[index] for index in sorted(columns)])

    def feasibility(self) -> FloatArray | float:
        """How probably each candidate meets all constraints, shape (N,)."""
        found: FloatArray | float = 1.0
        for belief in self.excesses:
            found = found * ndtr(-belief.means / np.maximum(belief.deviations, 1e-12))
        return found

    def logarithmic(self, seen: FloatArray) -> list[int]:
        """Known objectives that have one sign in all candidates and in ``seen``, shape (S, M), also with optimism.

        ``seen`` may be all that else is reckoned with: what has ended, and what is expected of what runs.
        """
        found = []
        for index, known in self.known.items():
            belief, values = self.beliefs.get(index), np.concatenate([known, seen[:, index]])
            stays_positive = (values > 0).all() and (belief is None or belief.is_log)
            if stays_positive or ((values < 0).all() and belief is None):
                found.append(index)
        return found


@final
class Preference:
    """Orders candidates by what they would add to a front.

    ``seen``, shape (S, M), are all losses so far and ``front``, shape (F, M), those that may be improved on; what still
    runs, with expected losses of shape (R, M), counts as if it had ended. With ``logarithmic`` known costs are scaled
    as logarithms where their sign allows it.
    """

    def __init__(
        self,
        outlook: Outlook,
        seen: FloatArray,
        front: FloatArray,
        *,
        running: FloatArray | None = None,
        logarithmic: bool = False,
    ) -> None:
        self._outlook = outlook
        self._feasibility = outlook.feasibility()
        running = np.empty((0, seen.shape[1])) if running is None else running
        self._logarithmic = outlook.logarithmic(np.vstack([seen, running])) if logarithmic else []
        lowest, highest = seen.min(axis=0), seen.max(axis=0)
        for index, values in outlook.known.items():
            lowest[index] = min(lowest[index], values.min())
            highest[index] = max(highest[index], values.max())
        lowest, highest = self._counted(np.stack([lowest, highest]))
        self._lowest = lowest
        self._span = np.where(highest > lowest, highest - lowest, 1.0)
        self._front = self._scaled(front)
        reference = np.full(len(lowest), 1.0 + MARGIN)
        self._region = DominatedRegion.of(self._front, reference)
        self._negligible = NEGLIGIBLE * hypervolume(self._front, reference)
        self._left = np.ones(len(outlook.losses(0.0)), dtype=np.bool_)
        self._expect_losses(running)

    def order(self, optimism: float) -> Iterator[int]:
        """The candidates that were not expected yet, the best first; they must not be expected meanwhile.

        Those that promise nothing are put in order only if somebody comes that far, for it takes longest.
        """
        left = np.flatnonzero(self._left)
        points = self._scaled(self._outlook.losses(optimism)[left])
        feasible = np.broadcast_to(self._feasibility, len(self._left))[left]
        gains = self._region.improvements(points) * feasible
        promising = gains > self._negligible
        worth = gains if self._outlook.seconds is None else gains / self._outlook.seconds.optimistic(0.0)[left]
        yield from left[promising][np.argsort(-worth[promising], kind="stable")].tolist()
        others = ~promising
        scores = feasible[others] - self._shortfalls(points[others])
        yield from left[others][np.argsort(-scores, kind="stable")].tolist()

    def expect(self, candidate: int) -> None:
        """Count on a candidate: it is left out, and its expected losses become part of the front."""
        self._left[candidate] = False
        self._expect_losses(self._outlook.losses(0.0)[[candidate]])

    def _expect_losses(self, losses: FloatArray) -> None:
        points = self._scaled(losses)
        self._front = np.vstack([self._front, points])
        for point in points:
            self._region = self._region.with_point(point)

    def _shortfalls(self, points: FloatArray) -> FloatArray:
        """By how much each of N points must improve in all objectives to be dominated by nothing, shape (N,).

        The additive epsilon indicator of Zitzler and others, 2003, of the front against the one point.
        """
        found = np.zeros(len(points))
        step = max(1, _CELLS_AT_ONCE // max(1, self._front.size))
        for start in range(0, len(points), step):
            part = points[start : start + step]
            if len(self._front):
                found[start : start + step] = (part[:, None] - self._front[None]).min(axis=2).max(axis=1)
        return np.maximum(found, 0.0)

    def _scaled(self, losses: FloatArray) -> FloatArray:
        scaled: FloatArray = (self._counted(losses) - self._lowest) / self._span
        return scaled

    def _counted(self, losses: FloatArray) -> FloatArray:
        """Losses, shape (N, M), with logarithms where these count; of what is negative, that of its size, negated."""
        counted = losses.copy()
        columns = losses[:, self._logarithmic]
        counted[:, self._logarithmic] = np.sign(columns) * np.log(np.abs(columns))
        return counted
