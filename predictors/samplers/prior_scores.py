"""Scores that tell something of networks beforehand, such as zero-cost proxies, on a scale that a process can use.

Their scale is arbitrary and their tails are long, so each score counts by its rank among many networks.
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
"""Scores, shape (N,) or (N, S), of N architectures; which way is better does not matter. Not finite: not known."""


def scores_of(prior: Prior, architectures: Sequence[Architecture]) -> FloatArray:
    """The scores of N architectures, shape (N, S).

    Raises:
        ValueError: scores of another shape.
    """
    scores = np.asarray(prior(architectures), dtype=np.float64)
    if scores.ndim not in (1, 2) or len(scores) != len(architectures):
        raise ValueError(
            f"a prior must give scores of shape (N,) or (N, S) for N architectures, but of {len(architectures)} "
            f"it gave an array of shape {scores.shape}."
        )
    return scores[:, None] if scores.ndim == 1 else scores


@final
@dataclass(frozen=True, eq=False)
class ScoreScale:
    """Normal scores: the quantile of the normal distribution at a score's rank among those of a population.

    ``sorted`` holds for each of S scores those of the population that are finite, in increasing order.
    """

    sorted: tuple[FloatArray, ...]

    @classmethod
    def of(cls, scores: FloatArray) -> ScoreScale:
        """The scale of a population's scores, shape (P, S)."""
        return cls(tuple(np.sort(column[np.isfinite(column)]) for column in scores.T))

    @property
    def count(self) -> int:
        """How many scores there are of each architecture."""
        return len(self.sorted)

    def __call__(self, scores: FloatArray) -> FloatArray:
        """N architectures' scores, shape (N, S), with mean 0 and deviation 1 over the population; 0 where not known.

        Raises:
            ValueError: another number of scores than the population had.
        """
        if scores.shape[1] != self.count:
            raise ValueError(f"a prior must always give as many scores, {self.count}, but gave {scores.shape[1]}.")
        scaled = np.zeros(scores.shape)
        for column, population in enumerate(self.sorted):
            finite = np.isfinite(scores[:, column])
            if len(population) and population[0] < population[-1]:
                found = scores[finite, column]
                below = np.searchsorted(population, found, "left") + np.searchsorted(population, found, "right")
                scaled[finite, column] = ndtri((below + 1) / (2 * len(population) + 2))
        return scaled
