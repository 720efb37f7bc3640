"""Quality of predictions: rank correlation, relative error and the coverage of bounds."""

from __future__ import annotations

import numpy as np

from nas.prediction.predictor import FloatArray, HeldOut
from nas.values.held_out import HeldOutError


def spearman(truths: FloatArray, predictions: FloatArray) -> float:
    """Return Spearman's correlation of two arrays, shape (N,); ties share their mean rank. NaN if one is constant."""
    _check(truths, predictions)
    first, second = _ranks(truths), _ranks(predictions)
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / norm if norm > 0 else float("nan")


def kendall(truths: FloatArray, predictions: FloatArray) -> float:
    """Return Kendall's tau-b of two arrays, shape (N,), which corrects for ties. NaN if one is constant."""
    from scipy.stats import kendalltau  # here, because scipy is slow to import

    _check(truths, predictions)
    if np.ptp(truths) == 0 or np.ptp(predictions) == 0:
        return float("nan")
    return float(kendalltau(truths, predictions).statistic)


def mape(truths: FloatArray, predictions: FloatArray) -> float:
    """Return the mean absolute error relative to the truth, as a share: 0.05 is 5 %."""
    return float(_relative_errors(truths, predictions).mean())


def within(truths: FloatArray, predictions: FloatArray, share: float = 0.1) -> float:
    """Return the share of predictions whose relative error is at most ``share``."""
    return float((_relative_errors(truths, predictions) <= share).mean())


def coverage(truths: FloatArray, lower: FloatArray, upper: FloatArray) -> float:
    """Return the share of truths that lie within their bounds, the bounds included."""
    _check(truths, lower)
    _check(truths, upper)
    return float(((lower <= truths) & (truths <= upper)).mean())


def width(lower: FloatArray, mean: FloatArray, upper: FloatArray) -> float:
    """Return the median distance between the bounds relative to the prediction, as a share."""
    _check(lower, upper)
    _check(lower, mean)
    return float(np.median((upper - lower) / mean))


def held_out_error(held_out: HeldOut) -> HeldOutError:
    """Summarise the held-out predictions of a predictor and their bounds."""
    truths, predictions = held_out.values, held_out.mean
    return HeldOutError(
        samples=len(truths),
        mape=mape(truths, predictions),
        spearman=spearman(truths, predictions),
        kendall=kendall(truths, predictions),
        within_5_percent=within(truths, predictions, 0.05),
        within_10_percent=within(truths, predictions, 0.1),
        coverage=coverage(truths, held_out.lower, held_out.upper),
        width=width(held_out.lower, held_out.mean, held_out.upper),
    )


def _ranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: FloatArray = np.cumsum(counts) - (counts - 1) / 2
    return mean_ranks[inverse]


def _relative_errors(truths: FloatArray, predictions: FloatArray) -> FloatArray:
    _check(truths, predictions)
    if not (truths > 0).all():
        raise ValueError(f"truths must be positive for a relative error, but got {truths.min():g}.")
    errors: FloatArray = np.abs(predictions - truths) / truths
    return errors


def _check(truths: FloatArray, others: FloatArray) -> None:
    if truths.shape != others.shape or truths.ndim != 1 or len(truths) == 0:
        raise ValueError(
            f"shapes must be the same (N,) with N of at least 1, but got {truths.shape} and {others.shape}."
        )
    if not (np.isfinite(truths).all() and np.isfinite(others).all()):
        raise ValueError("truths and predictions must be finite, but got NaN or infinity.")
