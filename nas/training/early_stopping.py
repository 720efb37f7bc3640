"""Stopping hopeless trainings by Pareto rank: asynchronous successive halving on several objectives.

Li et al., "A system for massively parallel hyperparameter tuning" (ASHA, 2020), with promotion by
non-dominated rank and crowding as in Schmucker et al., "Multi-objective asynchronous successive halving" (2021), but
among candidates of similar cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from nas.recipe.sections import EarlyStoppingRecipe
from nas.values import pareto

LEAST_ERROR = 1e-3
"""Smaller errors count as this one where logarithms are taken."""


def rung_epochs(epochs: int, reduction: float) -> tuple[int, ...]:
    """Epochs at which trainings of ``epochs`` are compared: divided by powers of ``reduction``, lowest first."""
    rungs: set[int] = set()
    rung = epochs / reduction
    while rung >= 1:
        rungs.add(math.floor(rung))
        rung /= reduction
    return tuple(sorted(rungs))


def rung_subsets(epochs: int, reduction: float, subset: float) -> tuple[float, ...]:
    """Shares of the training images that ``epochs`` see which grow by ``reduction`` after each rung, to ``subset``."""
    rungs = rung_epochs(epochs, reduction)
    above = [sum(rung >= epoch for rung in rungs) for epoch in range(1, epochs + 1)]
    return tuple(subset / reduction**count for count in above)


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


def rung_noise(rung: int, curves: Sequence[Sequence[float]]) -> float:
    """How far an error at a rung may be off, as a standard deviation of its logarithm; infinite where it tells nothing.

    It is what a regression of the last errors on those at the rung leaves unexplained, in the units of the latter.
    """
    logs = np.log(np.maximum([(curve[rung - 1], curve[-1]) for curve in curves], LEAST_ERROR))
    correlation = _correlation(logs[:, 0], logs[:, 1])
    if correlation <= 0:
        return math.inf
    return float(logs[:, 0].std(ddof=1)) * math.sqrt(max(0.0, 1 - correlation**2)) / correlation


@final
class Rungs:
    """What candidates had reached at each rung, and who goes on.

    A candidate is compared with the ``neighbours`` that are nearest to it in the logarithms of its costs, of all that
    have reached the rung so far. It goes on when its non-dominated rank, ties broken by crowding, is within their best
    ``keep`` share, when none of them dominates it by more than the noise, or when fewer than ``min_peers`` have
    reached the rung.
    """

    def __init__(self, rungs: Sequence[int], *, keep: float, min_peers: int, neighbours: int) -> None:
        self._keep = keep
        self._min_peers = min_peers
        self._neighbours = neighbours
        self._reached: dict[int, dict[str, tuple[float, ...]]] = {rung: {} for rung in rungs}

    def record(self, candidate: str, epoch: int, losses: Sequence[float]) -> None:
        """Note the losses of a candidate at an epoch: its error, then its costs. What is no rung is ignored."""
        if epoch in self._reached:
            self._reached[epoch][candidate] = tuple(losses)

    def goes_on(self, candidate: str, epoch: int, noise: float = 0.0) -> bool:
        """Whether a candidate that was recorded at ``epoch`` is worth training further.

        ``noise`` is by how much an error's logarithm may be off.
        """
        reached: Mapping[str, tuple[float, ...]] = self._reached.get(epoch, {})
        if candidate not in reached or len(reached) < self._min_peers:
            return True
        losses = np.asarray(list(reached.values()))
        index = list(reached).index(candidate)
        near = _nearest(losses[:, 1:], index, self._neighbours)
        losses, index = losses[near], near.tolist().index(index)
        optimistic = losses.copy()
        optimistic[index, 0] *= math.exp(-noise)
        return bool(pareto.ranks(optimistic)[index] == 0) or _place(losses, index) < math.ceil(self._keep * len(near))


def _nearest(costs: pareto.FloatArray, index: int, count: int) -> pareto.IntArray:
    """A row of ``costs``, shape (N, M), and the ``count`` nearest to it, by logarithms scaled to deviation 1.

    All, where there are no costs.
    """
    if costs.shape[1] == 0:
        return np.arange(len(costs))
    logs = np.log(np.maximum(costs, np.finfo(np.float64).tiny))
    spread = logs.std(axis=0)
    distances = np.linalg.norm((logs - logs[index]) / np.where(spread > 0, spread, 1.0), axis=1)
    distances[index] = -1.0  # itself first
    return np.sort(np.argsort(distances, kind="stable")[: count + 1])


def _place(losses: pareto.FloatArray, index: int) -> int:
    """Place of a row among all by non-dominated rank, then crowding."""
    ranks = pareto.ranks(losses)
    crowding = np.empty(len(losses))
    for rank in np.unique(ranks):
        crowding[ranks == rank] = pareto.crowding_distances(losses[ranks == rank])
    order: list[int] = np.lexsort((-crowding, ranks)).tolist()
    return order.index(index)


@final
class EarlyStopping:
    """Which trainings of a run go on: nobody is stopped before enough whole ones have shown at which rungs to.

    ``whole`` gives the error curves of trainings that ran to their end, first come first. Rungs are judged by the first
    ``check`` of them and, because few tell little, anew by the first 2, 4, 8 … times as many. One that has been relied
    on stays so, since those that end from then on are the better ones, which are harder to tell apart. ``tell`` is
    called with each judgement and the number of trainings that it is made from.
    """

    def __init__(
        self,
        settings: EarlyStoppingRecipe,
        epochs: int,
        *,
        whole: Callable[[], Sequence[Sequence[float]]],
        tell: Callable[[RungTrust, int], None],
    ) -> None:
        self._settings = settings
        self._epochs = rung_epochs(epochs, settings.reduction) if settings.enabled else ()
        self._whole = whole
        self._tell = tell
        self._relied_on: tuple[int, ...] = ()
        self._judges_next = settings.check
        self._rungs = Rungs(
            self._epochs,
            keep=settings.keep,
            min_peers=settings.min_peers,
            neighbours=settings.neighbours,
        )

    def record(self, candidate: str, epoch: int, error: float, costs: Sequence[float]) -> None:
        """Note a candidate's error after an epoch, and its costs."""
        self._rungs.record(candidate, epoch, (error, *costs))

    def goes_on(self, candidate: str, epoch: int) -> bool:
        """Whether a candidate that was recorded at ``epoch`` is worth training further."""
        if epoch not in self._epochs:
            return True
        whole = self._whole()
        if epoch not in self._rungs_relied_on(whole):
            return True
        margin = self._settings.margin
        noise = margin * rung_noise(epoch, whole) if margin > 0 else 0.0
        return self._rungs.goes_on(candidate, epoch, noise)

    def _rungs_relied_on(self, whole: Sequence[Sequence[float]]) -> tuple[int, ...]:
        while len(whole) >= self._judges_next:
            count = self._judges_next
            trust = trust_in_rungs(self._epochs, whole[:count], self._settings.least_correlation)
            self._relied_on = tuple(sorted({*self._relied_on, *trust.relied_on}))
            self._tell(RungTrust(trust.correlations, self._relied_on), count)
            self._judges_next = 2 * count
        return self._relied_on
