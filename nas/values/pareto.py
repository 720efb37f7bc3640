"""Dominance, non-dominated ranks, crowding and hypervolume, on losses (lower is better)."""

from __future__ import annotations

import moocore
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def non_dominated(losses: FloatArray) -> BoolArray:
    """Return a mask, shape (N,), of the rows of ``losses``, shape (N, M), that no row dominates.

    Equal rows are all kept. Raises ValueError on NaN: a failed evaluation is not a point.
    """
    losses = _checked(losses)
    if len(losses) == 0:
        return np.zeros(0, dtype=bool)
    mask: BoolArray = np.asarray(moocore.is_nondominated(losses, keep_weakly=True), dtype=bool)
    return mask


def ranks(losses: FloatArray) -> IntArray:
    """Return the rank of each row, shape (N,): 0 on the front, 1 on the front of the remaining rows, and so on."""
    losses = _checked(losses)
    if len(losses) == 0:
        return np.zeros(0, dtype=np.int64)
    result: IntArray = np.asarray(moocore.pareto_rank(losses), dtype=np.int64)
    return result


def crowding_distances(losses: FloatArray) -> FloatArray:
    """Return the crowding distance of each row among all, shape (N,); it is infinite at the ends.

    From Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002.
    """
    losses = _checked(losses)
    count = len(losses)
    distances = np.zeros(count)
    if count <= 2:
        return np.full(count, np.inf)
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distances[order[[0, -1]]] = np.inf
        if span > 0:
            distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distances


def hypervolume(losses: FloatArray, reference: FloatArray) -> float:
    """Return the volume that ``losses``, shape (N, M), dominate within ``reference``, shape (M,)."""
    losses = _checked(losses)
    if len(losses) == 0:
        return 0.0
    if losses.shape[1] == 1:  # moocore refuses a single objective
        return max(0.0, float(reference[0] - losses.min()))
    return float(moocore.hypervolume(losses, ref=np.asarray(reference, dtype=np.float64)))


def hypervolume_contributions(losses: FloatArray, reference: FloatArray) -> FloatArray:
    """Return the volume that would be lost without each row, shape (N,); 0 for dominated and repeated rows."""
    losses = _checked(losses)
    if len(losses) == 0:
        return np.zeros(0)
    if losses.shape[1] == 1:
        best, second = np.sort([*losses[:, 0], reference[0], reference[0]])[:2]
        return np.where(losses[:, 0] == best, second - best, 0.0)
    contributions: FloatArray = np.asarray(
        moocore.hv_contributions(losses, ref=np.asarray(reference, dtype=np.float64), ignore_dominated=False),
        dtype=np.float64,
    )
    return contributions


def _checked(losses: FloatArray) -> FloatArray:
    losses = np.asarray(losses, dtype=np.float64)
    if losses.ndim != 2:
        raise ValueError(f"losses must have shape (N, M), but got {losses.shape}.")
    if np.isnan(losses).any():
        raise ValueError("losses must not hold NaN, but some do: a failed evaluation is not a point.")
    return losses
