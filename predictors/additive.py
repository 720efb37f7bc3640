"""Every layer costs something, and the costs add up: non-negative regression over the kinds of layers.

Each kind has a cost a layer, a multiply-accumulate, a moved element and a weight, and there is a constant. What a
runtime fuses into its neighbour, such as an activation, can get a cost of zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from nas.predictor import FloatArray, HeldOutError, Prediction, Subject
from predictors.conformal import Calibration, assess, calibrate, split_folds
from predictors.features import check_samples, layer_sums

# On the share of a value that a term explains; on NAS-Bench-201 and FBNet latencies 1e-5 to 1e-2 do alike, 1e-1 worse.
_RIDGE = 1e-3


@final
@dataclass(frozen=True)
class AdditivePredictor:
    """A value as the sum of what its layers cost."""

    held_out: HeldOutError
    _model: AdditiveModel = field(repr=False)
    _calibration: Calibration = field(repr=False)

    def predict(self, subjects: Sequence[Subject]) -> Prediction:
        return self._calibration.bound(self._model.log_means(cost_terms(subjects)))


@final
@dataclass(frozen=True)
class AdditiveModel:
    """Costs of the terms, shape (T,), all of them zero or more."""

    costs: FloatArray
    smallest: float

    def log_means(self, terms: FloatArray) -> FloatArray:
        """Log-predictions, shape (N,). A sum of nothing but free terms gets the smallest credible value."""
        means: FloatArray = np.log(np.maximum(terms @ self.costs, self.smallest))
        return means


def fit_additive(subjects: Sequence[Subject], values: FloatArray, *, seed: int) -> AdditivePredictor:
    """A predictor that adds up costs of layers; right where layers run one after another.

    Raises ValueError as ``nas.predictor.PredictorMethod`` says.
    """
    values = check_samples(subjects, values)
    terms = cost_terms(subjects)
    held_out = cross_validate(terms, values, seed)
    return AdditivePredictor(
        held_out=assess(values, held_out),
        _model=fit_model(terms, values),
        _calibration=calibrate(np.log(values) - held_out),
    )


def cost_terms(subjects: Sequence[Subject]) -> FloatArray:
    """What has a cost, shape (N, T): a constant 1, and per kind of layer the sums of ``features.layer_sums``."""
    return np.column_stack([np.ones(len(subjects)), layer_sums(subjects)])


def fit_model(terms: FloatArray, values: FloatArray) -> AdditiveModel:
    """The non-negative costs with the least squared *relative* error, slightly regularised."""
    from scipy.optimize import nnls  # here, because scipy is slow to import and nothing else needs it

    relative = terms / values[:, None]
    scales = np.sqrt((relative**2).mean(axis=0))
    used = scales > 0
    shares = relative[:, used] / scales[used]
    ridge = np.sqrt(_RIDGE * len(values)) * np.eye(int(used.sum()))
    solution, _ = nnls(np.vstack([shares, ridge]), np.concatenate([np.ones(len(values)), np.zeros(len(ridge))]))
    costs = np.zeros(terms.shape[1])
    costs[used] = solution / scales[used]
    return AdditiveModel(costs, smallest=float(values.min()) / 100)


def cross_validate(terms: FloatArray, values: FloatArray, seed: int) -> FloatArray:
    """Log-prediction for each sample, shape (N,), from a model fitted without its fold."""
    log_means = np.empty(len(values))
    for fold in split_folds(len(values), seed):
        seen = np.setdiff1d(np.arange(len(values)), fold)
        log_means[fold] = fit_model(terms[seen], values[seen]).log_means(terms[fold])
    return log_means
