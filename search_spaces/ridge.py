"""Linear heads by ridge regression, whose strength and temperature come from leave-one-out predictions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
STRENGTHS = np.logspace(-3, 5, 13)
"""The strengths of the penalty that are tried. The first ten are those of MiniRocket's authors."""
LEAST_DEVIATION = 1e-6
"""Features that vary less are left out: their variance is that of rounding, which differs between runtimes."""
LEAST_FACTOR, MOST_FACTOR = 1 / 16, 64.0
"""The bounds of the factor that makes logits of scores. Scores of classes are about -1 and 1."""


def fit_ridge(
    features: Float32Array, targets: npt.NDArray[np.generic], outputs: int
) -> tuple[Float32Array, Float32Array]:
    """Return the weights, shape (outputs, F), and the biases, shape (outputs,), of a linear head for ``features``.

    ``features`` have the shape (N, F). ``targets`` are class numbers, whole numbers of shape (N,), or values of shape
    (N, outputs). Features are standardised for the fit, and the scaling is folded into the weights.

    Classes are learned as scores of -1 and 1, one against the rest. The weights are then scaled by the factor that
    minimises the cross-entropy of leave-one-out scores, so that outputs are logits (Guo et al., "On calibration of
    modern neural networks", 2017, arXiv:1706.04599).

    Raises:
        ValueError: a class number that is none of ``outputs``, or values of another shape.
    """
    from sklearn.linear_model import RidgeCV  # here, because scikit-learn is slow to import

    are_classes = targets.dtype.kind in "iu"
    if are_classes and (targets.min() < 0 or targets.max() >= outputs):
        raise ValueError(f"class numbers must be from 0 to {outputs - 1}, but got {targets.min()} to {targets.max()}.")
    mean, scaling = _standardisation(features)
    standard = features.astype(np.float64)
    standard -= mean
    standard *= scaling
    if are_classes:
        wanted = np.where(targets[:, None] == np.arange(outputs), 1.0, -1.0)
    else:
        wanted = targets.reshape(-1, outputs).astype(np.float64)
    ridge = RidgeCV(
        STRENGTHS, scoring="neg_mean_squared_error", store_cv_results=True, alpha_per_target=not are_classes
    ).fit(standard, wanted)
    factor = 1.0
    if are_classes:
        scores = ridge.cv_results_[:, :, int(np.flatnonzero(ridge.alpha_ == STRENGTHS)[0])]
        factor = _factor(scores, targets)
    weight = factor * ridge.coef_.reshape(outputs, -1) * scaling
    bias = factor * ridge.intercept_ - weight @ mean
    return weight.astype(np.float32), bias.astype(np.float32)


def _standardisation(features: Float32Array) -> tuple[FloatArray, FloatArray]:
    """Return the means of features, shape (F,), and what to multiply them by, which is 0 for constant ones."""
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    varies = deviation > LEAST_DEVIATION
    return mean, np.where(varies, 1 / np.where(varies, deviation, 1), 0)


def _factor(scores: FloatArray, labels: npt.NDArray[np.generic]) -> float:
    """Return the factor of scores, shape (N, classes), by which they predict labels, shape (N,), best as logits."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    chosen = scores[np.arange(len(labels)), labels]

    def cross_entropy(log_factor: float) -> float:
        factor = np.exp(log_factor)
        return float(np.mean(logsumexp(factor * scores, axis=1) - factor * chosen))

    bounds = np.log((LEAST_FACTOR, MOST_FACTOR))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))
