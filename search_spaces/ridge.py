"""Linear heads by ridge regression, whose strength and temperature come from predictions for items left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas.training.regressions import keep_classes

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
STRENGTHS = np.logspace(-3, 5, 13)
"""The strengths of the penalty that are tried. The first ten are those of MiniRocket's authors."""
LEAST_DEVIATION = 1e-6
"""Features that vary less are left out: their variance is that of rounding, which differs between runtimes."""
MOST_WORK = 2e9
"""The most products for each strength by which whole groups are left out: a second or two for all strengths."""
LEAST_FREE = 1e-12
"""The least share of an item's score that other items do not decide. Rounding may leave less of it than there is."""
LEAST_FACTOR, MOST_FACTOR = 1 / 16, 64.0
"""The bounds of the factor that makes logits of scores. Scores of classes are about -1 and 1."""


def fit_ridge(
    features: Float32Array, targets: npt.NDArray[np.generic], outputs: int, groups: IntArray | None = None
) -> tuple[Float32Array, Float32Array]:
    """Return the weights, shape (outputs, F), and the biases, shape (outputs,), of a linear head for ``features``.

    ``features`` have the shape (N, F). ``targets`` are class numbers, whole numbers of shape (N,), or values of shape
    (N, outputs). Features are standardised for the fit, and the scaling is folded into the weights. Items are left out
    one at a time, or with all others of their group, if ``groups`` gives a number for each, shape (N,). Groups do not
    count where one holds a whole class, or where they are so large that this would take long.

    Classes are learned as scores of -1 and 1, one against the rest. The weights are then scaled by the factor that
    minimises the cross-entropy of scores of items left out, so that outputs are logits (Guo et al., "On calibration of
    modern neural networks", 2017, arXiv:1706.04599).

    Raises:
        ValueError: a class number that is none of ``outputs``, or values of another shape.
    """
    are_classes = targets.dtype.kind in "iu"
    if are_classes and (targets.min() < 0 or targets.max() >= outputs):
        raise ValueError(f"class numbers must be from 0 to {outputs - 1}, but got {targets.min()} to {targets.max()}.")
    mean, scaling = _standardisation(features)
    standard = features.astype(np.float64)
    standard -= mean
    standard *= scaling
    if are_classes and groups is not None and not keep_classes(targets, [targets[of] for of in _members(groups)]):
        groups = None  # a whole class would be left out
    if are_classes:
        wanted = np.where(targets[:, None] == np.arange(outputs), 1.0, -1.0)
    else:
        wanted = targets.reshape(-1, outputs).astype(np.float64)
    coefficients, left_out = _left_out(standard, wanted, groups, per_output=not are_classes)
    factor = _factor(left_out, targets) if are_classes else 1.0
    weight = factor * coefficients * scaling
    bias = factor * wanted.mean(axis=0) - weight @ mean
    return weight.astype(np.float32), bias.astype(np.float32)


def _left_out(
    features: FloatArray, wanted: FloatArray, groups: IntArray | None, *, per_output: bool
) -> tuple[FloatArray, FloatArray]:
    """Return the coefficients, shape (outputs, F), of the best strength, and what is predicted for items left out.

    The best strength has the least squared error of items left out: one for each output, or one for all. ``features``,
    shape (N, F), have means of zero; ``wanted`` and the predictions have the shape (N, outputs).

    As scikit-learn's ``RidgeCV``, this decomposes the smaller of two matrices (Rifkin and Lippert, "Notes on
    regularized least squares", 2007). With more items than features, that inverts another matrix for each strength.
    This does not, which is several times quicker.
    """
    from scipy.linalg import eigh

    items, width = features.shape
    centred = wanted - wanted.mean(axis=0)
    is_wide = items <= width
    values, vectors = eigh(features @ features.T if is_wide else features.T @ features, overwrite_a=True)
    # The mean's direction has the value 0, but for rounding, to which items left out are sensitive.
    values[values <= max(items, width) * np.finfo(np.float64).eps * values[-1]] = 0
    rows = vectors if is_wide else features @ vectors
    turned = rows.T @ centred
    squares = np.square(rows)
    together = [] if groups is None else _members(groups)
    if sum(len(of) ** 2 * (rows.shape[1] + len(of)) for of in together) > MOST_WORK:
        together = []
    residuals = np.empty((len(STRENGTHS), *wanted.shape))
    for place, strength in enumerate(STRENGTHS):
        shrunk = 1 / (values + strength)
        if is_wide:  # what is missed is exact like this, where a difference from 1 would lose digits
            missed, free = rows @ (strength * shrunk[:, None] * turned), squares @ (strength * shrunk) - 1 / items
        else:
            missed, free = centred - rows @ (shrunk[:, None] * turned), 1 - squares @ shrunk - 1 / items
        residuals[place] = missed / np.maximum(free, LEAST_FREE)[:, None]
        if len(together) > 1:  # what others do not decide of a group is a matrix in the place of a number
            weights = strength * shrunk if is_wide else -shrunk
            for of in together:
                decided = (rows[of] * weights) @ rows[of].T - 1 / items
                decided[np.diag_indices(len(of))] += LEAST_FREE if is_wide else 1
                residuals[place, of] = np.linalg.solve(decided, missed[of])
    errors = np.square(residuals).mean(axis=1)
    if not per_output:
        errors[:] = errors.mean(axis=1, keepdims=True)
    chosen, outputs = errors.argmin(axis=0), np.arange(wanted.shape[1])
    solved = vectors @ (turned / (values[:, None] + STRENGTHS[chosen]))
    coefficients = features.T @ solved if is_wide else solved
    return coefficients.T, wanted - residuals[chosen, :, outputs].T


def _members(groups: IntArray) -> list[IntArray]:
    """Return the places of each group's items."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


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
