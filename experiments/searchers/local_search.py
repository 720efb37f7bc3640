"""Pareto local search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from experiments.search_problem import Problem
from experiments.searchers.searcher import random_architecture
from nas.space.architecture import Architecture

FIRST, FIRST_INFORMED = 10, 5
"""Random architectures before local search begins: fewer with known costs. 1, 5 or 10 give no better result."""
DRAWS = 1000
"""Attempts of local search to draw an architecture that it has not seen."""


@dataclass(frozen=True)
class _Evaluated:
    """An evaluated architecture; ``excess`` sums how far it is over its limits, 0 if all hold."""

    architecture: Architecture
    losses: tuple[float, ...]
    excess: float

    def dominates(self, other: _Evaluated) -> bool:
        """Return True if the excess is smaller or, at an equal excess, if the losses dominate the other's."""
        if self.excess != other.excess:
            return self.excess < other.excess
        return self.losses != other.losses and all(a <= b for a, b in zip(self.losses, other.losses, strict=True))


@final
class LocalSearcher:
    """Pareto local search, a strong baseline by Den Ottelander et al. (2021, arXiv:2004.08996).

    It begins with a few random architectures. Then it picks a random non-dominated architecture and evaluates one of
    its neighbours, also at random. When no neighbour is left, it evaluates a random architecture. If costs are known
    beforehand, it skips neighbours that break a limit or would be dominated even with their parent's error.

    It takes one neighbour at a time. Taking all 24 neighbours of a NAS-Bench-201 cell in a row reaches only 92.6 % of
    the hypervolume after 50 evaluations, against 94.4 % (six targets, 20 seeds).
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)
        self._first = FIRST_INFORMED if problem.is_informed else FIRST
        self._seen: set[Architecture] = set()
        self._front: list[_Evaluated] = []
        self._around: dict[Architecture, list[Architecture]] = {}

    def propose(self) -> Architecture | None:
        """Return a new neighbour of the front, else a new random architecture, or None if none is left."""
        found = self._neighbour() if len(self._seen) >= self._first else None
        found = found or self._by_chance()
        if found is not None:
            self._seen.add(found)
        return found

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Add a successful evaluation to the front unless it is dominated."""
        if losses is None:
            return
        excess = sum(max(0.0, each) for each in self._problem.excesses(losses).values())
        found = _Evaluated(architecture, losses, excess)
        if not any(each.dominates(found) for each in self._front):
            self._front = [each for each in self._front if not found.dominates(each)] + [found]

    def _neighbour(self) -> Architecture | None:
        for place in self._rng.permutation(len(self._front)):
            parent = self._front[place]
            left = self._neighbours_left(parent.architecture)
            while left:
                architecture = left.pop()
                if architecture not in self._seen and self._promises(architecture, parent):
                    return architecture
        return None

    def _neighbours_left(self, architecture: Architecture) -> list[Architecture]:
        """Return the neighbours that were not drawn before, in random order; the caller pops from this list."""
        if architecture not in self._around:
            around = list(neighbours_of(self._problem, architecture))
            self._around[architecture] = [around[index] for index in self._rng.permutation(len(around))]
        return self._around[architecture]

    def _promises(self, architecture: Architecture, parent: _Evaluated) -> bool:
        if not self._problem.acceptable([architecture])[0]:
            return False
        if not self._problem.is_informed:
            return True
        costs = self._problem.known_costs([architecture])[0].tolist()
        hoped = _Evaluated(architecture, (parent.losses[0], *costs), 0.0)
        return not any(each.dominates(hoped) for each in self._front)

    def _by_chance(self) -> Architecture | None:
        for _ in range(DRAWS):
            architecture = random_architecture(self._problem, self._rng)
            if architecture not in self._seen and self._problem.acceptable([architecture])[0]:
                return architecture
        return None


def neighbours_of(problem: Problem, architecture: Architecture) -> Iterator[Architecture]:
    """Yield each architecture that differs in one active choice; twins are included unless they are joined.

    Newly activated choices take their first option.
    """
    for changed in problem.space.choices:
        if changed.name not in architecture:
            continue
        for option in changed.options:
            if option != architecture[changed.name]:
                values = {**architecture, changed.name: option}
                yield problem.composed(lambda choice, values=values: values.get(choice.name, choice.options[0]))  # type: ignore[misc]
