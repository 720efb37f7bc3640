"""Pareto local search as a sampler: it proposes neighbours of the front.

It is a strong baseline that needs no model (White and others, "Local search is state of the art for neural architecture
search benchmarks", 2020; Den Ottelander and others, "Local search is a remarkably strong baseline for neural
architecture search", 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import numpy as np

from nas.prediction.predictor import BoolArray, FloatArray
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.search_space import neighbours
from predictors.samplers.candidate_pool import KnownCosts
from predictors.samplers.prior_scores import Prior
from predictors.samplers.space_sampler import SpaceSampler

FIRST = 5


@final
class LocalSearchSampler(SpaceSampler):
    """Proposes new neighbours of a random point of the front.

    The first ``FIRST`` proposals are random architectures, and so are those after all neighbours were proposed.
    A neighbour is skipped if its known costs, with its parent's other losses, are dominated by the front.
    ``prior`` and ``weigh_time`` are ignored; every sampler accepts them.
    """

    def __init__(
        self,
        describer: Describer,
        *,
        seed: int,
        known: KnownCosts | None = None,
        accept: Callable[[Sequence[Architecture]], BoolArray] | None = None,
        prior: Prior | None = None,
        weigh_time: bool = False,
    ) -> None:
        super().__init__(describer, seed=seed, known=known, accept=accept)

    def _propose(self, objectives: int) -> Architecture:
        found = self._neighbour() if len(self._record.finished) >= FIRST else None
        return found or self._by_chance()

    def _neighbour(self) -> Architecture | None:
        front = self._record.front
        front_losses = self._record.losses[front]
        for place in self._rng.permutation(len(front)):
            nearby = neighbours(self._space, self._record.finished[front[place]].architecture)
            nearby = [a for a in nearby if a not in self._record.taken and self._describer.can_be_built(a)]
            if not nearby:
                continue
            hopeful = np.flatnonzero(self._are_hopeful(nearby, front_losses[place], front_losses))
            for index in self._rng.permutation(hopeful).tolist():
                chosen: Architecture = nearby[index]
                if self._is_accepted(chosen):
                    return chosen
        return None

    def _are_hopeful(self, nearby: Sequence[Architecture], parent: FloatArray, front_losses: FloatArray) -> BoolArray:
        """Return a mask, shape (N,): neighbours not dominated with their known costs and the parent's other losses."""
        losses = np.tile(parent, (len(nearby), 1))
        for index, values in self._known.items():
            losses[:, index] = values(nearby)
        if not self._known:
            return np.ones(len(nearby), dtype=np.bool_)
        dominating = np.all(front_losses[None] <= losses[:, None], axis=2)
        hopeful: BoolArray = ~np.any(dominating, axis=1)
        return hopeful
