"""The first proposals where a prior ranks candidates: those that are best together if the prior is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from nas.prediction.predictor import FloatArray
from predictors.samplers.hypervolume_improvement import DominatedRegion
from predictors.samplers.improvement import MARGIN


def first_by_hypervolume(losses: FloatArray, is_accepted: Callable[[int], bool]) -> Iterator[int]:
    """Yield accepted places of N losses, shape (N, M): the lowest of each but the first loss, then the best together.

    Each of the latter adds the most hypervolume to those before it. Losses count between the lowest and the highest.
    Once none adds anything, the iteration ends.
    """
    if not len(losses):
        return
    lowest, highest = losses.min(axis=0), losses.max(axis=0)
    points = (losses - lowest) / np.where(highest > lowest, highest - lowest, 1.0)
    reference = np.full(points.shape[1], 1.0 + MARGIN)
    region = DominatedRegion.of(np.empty((0, points.shape[1])), reference)
    cheapest = (next(filter(is_accepted, np.argsort(column).tolist()), None) for column in losses.T[1:])
    chosen = list(dict.fromkeys(place for place in cheapest if place is not None))
    while True:
        for place in chosen:
            yield place
            region = region.with_point(points[place])
            points[place] = reference  # it adds nothing any more, not even by rounding
        gains = region.improvements(points)
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            return
        chosen = [best] if is_accepted(best) else []
        if not chosen:
            points[best] = reference
