"""How a metric changes along each choice, the others being equal, with bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from nas.reports.analysis.choice_table import Column
from nas.values.comparison import Z95
from nas.values.pareto import FloatArray

MOST_OPTIONS = 24
"""A choice with more options is left out: each has too few architectures, and no plot shows them."""
FEWEST = 8


@dataclass(frozen=True)
class Effect:
    """What a metric is for each option of one choice: its value with 95 % bounds, each of shape (options,)."""

    column: Column
    values: FloatArray
    lower: FloatArray
    upper: FloatArray


def effects(columns: Sequence[Column], values: FloatArray) -> list[Effect]:
    """Return how ``values``, shape (N,), change along each choice with few options; nothing for too few values.

    An additive model is fitted to all choices together, so that options are compared as if the others were equal. It is
    a Bayesian ridge regression (MacKay, 1992): where architectures are few, options differ less and bounds are wide.
    Effects that depend on other choices are averaged. A value is the mean of all that have the choice, plus the effect.
    """
    from sklearn.linear_model import BayesianRidge  # here, because scikit-learn is slow to import

    shown = [column for column in columns if len(column.options) <= MOST_OPTIONS]
    if len(values) < FEWEST or not shown or float(np.ptp(values)) == 0:
        return []
    places = np.concatenate([[0], np.cumsum([len(column.options) for column in shown])]).tolist()
    design = np.zeros((len(values), places[-1]))
    for column, place in zip(shown, places, strict=False):
        active = np.flatnonzero(column.active)
        design[active, place + column.codes[active]] = 1
    scale = float(values.std())
    with threadpool_limits(1):  # several threads wait for each other longer than one of them computes
        model = BayesianRidge().fit(design, (values - values.mean()) / scale)
    found = []
    for column, place in zip(shown, places, strict=False):
        inside = slice(place, place + len(column.options))
        counts = design[:, inside].sum(axis=0)
        contrasts = np.eye(len(counts)) - counts / counts.sum()
        effect = scale * (contrasts @ model.coef_[inside])
        covariance = contrasts @ model.sigma_[inside, inside] @ contrasts.T
        reach = Z95 * scale * np.sqrt(np.maximum(np.diag(covariance), 0))
        centre = float(values[column.active].mean())
        found.append(Effect(column, centre + effect, centre + effect - reach, centre + effect + reach))
    return found
