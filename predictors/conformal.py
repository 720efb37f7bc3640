"""Conformal prediction: bounds from held-out residuals, and the folds that hold samples out.

The method is that of Vovk et al., "Algorithmic Learning in a Random World" (2005). Residuals come from cross-validation
and predictions from a fit to all samples, as in the jackknife of Barber et al., "Predictive inference with the
jackknife+" (2021). Residuals are divided by the model's spread, so that bounds widen where the model is unsure (Lei et
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
FARTHEST = 20.0
"""The most natural logarithms between a prediction and its bound: a factor of 5e8, beyond which nothing is known."""


@final
@dataclass(frozen=True)
class Calibration:
    """Largest distance of a truth from its log-prediction, in spreads: to either side, and above it."""

    either: float
    above: float

    def bound(self, log_means: FloatArray, spreads: FloatArray, known: BoolArray) -> Prediction:
        """Return predictions with bounds for N log-means and their spreads."""
        reach = np.minimum(self.either * spreads, FARTHEST)
        return Prediction(
            mean=np.exp(log_means),
            lower=np.exp(log_means - reach),
            upper=np.exp(log_means + reach),
            limit=np.exp(log_means + np.minimum(self.above * spreads, FARTHEST)),
            known=known,
        )


def calibrate(scores: FloatArray) -> Calibration:
    """Return 90 % two-sided and 95 % one-sided bounds, from held-out log-residuals divided by spreads, shape (N,)."""
    return Calibration(
        either=_quantile(np.abs(scores), TWO_SIDED, np.abs(scores)),
        above=max(0.0, _quantile(scores, ONE_SIDED, np.abs(scores))),
    )


def hold_out(values: FloatArray, log_means: FloatArray, spreads: FloatArray) -> HeldOut:
    """Return held-out predictions, each with bounds from the residuals of the other samples.

    Without ties, the share of truths within these bounds depends only on the number of samples: it is near 0.9 for any
    predictor. Only predictions made before measuring show if bounds hold.
    """
    scores = (np.log(values) - log_means) / spreads
    reach = np.array([calibrate(np.delete(scores, index)).either for index in range(len(scores))]) * spreads
    return HeldOut(values, np.exp(log_means), np.exp(log_means - reach), np.exp(log_means + reach))


def split_folds(count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Split ``count`` samples at random into at most ten folds of nearly equal size, as arrays of indexes."""
    order = np.random.default_rng(seed).permutation(count)
    return np.array_split(order, min(LARGEST_FOLD_COUNT, count))


def _quantile(scores: FloatArray, share: float, magnitudes: FloatArray) -> float:
    """Return the value that a further score exceeds with a probability of at most 1 − ``share``.

    With n scores it is the ceil(share (n + 1))-th smallest. With too few scores for that rank, it is the largest
    magnitude times a factor. The factor falls from 1.4 at n = 4 to 1 at n = 9, which gives ``share`` for normal
    residuals.
    """
    count = len(scores)
    rank = math.ceil(share * (count + 1) - 1e-9)
    if rank > count:
        return float(magnitudes.max()) * max(1.0, 1.0 + 0.08 * (9 - count))
    return float(np.partition(scores, rank - 1)[rank - 1])
