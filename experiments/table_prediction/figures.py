"""The figures of a predictor: how well its predictions agree with the truth, and how far to trust its limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from experiments.table_prediction.study import FloatArray, IntArray
from nas.prediction.predictor import Prediction
from predictors.quality import coverage, kendall, mape, spearman, width, within

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
TIMES = ("fit_s", "predictions_per_s")


@dataclass(frozen=True)
class BrokenLimit:
    """Counts of the scored architectures for one limit.

    ``meeting`` truly meet the limit, ``let_through`` have a predicted bound within it, and ``broken`` of these exceed
    it in truth.
    """

    quantile: float
    limit: float
    meeting: int
    let_through: int
    broken: int


@dataclass(frozen=True)
class Quality:
    """The figures of one fitted predictor over the scored rows; shares are between 0 and 1.

    ``width`` is the median of upper − lower, relative to the mean. ``broken_limits`` covers all quantiles together,
    ``most_broken_limits`` the worst one. Both are NaN if no architecture was let through.
    """

    spearman: float
    kendall: float
    mape: float
    within_5_percent: float
    within_10_percent: float
    coverage: float
    width: float
    broken_limits: float
    most_broken_limits: float
    unknown: float
    fit_s: float
    predictions_per_s: float


FIGURES = tuple(each.name for each in fields(Quality))
SHARES = frozenset(FIGURES) - {"spearman", "kendall", *TIMES}


def rows_to_score(truths: FloatArray, trim: float) -> IntArray:
    """Return the indexes of ``truths``, shape (N,), without the ``trim`` share at each end; ties keep their order."""
    order = np.argsort(truths, kind="stable")
    left_out = math.floor(trim * len(truths))
    return np.sort(order[left_out : len(truths) - left_out])


def judge(
    truths: FloatArray, prediction: Prediction, scored: IntArray, fit_s: float, predictions_per_s: float
) -> tuple[Quality, tuple[BrokenLimit, ...]]:
    """Return the figures of predictions for N true values, shape (N,), over the indexes in ``scored``."""
    truths, mean = truths[scored], prediction.mean[scored]
    lower, upper, limit = prediction.lower[scored], prediction.upper[scored], prediction.limit[scored]
    limits = tuple(_broken_limit(truths, limit, quantile) for quantile in QUANTILES)
    used = [each for each in limits if each.let_through]
    let_through = sum(each.let_through for each in used)
    broken = sum(each.broken for each in used)
    return Quality(
        spearman=spearman(truths, mean),
        kendall=kendall(truths, mean),
        mape=mape(truths, mean),
        within_5_percent=within(truths, mean, 0.05),
        within_10_percent=within(truths, mean, 0.1),
        coverage=coverage(truths, lower, upper),
        width=width(lower, mean, upper),
        broken_limits=broken / let_through if used else math.nan,
        most_broken_limits=max((each.broken / each.let_through for each in used), default=math.nan),
        unknown=float((~prediction.known[scored]).mean()),
        fit_s=fit_s,
        predictions_per_s=predictions_per_s,
    ), limits


def _broken_limit(truths: FloatArray, predicted: FloatArray, quantile: float) -> BrokenLimit:
    limit = float(np.quantile(truths, quantile))
    through = predicted <= limit
    return BrokenLimit(
        quantile, limit, int((truths <= limit).sum()), int(through.sum()), int((through & (truths > limit)).sum())
    )
