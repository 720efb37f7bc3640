"""Randomised trees for what does not add up: fusion, tiling, caches that overflow.

Trees cannot extrapolate, so a power law in the totals goes first and the trees learn what it leaves, in logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from nas.predictor import FloatArray, HeldOutError, Prediction, Subject
from predictors.conformal import Calibration, assess, calibrate, split_folds
from predictors.features import check_samples, encodings, layer_sums, log_totals

_TREES = 100
_TREES_IN_FOLD = 60  # held-out errors are a little pessimistic for it, and ten folds take 0.3 s
# On standardised log-totals, which are nearly collinear. From 10 samples of NAS-Bench-201 and FBNet latencies
# the mean Spearman is 0.83 with this trend and 0.66 without, from 40 samples 0.92 and 0.89.
_RIDGE = 1.0


@final
@dataclass(frozen=True)
class TreesPredictor:
    """A power law in the totals, corrected by averaged trees."""

    held_out: HeldOutError
    _model: TreesModel = field(repr=False)
    _calibration: Calibration = field(repr=False)
    _encoding_length: int = field(repr=False)

    def predict(self, subjects: Sequence[Subject]) -> Prediction:
        return self._calibration.bound(self._model.log_means(describe(subjects, self._encoding_length)))


@final
@dataclass(frozen=True)
class Description:
    """Log-totals, shape (N, 4), and all features, shape (N, D), of N subjects."""

    totals: FloatArray
    features: FloatArray

    def rows(self, index: Any) -> Description:
        return Description(self.totals[index], self.features[index])


@final
@dataclass(frozen=True)
class TreesModel:
    """Coefficients of the power law, and the fitted forest."""

    centre: FloatArray
    scale: FloatArray
    slopes: FloatArray
    intercept: float
    forest: Any

    def log_means(self, description: Description) -> FloatArray:
        """Log-predictions, shape (N,)."""
        if not len(description.features):
            return np.empty(0)
        trend = self.intercept + (description.totals - self.centre) / self.scale @ self.slopes
        means: FloatArray = trend + self.forest.predict(description.features)
        return means


def fit_trees(subjects: Sequence[Subject], values: FloatArray, *, seed: int) -> TreesPredictor:
    """A predictor of randomised trees over layers and choices; needs more samples than the additive one.

    Raises ValueError as ``nas.predictor.PredictorMethod`` says.
    """
    values = check_samples(subjects, values)
    description = describe(subjects)
    held_out = cross_validate(description, values, seed)
    return TreesPredictor(
        held_out=assess(values, held_out),
        _model=fit_model(description, values, seed),
        _calibration=calibrate(np.log(values) - held_out),
        _encoding_length=len(subjects[0].encoding),
    )


def describe(subjects: Sequence[Subject], encoding_length: int | None = None) -> Description:
    """What the trees see: sums per kind of layer as logarithms, log-totals, encoded choices."""
    sums = layer_sums(subjects)
    totals = log_totals(sums)
    return Description(totals, np.column_stack([totals, np.log1p(sums), encodings(subjects, encoding_length)]))


def fit_model(description: Description, values: FloatArray, seed: int, trees: int = _TREES) -> TreesModel:
    """A ridge regression of log-values on log-totals, and trees on its residuals (Geurts et al. 2006)."""
    from sklearn.ensemble import ExtraTreesRegressor  # here, because it takes a second to import

    logs = np.log(values)
    centre, scale = description.totals.mean(axis=0), description.totals.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    standardised = (description.totals - centre) / scale
    gram = standardised.T @ standardised + _RIDGE * np.eye(standardised.shape[1])
    slopes = np.linalg.solve(gram, standardised.T @ (logs - logs.mean()))
    residuals = logs - logs.mean() - standardised @ slopes
    forest = ExtraTreesRegressor(trees, max_features=0.5, min_samples_leaf=1, random_state=seed, n_jobs=1)
    forest.fit(description.features, residuals)
    return TreesModel(centre, scale, slopes, float(logs.mean()), forest)


def cross_validate(description: Description, values: FloatArray, seed: int) -> FloatArray:
    """Log-prediction for each sample, shape (N,), from a model fitted without its fold."""
    log_means = np.empty(len(values))
    for fold in split_folds(len(values), seed):
        seen = np.setdiff1d(np.arange(len(values)), fold)
        model = fit_model(description.rows(seen), values[seen], seed, _TREES_IN_FOLD)
        log_means[fold] = model.log_means(description.rows(fold))
    return log_means
