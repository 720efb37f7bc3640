"""Random search, the weakest baseline."""

from __future__ import annotations

from typing import final

import numpy as np

from experiments.search_problem import Problem
from experiments.searchers.searcher import random_architecture
from nas.space.architecture import Architecture


@final
class RandomSearcher:
    """Draws each active choice uniformly over its options and ignores known costs."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)

    def propose(self) -> Architecture:
        """Return a random architecture."""
        return random_architecture(self._problem, self._rng)

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Learn nothing."""
