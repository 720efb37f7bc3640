"""Randomised trees for costs that are neither smooth nor additive, as with fusion, tiling and overflowing caches.

Trees cannot extrapolate, so a power law in the totals is fitted first. The trees learn its residuals, in logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nas.prediction.predictor import Batch, FloatArray, Given
from nas.space.architecture import Architecture
from nas.space.description import Describer, Descriptions
from nas.values.other_target import Source
from predictors.bounded import BoundedPredictor, fit_bounded
from predictors.features import FeatureMap, feature_map
from predictors.outliers import without_outliers

_TREES = 60
_TREES_IN_FOLD = 30
"""Half the trees halve the time of ten folds, and make held-out errors slightly too large."""
_SEEDS = 2**32
"""scikit-learn takes seeds below this; a larger one is taken modulo it."""
_RIDGE = 1.0
"""Penalty on slopes of standardised log-totals, which are nearly collinear.

With 10 samples of NAS-Bench-201 and FBNet latencies, the mean Spearman correlation is 0.83 with this trend and 0.66
without; with 40 samples it is 0.92 and 0.89.
"""


@final
@dataclass(frozen=True)
class TreesModel:
    """A power law in the totals, and a forest fitted to its residuals."""

    features: FeatureMap
    centre: FloatArray
    scale: FloatArray
    slopes: FloatArray
    intercept: float
    forest: Any

    def log_means(self, batch: Batch) -> FloatArray:
        """Return log-predictions, shape (N,)."""
        if not len(batch):
            return np.empty(0)
        totals = log_totals(batch)
        trend = self.intercept + (totals - self.centre) / self.scale @ self.slopes
        means: FloatArray = trend + self.forest.predict(_columns(self.features, batch, totals))
        return means


@without_outliers(by_sources=False)
def fit_trees(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    sources: Sequence[Source] = (),
    given: Sequence[Given] = (),
    seed: int,
) -> BoundedPredictor:
    """Return a predictor of randomised trees over graph and options, which needs more samples than other predictors.

    ``sources`` are ignored. Raises ValueError as described in ``nas.prediction.predictor.PredictorMethod``.
    """
    return fit_bounded(
        space, architectures, values, target=target, given=given, seed=seed, method=TreesMethod(feature_map(space))
    )


@final
@dataclass(frozen=True)
class TreesMethod:
    """Fits ``TreesModel``, as ``predictors.bounded.ModelMethod`` describes."""

    features: FeatureMap

    def fit(self, batch: Batch, values: FloatArray, seed: int) -> TreesModel:
        """Fit the model to all samples."""
        return _fit(self.features, batch, values, seed, _TREES)

    def fit_in_fold(self, batch: Batch, values: FloatArray, seed: int) -> TreesModel:
        """Fit a model with fewer trees for cross-validation."""
        return _fit(self.features, batch, values, seed, _TREES_IN_FOLD)


def _fit(features: FeatureMap, batch: Batch, values: FloatArray, seed: int, trees: int) -> TreesModel:
    """Fit a ridge regression of log-values on log-totals, and trees to its residuals (Geurts et al. 2006)."""
    from sklearn.ensemble import ExtraTreesRegressor  # here, because it takes a second to import

    logs, totals = np.log(values), log_totals(batch)
    centre, scale = totals.mean(axis=0), totals.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    standardised = (totals - centre) / scale
    gram = standardised.T @ standardised + _RIDGE * np.eye(standardised.shape[1])
    slopes = np.linalg.solve(gram, standardised.T @ (logs - logs.mean()))
    residuals = logs - logs.mean() - standardised @ slopes
    state = seed % _SEEDS
    forest = ExtraTreesRegressor(trees, max_features=0.5, min_samples_leaf=1, random_state=state, n_jobs=1)
    forest.fit(_columns(features, batch, totals), residuals)
    return TreesModel(features, centre, scale, slopes, float(logs.mean()), forest)


def log_totals(batch: Batch) -> FloatArray:
    """Return logarithms of sums over all layers, known numbers, and the given features, shape (N, quantities + G)."""
    return np.column_stack([np.log1p(_sums(batch.descriptions)), batch.descriptions.log_numbers, batch.given])


def _sums(descriptions: Descriptions) -> FloatArray:
    sums: FloatArray = descriptions.layer_sums.sum(axis=1)
    return sums


def _columns(features: FeatureMap, batch: Batch, totals: FloatArray) -> FloatArray:
    blocks = features.of(batch)
    return np.column_stack([totals, blocks.graph_logs, blocks.written, blocks.live, blocks.written_counts])
