"""How unlike the measured architectures another one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.prediction.predictor import Batch, FloatArray
from nas.space.architecture import Architecture
from nas.space.description import Describer
from predictors.features import Blocks, FeatureMap, feature_map

_SMALLEST_DISTANCE = 1e-3
"""Of a space's mean distance from its centre: where all samples are alike, anything else is new."""


@final
@dataclass(frozen=True)
class Novelty:
    """Distance to the nearest sample, over the largest that a sample has to the nearest other one.

    Above 1 an architecture is less like the samples than each of them is like the others. Features are those of the
    graph and the options that it takes.
    """

    features: FeatureMap
    samples: NDArray[np.float32]
    reach: float

    @classmethod
    def of_samples(cls, space: Describer, architectures: Sequence[Architecture]) -> Novelty:
        """Measured from these samples."""
        features = feature_map(space)
        points = _points(features(space.describe(architectures)))
        distances = np.sqrt(_squared_distances(points, points))
        np.fill_diagonal(distances, np.inf)
        nearest = distances.min(axis=1)
        return cls(features, points, max(float(nearest.max()), _SMALLEST_DISTANCE))

    def of(self, batch: Batch) -> FloatArray:
        """The ratio of each, shape (N,)."""
        points = _points(self.features.of(batch))
        nearest: FloatArray = np.sqrt(_squared_distances(points, self.samples).min(axis=1)).astype(np.float64)
        return nearest / self.reach


def _points(blocks: Blocks) -> NDArray[np.float32]:
    return np.hstack([blocks.graph_logs, blocks.effective]).astype(np.float32)


def _squared_distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    distances: NDArray[np.float32] = np.maximum(squares, 0.0)
    return distances
