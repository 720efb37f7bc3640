"""Scores that are known before training, such as zero-cost proxies, on a scale that a Gaussian process can use.

Their scale is arbitrary and their tails are long, so each score is replaced by its rank among many networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.special import ndtri

from nas.prediction.predictor import FloatArray
from nas.space.architecture import Architecture

Prior = Callable[[Sequence[Architecture]], FloatArray]
"""A function that gives scores, shape (N,) or (N, S), of N architectures.

Higher or lower may be better. A score that is not finite counts as unknown.
"""


_FARTHEST = 3.5
"""Standard deviations at which scores themselves are clipped."""


def scores_of(prior: Prior, architectures: Sequence[Architecture]) -> FloatArray:
    """Return the scores of N architectures, shape (N, S).

    Raises:
        ValueError: scores of a wrong shape.
    """
    scores = np.asarray(prior(architectures), dtype=np.float64)
    if scores.ndim not in (1, 2) or len(scores) != len(architectures):
        raise ValueError(
            f"a prior must give scores of shape (N,) or (N, S) for N architectures, but for {len(architectures)} "
            f"it gave an array of shape {scores.shape}."
        )
    return scores[:, None] if scores.ndim == 1 else scores


@final
@dataclass(frozen=True, eq=False)
class ScoreScale:
    """A scale of normal scores: the normal quantile at a score's rank within a population.

    ``sorted`` holds, for each of S scores, the finite scores of the population in increasing order. With ``has_values``
    the scores themselves, standardised, follow the ranks: errors may be linear in either.
    """

    sorted: tuple[FloatArray, ...]
    has_values: bool = False

    @classmethod
    def of(cls, scores: FloatArray, *, has_values: bool = False) -> ScoreScale:
        """Return the scale of a population's scores, shape (P, S)."""
        return cls(tuple(np.sort(column[np.isfinite(column)]) for column in scores.T), has_values)

    @property
    def count(self) -> int:
        """Number of scores for each architecture."""
        return len(self.sorted)

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Return scaled scores of N architectures, shape (N, S), or (N, 2 S) with values; unknown scores become 0.

        Over the population, scaled scores have mean 0 and standard deviation 1.

        Raises:
            ValueError: the number of scores differs from that of the population.
        """
        if scores.shape[1] != self.count:
            raise ValueError(
                f"a prior must always give the same number of scores, {self.count}, but gave {scores.shape[1]}."
            )
        scaled, values = np.zeros(scores.shape), np.zeros(scores.shape)
        for column, population in enumerate(self.sorted):
            finite = np.isfinite(scores[:, column])
            if len(population) and population[0] < population[-1]:
                found = scores[finite, column]
                below = np.searchsorted(population, found, "left") + np.searchsorted(population, found, "right")
                scaled[finite, column] = ndtri((below + 1) / (2 * len(population) + 2))
                standardised = (found - population.mean()) / population.std()
                values[finite, column] = np.clip(standardised, -_FARTHEST, _FARTHEST)
        return np.hstack([scaled, values]) / np.sqrt(2) if self.has_values else scaled
