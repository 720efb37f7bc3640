"""Stopping hopeless trainings by Pareto rank: asynchronous successive halving on several objectives.

Li et al., "A system for massively parallel hyperparameter tuning" (ASHA, 2020), with promotion by
non-dominated rank and crowding as in Schmucker et al., "Multi-objective asynchronous successive halving" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from nas import pareto


def rung_epochs(epochs: int, reduction: int) -> tuple[int, ...]:
    """Epochs at which trainings of ``epochs`` are compared: divided by powers of ``reduction``, lowest first."""
    rungs = []
    rung = epochs // reduction
    while rung >= 1:
        rungs.append(rung)
        rung //= reduction
    return tuple(reversed(rungs))


@dataclass(frozen=True)
class RungTrust:
    """How well errors at each rung rank trainings as their last errors do, and the rungs that may be relied on.

    ``correlations`` are Spearman's, by epoch; 0 where either does not vary.
    """

    correlations: Mapping[int, float]
    relied_on: tuple[int, ...]


def trust_in_rungs(rungs: Sequence[int], curves: Sequence[Sequence[float]], least_correlation: float) -> RungTrust:
    """What the error curves of trainings that ran to their end tell of ``rungs``, lowest first.

    Rungs are relied on from the first that ranks well enough: below it a training would be stopped by chance.
    """
    from scipy.stats import rankdata  # here, because scipy is slow to import

    last = rankdata([curve[-1] for curve in curves])
    correlations = {rung: _correlation(rankdata([curve[rung - 1] for curve in curves]), last) for rung in rungs}
    first = next((rung for rung in rungs if correlations[rung] >= least_correlation), None)
    return RungTrust(correlations, () if first is None else tuple(rung for rung in rungs if rung >= first))


def _correlation(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / norm if norm > 0 else 0.0


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
