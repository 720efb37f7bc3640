"""The hypervolume that a search has after each evaluation, and what random search would have had, as an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.reports.analysis.choice_table import choice_table
from nas.space.architecture import Architecture
from nas.values.pareto import BoolArray, FloatArray, IntArray, hypervolume, non_dominated

ROOM = 0.05
"""The reference point lies this share of the span beyond the worst value that counts."""
TYPICAL = 75.0
"""The percentile of all values that the reference point reaches at least."""
RESAMPLES, STEPS = 100, 40
"""How often a random search is drawn, and at how many counts of evaluations its hypervolume is looked at."""
RAKINGS, MOST_WEIGHT = 30, 20.0
LEAST_EFFECTIVE = 8.0
"""With fewer effective evaluations than this, weights say more about chance than about the space."""


@dataclass(frozen=True)
class Points:
    """What evaluations found: the losses of each point within the limits, and by which evaluation.

    Attributes:
        losses: shape (P, M), lower is better.
        owner: shape (P,), the index of the evaluation that found the point, in ascending order.
        evaluations: the number of evaluations, those without a point included.
    """

    losses: FloatArray
    owner: IntArray
    evaluations: int


def reference_point(losses: FloatArray, most: Sequence[float]) -> FloatArray:
    """Return the point, shape (M,), up to which the dominated volume of ``losses``, shape (N, M), is counted.

    It lies a little beyond the worst value on the front, and beyond three quarters of all values: a single diverged
    training does not move it. It never lies beyond ``most``, the limits, which are infinite where there are none.
    """
    best = losses.min(axis=0)
    front = front_of_losses(losses)
    worst = np.maximum(front.max(axis=0), np.percentile(losses, TYPICAL, axis=0))
    span = np.where(worst > best, worst - best, np.abs(best))
    span = np.where(span > 0, span, 1.0)
    point: FloatArray = np.minimum(worst + ROOM * span, np.asarray(most, dtype=np.float64))
    return point


def front_of_losses(losses: FloatArray) -> FloatArray:
    """Return the rows of ``losses``, shape (N, M), that no other row dominates. One loss may be all there is."""
    return losses[losses[:, 0] == losses.min()] if losses.shape[1] == 1 else losses[non_dominated(losses)]


def growth(points: Points, reference: FloatArray) -> FloatArray:
    """Return the hypervolume after each evaluation, shape (N,), where N is the number of evaluations."""
    volumes = np.zeros(points.evaluations)
    front = np.empty((0, points.losses.shape[1]))
    for losses, owner in zip(points.losses, points.owner.tolist(), strict=True):
        if not (losses < reference).all() or (front <= losses).all(axis=1).any():
            continue
        front = np.vstack([front[~(losses <= front).all(axis=1)], losses])
        volumes[owner] = hypervolume(front, reference)
    grown: FloatArray = np.maximum.accumulate(volumes)
    return grown


def counts_looked_at(evaluations: int, steps: int = STEPS) -> IntArray:
    """Return up to ``steps`` counts from 1 to ``evaluations``, which lie closer at the beginning."""
    if evaluations < 1:
        return np.empty(0, dtype=np.int64)
    spaced = np.geomspace(1, evaluations, steps)
    counts: IntArray = np.unique(np.concatenate([np.round(spaced), [1, evaluations]]).astype(np.int64))
    return counts


def random_growth(
    points: Points,
    reference: FloatArray,
    counts: IntArray,
    weights: FloatArray,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> FloatArray:
    """Return the hypervolume of random searches after ``counts`` evaluations, shape (resamples, counts).

    Each draws evaluations at random, with replacement and with these ``weights``, shape (N,), from those that
    ``points`` come from. That is the bootstrap (Efron, 1979).
    """
    table = _points_by_evaluation(points, reference)
    losses = np.vstack([points.losses, np.full((1, points.losses.shape[1]), np.inf)])  # -1 is a point beyond everything
    shares = weights / weights.sum()
    volumes = np.zeros((resamples, len(counts)))
    for resample in range(resamples):
        drawn = rng.choice(points.evaluations, size=int(counts[-1]) if len(counts) else 0, p=shares)
        front = np.empty((0, points.losses.shape[1]))
        volume, begin = 0.0, 0
        for place, count in enumerate(counts.tolist()):
            found = np.unique(table[drawn[begin:count]])
            fresh = losses[found[found >= 0]]
            fresh = fresh[~_covered(fresh, front)]
            if len(fresh):
                front = front_of_losses(np.vstack([front, fresh]))
                volume = hypervolume(front, reference)
            volumes[resample, place], begin = volume, count
    return volumes


def _points_by_evaluation(points: Points, reference: FloatArray) -> IntArray:
    """Return the indices of each evaluation's points within the reference point, shape (N, K), filled up with -1."""
    inside = np.flatnonzero((points.losses < reference).all(axis=1))
    owner = points.owner[inside]
    most = int(np.bincount(owner).max()) if len(owner) else 1
    table = np.full((points.evaluations, most), -1, dtype=np.int64)
    order = np.arange(len(owner)) - np.searchsorted(owner, owner)  # owners ascend
    table[owner, order] = inside
    return table


def _covered(fresh: FloatArray, front: FloatArray) -> BoolArray:
    """Return a mask of the points that one of the front is at least as good as."""
    reaches: BoolArray = np.all(front[None, :, :] <= fresh[:, None, :], axis=2)
    covered: BoolArray = np.any(reaches, axis=1)
    return covered


def balanced_weights(architectures: Sequence[Architecture]) -> FloatArray:
    """Return weights, shape (N,), with which each option of a choice comes as often as any other one of it.

    A random draw from a space gives each option of an active choice the same probability, and a search prefers some.
    The weights undo that, choice by choice, in turns (raking: Deming & Stephan, 1940). Options that the search never
    tried stay missing. Weights stay within a factor of 20 of their mean, so that no single evaluation decides.
    """
    weights = np.ones(len(architectures))
    varied = [column for column in choice_table(architectures) if len(column.options) > 1]
    columns = [(np.flatnonzero(column.active), column.codes[column.active]) for column in varied]
    for _ in range(RAKINGS if columns else 0):
        for active, codes in columns:
            masses = np.bincount(codes, weights=weights[active])
            weights[active] *= (masses.sum() / len(masses) / masses)[codes]
        weights = np.clip(weights / weights.mean(), 1 / MOST_WEIGHT, MOST_WEIGHT)
    return weights


def effective_count(weights: FloatArray) -> float:
    """Return how many equally weighted evaluations tell as much as these (Kish, 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())
