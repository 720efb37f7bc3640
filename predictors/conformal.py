"""Bounds from held-out residuals, and the folds that hold them out.

Conformal prediction after Vovk et al., "Algorithmic Learning in a Random World" (2005); taking the residuals from
cross-validation and the prediction from a fit to all samples is the jackknife of Barber et al., "Predictive inference
with the jackknife+" (2021); dividing residuals by how unsure the model is makes bounds that widen where it is (Lei et
al., 2018, arXiv:1604.04173). Residuals are log(truth) − log(prediction), so the bounds are factors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from nas.prediction.predictor import BoolArray, FloatArray, HeldOut, Prediction

LARGEST_FOLD_COUNT = 10
TWO_SIDED, ONE_SIDED = 0.9, 0.95


@final
@dataclass(frozen=True)
class Calibration:
    """How many spreads a truth may be away from its log-prediction: on either side, and above it."""

    either: float
    above: float

    def bound(self, log_means: FloatArray, spreads: FloatArray, known: BoolArray) -> Prediction:
        """Predictions with their bounds for N log-means, with their spreads."""
        reach = self.either * spreads
        return Prediction(
            mean=np.exp(log_means),
            lower=np.exp(log_means - reach),
            upper=np.exp(log_means + reach),
            limit=np.exp(log_means + self.above * spreads),
            known=known,
        )


def calibrate(scores: FloatArray) -> Calibration:
    """Two-sided 90 % and one-sided 95 % bounds from held-out log-residuals over their spreads, shape (N,)."""
    return Calibration(
        either=_quantile(np.abs(scores), TWO_SIDED, np.abs(scores)),
        above=max(0.0, _quantile(scores, ONE_SIDED, np.abs(scores))),
    )


def hold_out(values: FloatArray, log_means: FloatArray, spreads: FloatArray) -> HeldOut:
    """Held-out predictions with the bounds that the other samples' residuals give, each of shape (N,).

    Without ties the share of truths within these bounds depends on the number of samples alone: it is near 0.9 whatever
    the predictor. What was foretold before it was measured tells whether bounds hold.
    """
    scores = (np.log(values) - log_means) / spreads
    reach = np.array([calibrate(np.delete(scores, index)).either for index in range(len(scores))]) * spreads
    return HeldOut(values, np.exp(log_means), np.exp(log_means - reach), np.exp(log_means + reach))


def split_folds(count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Which of ``count`` samples each fold holds out: at most ten folds of nearly equal size, in random order."""
    order = np.random.default_rng(seed).permutation(count)
    return np.array_split(order, min(LARGEST_FOLD_COUNT, count))


def _quantile(scores: FloatArray, share: float, magnitudes: FloatArray) -> float:
    """The value that a further score exceeds with a probability of at most 1 − ``share``.

    With n scores it is the ceil(share (n + 1))-th smallest. Where there are too few for one, it is the largest in
    magnitude, times 1.4 at n = 4 falling to 1 at n = 9, which gives the share for normal residuals.
    """
    count = len(scores)
    rank = math.ceil(share * (count + 1) - 1e-9)
    if rank > count:
        return float(magnitudes.max()) * max(1.0, 1.0 + 0.08 * (9 - count))
    return float(np.partition(scores, rank - 1)[rank - 1])
