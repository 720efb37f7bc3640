"""Draws the rows of a table that count as measured, the same way for every benchmark."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nas.prediction.medoids import medoids

POOL = 2000
"""Rows drawn at random, among which the medoids are sought."""
MOST_MEDOIDS = 200
"""The largest sample that is chosen as medoids; a larger one is drawn at random."""


def draw_rows(
    eligible: npt.NDArray[np.int64],
    count: int,
    seed: int,
    features: Callable[[], npt.NDArray[np.float64]] | None,
) -> npt.NDArray[np.int64]:
    """Return ``count`` of the eligible rows in increasing order, shape (count,).

    They are the medoids of ``features()``, shape (N, K) for the N rows of the table. Without ``features``, or with more
    than ``MOST_MEDOIDS`` rows, they are drawn at random.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(eligible)
    if features is None or count > MOST_MEDOIDS:
        return np.sort(order[:count])
    pool = order[:POOL]
    return np.sort(pool[medoids(features()[pool], count, rng)])
