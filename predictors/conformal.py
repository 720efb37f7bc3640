"""Bounds from held-out residuals, and the folds that hold them out.

Conformal prediction after Vovk et al., "Algorithmic Learning in a Random World" (2005); taking the residuals from
cross-validation and the prediction from a fit to all samples is the jackknife of Barber et al., "Predictive inference
with the jackknife+" (2021). Residuals are log(truth) − log(prediction), so the bounds are factors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from nas.predictor import FloatArray, HeldOutError, Prediction
from predictors.quality import held_out_error

LARGEST_FOLD_COUNT = 10
_TAIL = 0.05  # on each side, so that both bounds together hold 90 %


@final
@dataclass(frozen=True)
class Calibration:
    """How far below and above a prediction the truth lies, as logarithms: ``lower`` ≤ 0 ≤ ``upper``."""

    lower: float
    upper: float

    def bound(self, log_means: FloatArray) -> Prediction:
        """Predictions with their bounds for log-means of shape (N,)."""
        return Prediction(
            mean=np.exp(log_means), lower=np.exp(log_means + self.lower), upper=np.exp(log_means + self.upper)
        )


def calibrate(residuals: FloatArray) -> Calibration:
    """Two one-sided 95 % bounds from held-out log-residuals, shape (N,)."""
    return Calibration(lower=-_one_sided(-residuals), upper=_one_sided(residuals))


def assess(values: FloatArray, log_means: FloatArray) -> HeldOutError:
    """The error of held-out log-predictions, shape (N,).

    Each residual is compared with the bounds that the others alone give. That is close to 0.9 by construction where
    the samples are exchangeable, so it tells of ties and of few samples, not of architectures unlike the measured ones.
    """
    residuals = np.log(values) - log_means
    covered = np.zeros(len(residuals), dtype=np.bool_)
    for index, residual in enumerate(residuals):
        bounds = calibrate(np.delete(residuals, index))
        covered[index] = bounds.lower <= residual <= bounds.upper
    return held_out_error(values, np.exp(log_means), covered)


def split_folds(count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Which of ``count`` samples each fold holds out: at most ten folds of nearly equal size, in random order."""
    order = np.random.default_rng(seed).permutation(count)
    return np.array_split(order, min(LARGEST_FOLD_COUNT, count))


def _one_sided(residuals: FloatArray) -> float:
    """The bound that a further residual exceeds with a probability of 5 % at most, never below 0.

    With n residuals it is the ceil(0.95 (n + 1))-th smallest. Below 19 there is none: then it is the largest
    in magnitude, times 1.4 at n = 4 falling to 1 at n = 9, which gives the 5 % for normal residuals.
    """
    count = len(residuals)
    rank = math.ceil((1 - _TAIL) * (count + 1) - 1e-9)
    if rank > count:
        return float(np.abs(residuals).max()) * max(1.0, 1.0 + 0.08 * (9 - count))
    return max(0.0, float(np.sort(residuals)[rank - 1]))
