"""Novelty: the distance of an architecture from the measured ones."""

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
"""Smallest reach, relative to a space's mean distance from its centre; it counts if all samples are alike."""


@final
@dataclass(frozen=True)
class Novelty:
    """Distance to the nearest sample, divided by the largest distance between a sample and its nearest other sample.

    Above 1, an architecture is farther from its nearest sample than any sample is from its own nearest one. Distances
    are measured between features of the graph and the options that take effect.
    """

    features: FeatureMap
    samples: NDArray[np.float32]
    reach: float

    @classmethod
    def of_samples(cls, space: Describer, architectures: Sequence[Architecture]) -> Novelty:
        """Return the novelty with respect to these samples."""
        features = feature_map(space)
        points = _points(features(space.describe(architectures)))
        distances = np.sqrt(_squared_distances(points, points))
        np.fill_diagonal(distances, np.inf)
        nearest = distances.min(axis=1)
        return cls(features, points, max(float(nearest.max()), _SMALLEST_DISTANCE))

    def of(self, batch: Batch) -> FloatArray:
        """Return the ratio for each architecture, shape (N,)."""
        points = _points(self.features.of(batch))
        nearest: FloatArray = np.sqrt(_squared_distances(points, self.samples).min(axis=1)).astype(np.float64)
        return nearest / self.reach


def _points(blocks: Blocks) -> NDArray[np.float32]:
    return np.hstack([blocks.graph_logs, blocks.effective]).astype(np.float32)


def _squared_distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    distances: NDArray[np.float32] = np.maximum(squares, 0.0)
    return distances
