"""Medoids: a few points that represent many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.prediction.one_thread import one_thread
from nas.values.pareto import FloatArray, IntArray

STEPS = 100
"""Most alternations. The search usually ends within ten."""


@one_thread()
def medoids(features: FloatArray, count: int, rng: np.random.Generator, first: Sequence[int] = ()) -> IntArray:
    """Return the indexes, shape (count,), of the most central rows of ``features``, shape (N, D).

    Every other row lies close to one of them. Rows in ``first`` are always taken, and come first. If N is at most
    ``count``, all rows are taken.

    The method is k-medoids by alternation (Park & Jun, 2009, doi:10.1016/j.eswa.2008.01.039), started as k-means++
    (Arthur & Vassilvitskii, 2007). Time and memory grow as N²: about 0.2 s for 2,000 rows.

    Raises:
        ValueError: a count below 1.
    """
    if count < 1:
        raise ValueError(f"the count of medoids must be at least 1, but got {count}.")
    fixed = list(dict.fromkeys(first))[:count]
    if len(features) <= count:
        return np.array(fixed + [index for index in range(len(features)) if index not in fixed], dtype=np.int64)
    distances = _distances(features)
    chosen = _start(distances, count, rng, fixed)
    for _ in range(STEPS):
        moved = _alternate(distances, chosen, len(fixed))
        if np.array_equal(moved, chosen):
            break
        chosen = moved
    return chosen


def _distances(features: FloatArray) -> FloatArray:
    """Return Euclidean distances between all rows, shape (N, N)."""
    squares = np.einsum("nd,nd->n", features, features)
    squared = squares[:, None] + squares[None, :] - 2 * features @ features.T
    np.fill_diagonal(squared, 0.0)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _start(distances: FloatArray, count: int, rng: np.random.Generator, fixed: Sequence[int]) -> IntArray:
    """Return ``fixed`` and further rows, drawn in proportion to the squared distance to the nearest row taken."""
    chosen = list(fixed) or [int(rng.integers(len(distances)))]
    nearest = distances[chosen].min(axis=0)
    while len(chosen) < count:
        weights = nearest**2
        weights[chosen] = 0.0
        if not weights.any():  # only duplicates of taken rows are left
            weights = np.ones(len(distances))
            weights[chosen] = 0.0
        drawn = int(rng.choice(len(distances), p=weights / weights.sum()))
        chosen.append(drawn)
        nearest = np.minimum(nearest, distances[drawn])
    return np.array(chosen, dtype=np.int64)


def _alternate(distances: FloatArray, chosen: IntArray, fixed: int) -> IntArray:
    """Assign each row to its nearest medoid, then make the most central row of each group its medoid."""
    labels = distances[:, chosen].argmin(axis=1)
    labels[chosen] = np.arange(len(chosen))
    moved = chosen.copy()
    for label in range(fixed, len(chosen)):
        group = np.flatnonzero(labels == label)
        sums = distances[np.ix_(group, group)].sum(axis=1)
        best = group[sums.argmin()]
        if sums.min() < sums[group == chosen[label]].item() * (1 - 1e-9):  # a tie would alternate for ever
            moved[label] = best
    return moved
