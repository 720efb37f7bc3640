"""The protocol of a searcher, and the random proposals that several searchers share."""

from __future__ import annotations

from typing import Protocol, final

import numpy as np

from experiments.search_problem import Problem
from nas.space.architecture import Architecture

POPULATION = 20
"""Population of the evolutionary searchers. With 50, Optuna's default, 100 evaluations are only two generations."""
PATIENCE = 50
"""Useless proposals in a row after which a searcher gets a random one. Optuna's samplers use this number."""
SHORT_PATIENCE = 5
"""The same number for Ax and Syne Tune, which may take seconds to propose a duplicate."""


class Searcher(Protocol):
    """Proposes one architecture at a time and learns its losses before it proposes the next."""

    def propose(self) -> Architecture | None:
        """Return the next architecture, which may be a duplicate, or None when the searcher has nothing left."""
        ...

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Report the losses of the last proposal, shape (M,), or None if it failed."""
        ...


def random_architecture(problem: Problem, rng: np.random.Generator) -> Architecture:
    """Return an architecture whose active choices are each uniform over their options."""
    return problem.composed(lambda choice: choice.options[int(rng.integers(len(choice.options)))])


@final
class Patience:
    """Replaces one proposal of a stuck searcher by a random one after ``most`` useless proposals in a row.

    A proposal is useless if it fails or is a duplicate.
    """

    def __init__(self, problem: Problem, seed: int, most: int = PATIENCE) -> None:
        self._problem = problem
        self._most = most
        self._rng = np.random.default_rng(seed)
        self._seen: set[Architecture] = set()
        self._useless = 0

    def replacement(self) -> Architecture | None:
        """Return a random architecture in place of the searcher's own proposal, or None while patience lasts."""
        if self._useless < self._most:
            return None
        self._useless = 0
        return random_architecture(self._problem, self._rng)

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Report the losses of the last proposal, shape (M,), or None if it failed."""
        self._useless = self._useless + 1 if losses is None or architecture in self._seen else 0
        self._seen.add(architecture)
