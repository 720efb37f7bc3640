"""Choosing what to measure on a new target, so that a few measurements serve the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nas.prediction.medoids import medoids
from nas.results.solved import SolvedPoint
from nas.space.architecture import Architecture
from nas.values.objective import Limit, Objective, quality_of
from nas.values.pareto import FloatArray, hypervolume_contributions, non_dominated, ranks

POOL_FACTOR = 3
"""First measurements are chosen from this many times as many candidates, those nearest the front."""


def first_choice(
    points: Sequence[SolvedPoint],
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
    likely_costs: Mapping[Architecture, float],
    features: Callable[[Sequence[Architecture]], FloatArray],
    count: int,
    rng: np.random.Generator,
) -> list[SolvedPoint]:
    """Return up to ``count`` candidates to measure before anything can be predicted on a new target.

    They represent the candidates that will probably be near the front, where predictions have to be right.
    ``likely_costs`` orders candidates by cost, such as a latency on another target, and the most and the least costly
    of those near the front are taken. The others are medoids by cost, error and the ``features`` of architectures.
    """
    known = [limit for limit in limits if limit.metric.source != "measured"]
    fitting = [point for point in points if not point.broken(known)] or list(points)
    if len(fitting) <= count:
        rest = sorted((point for point in points if point not in fitting), key=lambda point: point.excess(known))
        return [*fitting, *rest][:count]
    quality = quality_of(objectives).name
    losses = np.array([[point.value(quality), likely_costs[point.architecture]] for point in fitting])
    order = np.lexsort((losses[:, 1], ranks(losses)))
    near = np.sort(order[: POOL_FACTOR * count])
    pool, losses = [fitting[index] for index in near.tolist()], losses[near]
    logs = np.column_stack([np.log(np.maximum(losses[:, 1], 1e-12)), losses[:, 0]])
    described = np.hstack([_standard(logs), _weighted(features([point.architecture for point in pool]))])
    ends = (int(losses[:, 1].argmin()), int(losses[:, 1].argmax()))
    return [pool[index] for index in medoids(described, count, rng, ends).tolist()]


def next_choice(
    points: Sequence[SolvedPoint],
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
    metrics: Sequence[str],
    count: int,
) -> list[SolvedPoint]:
    """Return up to ``count`` unmeasured candidates whose measurement would most change the front.

    First come those that are on the front by their predicted means, the largest part of the hypervolume first. Then
    come those that would be on it if the lower bounds of their predictions were true. If nothing can meet the limits,
    the candidates that exceed them least are returned.
    """
    unmeasured = [point for point in points if not point.is_measured(metrics)]
    names = [objective.metric.name for objective in objectives]
    hopeful = [point for point in points if not point.broken(limits, hopefully=True)]
    if not any(not point.is_measured(metrics) for point in hopeful):
        if any(point.meets(limits, surely=False) for point in points):
            return []
        return sorted(unmeasured, key=lambda point: point.excess(limits))[:count]
    means = np.array([[point.value(name) for name in names] for point in hopeful])
    lowest = np.array([[point.interval(name).lower for name in names] for point in hopeful])
    probable = np.array([point.meets(limits, surely=False) for point in hopeful])
    front = means[probable][non_dominated(means[probable])] if probable.any() else np.empty((0, len(names)))
    reference = means.max(axis=0) + 0.1 * np.maximum(np.ptp(means, axis=0), 1e-9)
    gains = np.zeros(len(hopeful))
    gains[probable] = hypervolume_contributions(means[probable], reference)
    chosen = [
        (-float(gains[index]), _distance(means[index], front), index)
        for index, point in enumerate(hopeful)
        if not point.is_measured(metrics) and not _is_dominated(lowest[index], front)
    ]
    return [hopeful[index] for *_, index in sorted(chosen)][:count]


def _distance(point: FloatArray, front: FloatArray) -> float:
    """Return the least relative step by which a point would be no longer dominated by the front; 0 for one on it."""
    if not len(front):
        return 0.0
    worse = (point - front) / np.maximum(np.abs(front), 1e-12)
    return float(max(0.0, worse.min(axis=1).max()))


def _is_dominated(point: FloatArray, front: FloatArray) -> bool:
    """Return True if a point of the front is nowhere higher than ``point`` and somewhere lower."""
    return bool(((front <= point).all(axis=1) & (front < point).any(axis=1)).any())


def _standard(columns: FloatArray) -> FloatArray:
    spread = np.maximum(columns.std(axis=0), 1e-9)
    found: FloatArray = (columns - columns.mean(axis=0)) / spread
    return found


def _weighted(features: FloatArray) -> FloatArray:
    """Return features that together have the spread of two standardised columns."""
    centred = features - features.mean(axis=0)
    total = math.sqrt(float((centred**2).sum(axis=1).mean())) if centred.size else 0.0
    found: FloatArray = centred * (math.sqrt(2.0) / max(total, 1e-9))
    return found
