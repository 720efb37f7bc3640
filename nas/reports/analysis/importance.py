"""How much each choice matters for a metric: permutation importance of a forest on architectures that it never saw.

Breiman, "Random forests" (2001). The importance of a choice is the part of the metric's variation that a model no
longer explains once the options of that choice are shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.reports.analysis.choice_table import Column, features_of
from nas.values.pareto import BoolArray, FloatArray

FEWEST = 12
"""With fewer architectures nothing is said."""
MOST = 1000
"""Of more architectures so many are drawn: importances do not become clearer, and trees take their time."""
TREES, FOLDS, REPEATS, BOOTSTRAPS = 20, 5, 5, 400
MOST_SHUFFLED = 60_000
"""Rows of shuffled architectures that a forest predicts at a time."""


@dataclass(frozen=True)
class Importances:
    """The importance of each choice, shape (C,), with 95 % bounds; and the share of the variation that is explained.

    ``explained`` is R² on architectures that the model never saw. Where it is small, importances say nothing.
    """

    values: FloatArray
    lower: FloatArray
    upper: FloatArray
    explained: float
    samples: int


def importances(columns: Sequence[Column], values: FloatArray, seed: int = 0) -> Importances | None:
    """Return how much each choice matters for ``values``, shape (N,); None for too few or equal values.

    Bounds come from drawing the architectures anew (bootstrap), with the models as they are.
    """
    if len(values) < FEWEST or not columns or float(np.ptp(values)) == 0:
        return None
    rng = np.random.default_rng(seed)
    chosen = np.arange(len(values))
    if len(values) > MOST:
        chosen = np.sort(rng.choice(len(values), MOST, replace=False))
    values, count = values[chosen], len(chosen)
    active = np.stack([column.active for column in columns], axis=1)[chosen]
    missed, worse = _missed(features_of(columns)[chosen], active, values, rng)
    spread = (values - values.mean()) ** 2
    weights = rng.multinomial(count, np.full(count, 1 / count), size=BOOTSTRAPS).astype(np.float64)
    drawn = (weights @ worse) / (weights @ spread)[:, None]
    lower, upper = np.percentile(drawn, (2.5, 97.5), axis=0)
    found = worse.sum(axis=0) / spread.sum()
    return Importances(
        values=found,
        lower=np.minimum(lower, found),
        upper=np.maximum(upper, found),
        explained=1 - float(missed.sum() / spread.sum()),
        samples=count,
    )


def _missed(
    features: FloatArray, active: BoolArray, values: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return the squared error of each architecture, and how much larger it is with each choice shuffled, (N, C).

    Each architecture is predicted by a forest of the other folds. Where a choice is not ``active``, it stays as it is.
    """
    from sklearn.tree import ExtraTreeRegressor  # here, because scikit-learn is slow to import

    features = np.asarray(features, dtype=np.float32)  # as trees take them
    count, choices = features.shape
    folds = rng.permutation(count) % FOLDS
    missed, worse = np.zeros(count), np.zeros((count, choices))
    repeats = max(1, min(REPEATS, MOST_SHUFFLED * FOLDS // (count * choices)))
    for fold in range(FOLDS):
        inside, outside = folds != fold, np.flatnonzero(folds == fold)
        seeds = rng.integers(2**31, size=TREES).tolist()
        # Not ExtraTreesRegressor, which takes twice as long to clone its trees and to hand them to workers.
        trees = [
            ExtraTreeRegressor(min_samples_leaf=2, random_state=each).fit(features[inside], values[inside])
            for each in seeds
        ]
        shuffled = np.tile(features[outside], (1 + repeats * choices, 1, 1))
        for choice in range(choices):
            for repeat in range(repeats):
                # Options are drawn from all architectures: a fold of eight has too few to shuffle.
                those = outside[active[outside, choice]]
                drawn = rng.choice(features[active[:, choice], choice], len(those))
                shuffled[1 + repeat * choices + choice, active[outside, choice], choice] = drawn
        rows = shuffled.reshape(-1, choices)
        guesses = np.mean([tree.predict(rows, check_input=False) for tree in trees], axis=0)
        errors = (guesses.reshape(-1, len(outside)) - values[outside]) ** 2
        missed[outside] = errors[0]
        worse[outside] = errors[1:].reshape(repeats, choices, -1).mean(axis=0).T - errors[0][:, None]
    return missed, worse


def importance_rows(found: Importances, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return plain data about each choice, the most important one first."""
    order = np.argsort(-found.values, kind="stable").tolist()
    return [
        {
            "choice": columns[place].name,
            "value": round(float(found.values[place]), 5),
            "lower": round(float(found.lower[place]), 5),
            "upper": round(float(found.upper[place]), 5),
        }
        for place in order
    ]
