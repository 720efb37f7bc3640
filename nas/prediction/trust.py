"""Whether a predictor is good enough for the limits that it is to judge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nas.prediction.predictor import HeldOut, HeldOutError
from nas.values.metric import Metric
from nas.values.objective import Limit, limit_text

LARGEST_HALF_WIDTH = 0.15
"""With wider ones most of what is predicted between five sixths of a limit and the limit itself cannot be told."""
LEAST_SPEARMAN = 0.8
"""Below this the order of candidates by prediction says little about their order by measurement."""
LEAST_COVERAGE = 0.8
"""Of bounds that should hold 90 %. Those that are made from held-out residuals, as by ``predictors``, hold so many of
them by construction; those of another predictor may not."""
ENOUGH = 20
"""Samples from which a rank correlation and a coverage are figures and not luck."""
NEAREST = 8
"""So many predictions tell how wide the bounds are at a limit."""


def verdict(metric: Metric, held_out: HeldOutError, predictions: HeldOut, limits: Sequence[Limit]) -> list[str]:
    """Why a predictor of ``metric`` is not good enough for the limits on it, in a sentence each; none where it is.

    Without a limit on the metric nothing depends on its bounds, so that there is nothing to say.
    """
    on_it = [limit for limit in limits if limit.metric == metric]
    name = metric.title.lower()
    sentences = []
    for limit in on_it:
        half_width = half_width_at(limit, predictions)
        if not half_width <= LARGEST_HALF_WIDTH:
            reach = f"reach {100 * half_width:.0f} % to each side" if math.isfinite(half_width) else "are open"
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


def half_width_at(limit: Limit, predictions: HeldOut) -> float:
    """Half the width of the bounds, relative to the mean: the median of the held-out predictions nearest the limit."""
    distances = np.abs(np.log(predictions.mean) - math.log(limit.value)) if limit.value > 0 else predictions.mean
    nearest = np.argsort(distances, kind="stable")[:NEAREST]
    halves = (predictions.upper - predictions.lower)[nearest] / 2 / predictions.mean[nearest]
    return float(np.median(halves))
