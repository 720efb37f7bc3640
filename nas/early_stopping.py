"""Stopping hopeless trainings by Pareto rank: asynchronous successive halving on several objectives.

Li et al., "A system for massively parallel hyperparameter tuning" (ASHA, 2020), with promotion by
non-dominated rank and crowding as in Schmucker et al., "Multi-objective asynchronous successive halving" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np

from nas import pareto


def rung_epochs(epochs: int, reduction: int) -> tuple[int, ...]:
    """Epochs at which trainings of ``epochs`` are compared: divided by powers of ``reduction``, lowest first."""
    rungs = []
    rung = epochs // reduction
    while rung >= 1:
        rungs.append(rung)
        rung //= reduction
    return tuple(reversed(rungs))


@final
class Rungs:
    """What candidates had reached at each rung, and who goes on.

    A candidate goes on when its non-dominated rank, ties broken by crowding, is within the best ``keep`` share
    of all that have reached the rung so far, or when fewer than ``min_peers`` have. Costs are part of the
    losses, so a small model is compared with small ones: what stands on the front is never stopped.
    """

    def __init__(self, rungs: Sequence[int], *, keep: float, min_peers: int) -> None:
        self._keep = keep
        self._min_peers = min_peers
        self._reached: dict[int, dict[str, tuple[float, ...]]] = {rung: {} for rung in rungs}

    def record(self, candidate: str, epoch: int, losses: Sequence[float]) -> None:
        """Note the losses of a candidate at an epoch; epochs that are no rung are ignored."""
        if epoch in self._reached:
            self._reached[epoch][candidate] = tuple(losses)

    def goes_on(self, candidate: str, epoch: int) -> bool:
        """Whether a candidate that was recorded at ``epoch`` is worth training further."""
        peers: Mapping[str, tuple[float, ...]] = self._reached.get(epoch, {})
        if candidate not in peers or len(peers) < self._min_peers:
            return True
        losses = np.asarray(list(peers.values()))
        ranks = pareto.ranks(losses)
        index = list(peers).index(candidate)
        if ranks[index] == 0:
            return True
        crowding = np.empty(len(losses))
        for rank in np.unique(ranks):
            crowding[ranks == rank] = pareto.crowding_distances(losses[ranks == rank])
        order: list[int] = np.lexsort((-crowding, ranks)).tolist()
        return order.index(index) < max(1, int(np.ceil(self._keep * len(losses))))
