"""Draws the rows of a table that count as measured, the same way for every benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from nas.prediction.informative import POOL, most_informative, own_features, prior_covariance
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.other_target import Source

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Known = tuple[FloatArray, FloatArray]
"""What is known of the N rows of a table before measuring: their features, shape (N, D), and logarithms of their costs
on other targets, shape (N, targets).
"""
MOST_CHOSEN = 200
"""The largest sample that is chosen; a larger one is drawn at random."""


def known_of(space: Describer, architectures: Sequence[Architecture], sources: Sequence[Source]) -> Known:
    """Return what is known of N architectures before measuring; costs are those that models of the sources tell."""
    from predictors.source_models import logs_elsewhere

    return own_features(space, architectures), logs_elsewhere(space, architectures, sources)


def draw_rows(eligible: IntArray, count: int, seed: int, known: Callable[[], Known] | None) -> IntArray:
    """Return ``count`` of the eligible rows in increasing order, shape (count,).

    They are those that tell most of a half of the rows, or of ``POOL`` rows, drawn at random so that seeds differ.
    Without ``known``, or with more than ``MOST_CHOSEN`` rows, they are drawn at random.
    """
    order = np.random.default_rng(seed).permutation(eligible)
    if known is None or count > MOST_CHOSEN:
        return np.sort(order[:count])
    pool = order[: max(count, min(POOL, len(order) // 2))]
    own, elsewhere = known()
    return np.sort(pool[most_informative(prior_covariance(own[pool], elsewhere[pool]), count)])
