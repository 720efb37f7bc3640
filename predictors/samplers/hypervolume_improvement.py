"""How much hypervolume points would add to a front: exact, for many points at once and any number of objectives.

What a front dominates is cut into boxes that do not overlap, as in Lacour, Klamroth and Fonseca, "A box decomposition
algorithm to compute the hypervolume indicator" (Computers & Operations Research 79, 2017). What a point adds is what it
dominates without its share of each box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from nas.prediction.predictor import FloatArray
from nas.values.pareto import non_dominated

_CELLS_AT_ONCE = 2_000_000


@final
@dataclass(frozen=True, eq=False)
class DominatedRegion:
    """What a front of losses dominates within ``reference``, shape (M,), as B boxes that do not overlap.

    ``bounds``, shape (B, M), are the upper ends of the search region, beyond which lies what is dominated already;
    ``definers``, shape (B, M, M), the points by which each of their coordinates is settled.
    """

    reference: FloatArray
    bounds: FloatArray
    definers: FloatArray

    @classmethod
    def of(cls, losses: FloatArray, reference: FloatArray) -> DominatedRegion:
        """The region that ``losses``, shape (N, M), dominate; points that are not below the reference add nothing.

        Raises:
            ValueError: NaN among the losses.
        """
        reference = np.asarray(reference, dtype=np.float64)
        objectives = len(reference)
        definers = np.full((1, objectives, objectives), -np.inf)
        definers[0, range(objectives), range(objectives)] = reference
        region = cls(reference, reference[None].copy(), definers)
        losses = np.asarray(losses, dtype=np.float64).reshape(-1, objectives)
        for point in np.unique(losses[non_dominated(losses)], axis=0):
            region = region.with_point(point)
        return region

    def with_point(self, point: FloatArray) -> DominatedRegion:
        """The region with what one more point, shape (M,), dominates."""
        below = (point < self.bounds).all(axis=1)
        if not below.any():
            return self
        bounds, definers = self.bounds[below], self.definers[below]
        new_bounds, new_definers = [self.bounds[~below]], [self.definers[~below]]
        for axis in range(len(self.reference)):
            others = np.arange(len(self.reference)) != axis
            grows = point[axis] >= definers[:, others, axis].max(axis=1, initial=-np.inf)
            lowered, defined = bounds[grows].copy(), definers[grows].copy()
            lowered[:, axis] = point[axis]
            defined[:, axis] = point
            new_bounds.append(lowered)
            new_definers.append(defined)
        return DominatedRegion(self.reference, np.concatenate(new_bounds), np.concatenate(new_definers))

    def boxes(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper corners of the boxes that are not empty, each of shape (B, M)."""
        lower, upper = np.empty_like(self.bounds), self.bounds.copy()
        lower[:, 0], upper[:, 0] = self.definers[:, 0, 0], self.reference[0]
        for axis in range(1, len(self.reference)):
            lower[:, axis] = self.definers[:, :axis, axis].max(axis=1)
        filled = (lower < upper).all(axis=1)
        return lower[filled], upper[filled]

    def improvements(self, points: FloatArray) -> FloatArray:
        """The hypervolume that each of ``points``, shape (N, M), would add alone, shape (N,)."""
        lower, upper = self.boxes()
        sides = np.maximum(self.reference - points, 0.0)
        added = sides.prod(axis=1)
        inside = np.flatnonzero(added > 0)
        step = max(1, _CELLS_AT_ONCE // max(1, lower.size))
        for start in range(0, len(inside), step):
            part = inside[start : start + step]
            overlap = np.ones((len(part), len(lower)))
            for axis in range(points.shape[1]):
                overlap *= np.maximum(upper[:, axis] - np.maximum(lower[:, axis], points[part, axis, None]), 0.0)
            added[part] -= overlap.sum(axis=1)
        improvements: FloatArray = np.maximum(added, 0.0)
        return improvements
