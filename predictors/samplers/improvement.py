"""Ranking of candidates by their improvement of the front; candidates without one rank by their distance to one.

Losses are scaled by the range of seen and known values. The reference point lies slightly beyond the worst losses, so
that the ends of the front count. Known costs may be scaled as logarithms, since they often span a factor of ten and
more. On a plain scale, a large network with a slight advantage would outrank a much better small one.

If evaluations take different times, improvements count per second: Snoek, Larochelle and Adams, "Practical Bayesian
optimization of machine learning algorithms", 2012.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.special import ndtr, ndtri

from nas.prediction.predictor import FloatArray
from nas.values.pareto import IntArray, hypervolume, non_dominated
from predictors.samplers.error_surrogate import Belief
from predictors.samplers.hypervolume_improvement import DominatedRegion

MARGIN = 0.05
NEGLIGIBLE = 1e-6
"""Improvements below this share of the front's hypervolume count as none."""
LEVELS = tuple(ndtri((np.arange(9) + 0.5) / 9).tolist())
"""Standard deviations at the middles of nine parts of equal probability, over which improvements are averaged."""
_CELLS_AT_ONCE = 4_000_000


@final
@dataclass(frozen=True, eq=False)
class Outlook:
    """Known and predicted losses of N candidates, by the number of the objective.

    ``excesses`` predict how far each constraint is exceeded, and ``seconds`` how long an evaluation takes.
    """

    known: Mapping[int, FloatArray]
    beliefs: Mapping[int, Belief]
    excesses: Sequence[Belief] = ()
    seconds: Belief | None = None

    def losses(self, optimism: float) -> FloatArray:
        """Return losses, shape (N, M), with uncertain ones ``optimism`` standard deviations better than expected."""
        columns = dict(self.known) | {index: belief.optimistic(optimism) for index, belief in self.beliefs.items()}
        return np.column_stack([columns[index] for index in sorted(columns)])

    def feasibility(self) -> FloatArray | float:
        """Return the probability that each candidate meets all constraints, shape (N,)."""
        found: FloatArray | float = 1.0
        for belief in self.excesses:
            found = found * ndtr(-belief.means / np.maximum(belief.deviations, 1e-12))
        return found

    def logarithmic(self, seen: FloatArray) -> list[int]:
        """Return the known objectives that have one sign for all candidates and in ``seen``, also with optimism.

        ``seen``, shape (S, M), holds the losses of finished evaluations and the expected losses of running ones.
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
    """Orders candidates by the hypervolume that they would add to a front.

    ``seen``, shape (S, M), are all losses so far, and ``front``, shape (F, M), those to be improved on. Running
    evaluations, with expected losses ``running``, shape (R, M), count as if they had finished. With ``logarithmic``,
    known costs are scaled as logarithms if their sign allows it.
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

    def order(self, optimism: float | None) -> Iterator[int]:
        """Yield the remaining candidates, the best first; do not call ``expect`` while iterating.

        With an ``optimism`` of None, improvements are expected ones: their mean over ``LEVELS``.
        Candidates without an improvement are sorted only if the iteration reaches them, because this takes longest.
        """
        left = np.flatnonzero(self._left)
        points = self._scaled(self._outlook.losses(optimism or 0.0)[left])
        feasible = np.broadcast_to(self._feasibility, len(self._left))[left]
        gains = self._region.improvements(points) if optimism is not None else self._expected_improvements(left)
        gains = gains * feasible
        promising = gains > self._negligible
        worth = gains if self._outlook.seconds is None else gains / self._outlook.seconds.optimistic(0.0)[left]
        yield from left[promising][np.argsort(-worth[promising], kind="stable")].tolist()
        others = ~promising
        scores = feasible[others] - self._shortfalls(points[others])
        yield from left[others][np.argsort(-scores, kind="stable")].tolist()

    def _expected_improvements(self, left: IntArray) -> FloatArray:
        """Return the expected hypervolume improvement of the candidates ``left``, shape (N,)."""
        each = [self._region.improvements(self._scaled(self._outlook.losses(level)[left])) for level in LEVELS]
        expected: FloatArray = np.mean(each, axis=0)
        return expected

    def expect(self, candidate: int) -> None:
        """Remove a candidate, and add its expected losses to the front."""
        self._left[candidate] = False
        self._expect_losses(self._outlook.losses(0.0)[[candidate]])

    def _expect_losses(self, losses: FloatArray) -> None:
        points = self._scaled(losses)
        self._front = np.vstack([self._front, points])
        for point in points:
            self._region = self._region.with_point(point)

    def _shortfalls(self, points: FloatArray) -> FloatArray:
        """Return how much each of N points must improve in all objectives to become non-dominated, shape (N,).

        This is the additive epsilon indicator (Zitzler and others, 2003) of the front against the single point.
        """
        found = np.zeros(len(points))
        front = self._front[~np.isnan(self._front).any(axis=1)]  # an infinite cost has no place on a scale
        front = front[non_dominated(front)]  # no other point tells more, and running ones are many
        step = max(1, _CELLS_AT_ONCE // max(1, front.size))
        for start in range(0, len(points) if len(front) else 0, step):
            part = points[start : start + step]
            gaps = part[:, None, 0] - front[None, :, 0]
            for axis in range(1, points.shape[1]):
                np.minimum(gaps, part[:, None, axis] - front[None, :, axis], out=gaps)
            found[start : start + step] = gaps.max(axis=1)
        return np.maximum(found, 0.0)

    def _scaled(self, losses: FloatArray) -> FloatArray:
        scaled: FloatArray = (self._counted(losses) - self._lowest) / self._span
        return scaled

    def _counted(self, losses: FloatArray) -> FloatArray:
        """Return losses, shape (N, M), with some columns as logarithms: sign(x) · log|x|."""
        counted = losses.copy()
        columns = losses[:, self._logarithmic]
        counted[:, self._logarithmic] = np.sign(columns) * np.log(np.abs(columns))
        return counted
