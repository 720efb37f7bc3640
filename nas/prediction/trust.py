"""Checks that decide if a predictor is good enough to judge architectures against limits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nas.prediction.predictor import HeldOut
from nas.values.held_out import HeldOutError, reach_text
from nas.values.metric import Metric
from nas.values.objective import Limit, limit_text

LARGEST_HALF_WIDTH = 0.15
"""Widest acceptable half of the bounds, relative to the mean.

With wider bounds, most predictions between five sixths of a limit and the limit itself remain undecided.
"""
LARGEST_ERROR = 0.5
"""The largest acceptable mean relative error. With a larger one, fast models are told from slow ones by luck."""
LEAST_SPEARMAN = 0.8
"""Below this correlation, the predicted order of candidates says little about their measured order."""
LEAST_COVERAGE = 0.8
"""Smallest acceptable share of measurements within the bounds, which should hold 90 %.

Bounds made from held-out residuals, as in ``predictors``, hold 90 % by construction. Those of other predictors may not.
"""
ENOUGH = 20
"""With fewer samples, a rank correlation and a coverage are mostly luck."""
NEAREST = 8
"""Number of predictions nearest a limit whose median gives the width of the bounds there."""


def warning_about(metric: Metric, held_out: HeldOutError) -> str | None:
    """Return a sentence if a predictor is of no use at all, whatever the limits are; None if it may be of use."""
    if held_out.mape <= LARGEST_ERROR:
        return None
    off = f"{100 * held_out.mape:,.0f} %" if math.isfinite(held_out.mape) else "an unknown share"
    return (
        f"Do not use the {metric.title.lower()} predictor: on {held_out.samples} held-out architectures it was off by "
        f"{off} on average, and should be by {100 * LARGEST_ERROR:.0f} % at most. Measure more architectures, or "
        "choose another predictor. Measured values hold all the same."
    )


def verdict(metric: Metric, held_out: HeldOutError, predictions: HeldOut, limits: Sequence[Limit]) -> list[str]:
    """Return the reasons why a predictor of ``metric`` is not good enough for its limits, one sentence each.

    The list is empty for a good predictor, and also without a limit on the metric, since nothing depends on it then.
    Wide bounds are no reason where all predictions are far from the limit.
    """
    on_it = [limit for limit in limits if limit.metric == metric]
    name = metric.title.lower()
    sentences = []
    for limit in on_it:
        half_width = half_width_at(limit, predictions)
        if not half_width <= LARGEST_HALF_WIDTH and _is_any_undecided(limit, predictions):
            reach = reach_text(half_width, held_out.samples)
            sentences.append(
                f"The {name} predictor is not good enough for {limit_text(limit)}: near the limit its 90 % bounds "
                f"{reach}, and should reach {100 * LARGEST_HALF_WIDTH:.0f} % at most."
            )
    if not on_it or held_out.samples < ENOUGH:
        return sentences
    limited = " and ".join(limit_text(limit) for limit in on_it)
    if held_out.spearman < LEAST_SPEARMAN:
        sentences.append(
            f"The {name} predictor is not good enough for {limited}: its Spearman correlation on held-out "
            f"measurements is {held_out.spearman:.2f}, and should be {LEAST_SPEARMAN} at least."
        )
    if held_out.coverage < LEAST_COVERAGE:
        sentences.append(
            f"The {name} predictor is not good enough for {limited}: its 90 % bounds hold "
            f"{100 * held_out.coverage:.0f} % of the held-out measurements, and should hold "
            f"{100 * LEAST_COVERAGE:.0f} % at least."
        )
    return sentences


def _is_any_undecided(limit: Limit, predictions: HeldOut) -> bool:
    """Return True if the bounds of a prediction reach the limit from both sides; else even wide ones decide all."""
    return bool(((predictions.lower <= limit.value) & (limit.value <= predictions.upper)).any())


def half_width_at(limit: Limit, predictions: HeldOut) -> float:
    """Return half the width of the bounds, relative to the mean: the median of the predictions nearest the limit."""
    distances = np.abs(np.log(predictions.mean) - math.log(limit.value)) if limit.value > 0 else predictions.mean
    nearest = np.argsort(distances, kind="stable")[:NEAREST]
    halves = (predictions.upper - predictions.lower)[nearest] / 2 / predictions.mean[nearest]
    return float(np.median(halves))
