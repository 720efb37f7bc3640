"""Choosing what to measure first on a new target, so that a few measurements serve the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nas.prediction.medoids import medoids
from nas.results.solved import SolvedPoint
from nas.space.architecture import Architecture
from nas.values.objective import Limit, Objective, quality_of
from nas.values.pareto import FloatArray, ranks

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
