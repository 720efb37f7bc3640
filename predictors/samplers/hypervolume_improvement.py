"""Hypervolume improvement: the exact hypervolume that points would add to a front, for any number of objectives.

The dominated region is cut into boxes that do not overlap, as in Lacour, Klamroth and Fonseca, "A box decomposition
algorithm to compute the hypervolume indicator" (Computers & Operations Research 79, 2017). A point adds the volume that
it dominates, minus its overlap with each box.
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
    """The region that a front of losses dominates within ``reference``, shape (M,), as B boxes that do not overlap.

    ``bounds``, shape (B, M), are the local upper bounds, which limit the region that is not dominated. ``definers``,
    shape (B, M, M), are the points that define each coordinate of a bound.
    """

    reference: FloatArray
    bounds: FloatArray
    definers: FloatArray

    @classmethod
    def of(cls, losses: FloatArray, reference: FloatArray) -> DominatedRegion:
        """Return the region that ``losses``, shape (N, M), dominate; points not below the reference add nothing.

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
        """Return the region extended by one more point, shape (M,)."""
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
        """Return the lower and upper corners of all non-empty boxes, each of shape (B, M)."""
        lower, upper = np.empty_like(self.bounds), self.bounds.copy()
        lower[:, 0], upper[:, 0] = self.definers[:, 0, 0], self.reference[0]
        for axis in range(1, len(self.reference)):
            lower[:, axis] = self.definers[:, :axis, axis].max(axis=1)
        filled = (lower < upper).all(axis=1)
        return lower[filled], upper[filled]

    def improvements(self, points: FloatArray) -> FloatArray:
        """Return the hypervolume, shape (N,), that each of ``points``, shape (N, M), would add alone."""
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
