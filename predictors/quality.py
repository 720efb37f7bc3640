"""How good predictions are: rank correlation, relative error and the coverage of bounds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas.predictor import FloatArray, HeldOutError


def spearman(truths: FloatArray, predictions: FloatArray) -> float:
    """Rank correlation of two arrays of shape (N,); ties share their mean rank. NaN where either does not vary."""
    _check(truths, predictions)
    first, second = _ranks(truths), _ranks(predictions)
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / norm if norm > 0 else float("nan")


def mape(truths: FloatArray, predictions: FloatArray) -> float:
    """Mean absolute error relative to the truth, as a share: 0.05 is 5 %."""
    return float(_relative_errors(truths, predictions).mean())


def within(truths: FloatArray, predictions: FloatArray, share: float = 0.1) -> float:
    """Share of the predictions that lie within ``share`` of the truth, relative to it."""
    return float((_relative_errors(truths, predictions) <= share).mean())


def coverage(truths: FloatArray, lower: FloatArray, upper: FloatArray) -> float:
    """Share of the truths that lie within their bounds, the bounds themselves included."""
    _check(truths, lower)
    _check(truths, upper)
    return float(((lower <= truths) & (truths <= upper)).mean())


def held_out_error(truths: FloatArray, predictions: FloatArray, covered: npt.NDArray[np.bool_]) -> HeldOutError:
    """The summary of predictions for architectures that the predictor had not seen.

    ``covered`` says for each truth whether bounds made without it hold it.
    """
    return HeldOutError(
        samples=len(truths),
        mape=mape(truths, predictions),
        spearman=spearman(truths, predictions),
        within_10_percent=within(truths, predictions, 0.1),
        coverage=float(covered.mean()),
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
