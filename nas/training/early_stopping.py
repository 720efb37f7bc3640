"""Early stopping of hopeless trainings by Pareto rank: asynchronous successive halving on several objectives.

Li et al., "A system for massively parallel hyperparameter tuning" (ASHA, 2020). Promotion by non-dominated rank and
crowding follows Schmucker et al., "Multi-objective asynchronous successive halving" (2021), but compares only
candidates of similar cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from nas.recipe.training_sections import EarlyStoppingRecipe
from nas.training.whole_curves import WholeCurves
from nas.values import pareto


def rung_epochs(epochs: int, reduction: float) -> tuple[int, ...]:
    """The epochs at which trainings are compared, lowest first: ``epochs`` divided by powers of ``reduction``."""
    rungs: set[int] = set()
    rung = epochs / reduction
    while rung >= 1:
        rungs.add(math.floor(rung))
        rung /= reduction
    return tuple(sorted(rungs))


def rung_subsets(epochs: int, reduction: float, subset: float) -> tuple[float, ...]:
    """The share of the training items for each epoch; it grows by ``reduction`` after each rung, up to ``subset``."""
    rungs = rung_epochs(epochs, reduction)
    above = [sum(rung >= epoch for rung in rungs) for epoch in range(1, epochs + 1)]
    return tuple(subset / reduction**count for count in above)


@dataclass(frozen=True)
class RungTrust:
    """The agreement between errors at each rung and the last errors, and the rungs to rely on.

    ``correlations`` holds Spearman's correlation for each rung's epoch; 0 where either error does not vary.
    """

    correlations: Mapping[int, float]
    relied_on: tuple[int, ...]


def trust_in_rungs(rungs: Sequence[int], curves: Sequence[Sequence[float]], least_correlation: float) -> RungTrust:
    """Judge ``rungs``, lowest first, by the error curves of trainings that ran to their end.

    The first rung whose correlation reaches ``least_correlation`` is relied on, and so are all later ones. Below it,
    chance would stop trainings.
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
    """The losses of candidates at each rung, and the decision which candidates continue.

    A candidate is compared with its ``neighbours``: the candidates at the rung whose costs are nearest, by logarithm.
    It continues in each of these cases:

    - Its non-dominated rank, with ties broken by crowding, is within the best ``keep`` share of its neighbours.
    - No neighbour dominates it by more than the noise.
    - Fewer than ``min_peers`` candidates have reached the rung.
    """

    def __init__(self, rungs: Sequence[int], *, keep: float, min_peers: int, neighbours: int) -> None:
        self._keep = keep
        self._min_peers = min_peers
        self._neighbours = neighbours
        self._reached = {rung: _Reached() for rung in rungs}

    def record(self, candidate: str, epoch: int, losses: Sequence[float]) -> None:
        """Record a candidate's losses at an epoch: its error, then its costs. Epochs that are no rung are ignored."""
        if epoch in self._reached:
            self._reached[epoch].put(candidate, losses)

    def goes_on(self, candidate: str, epoch: int, noise: float = 0.0) -> bool:
        """Return whether to train a candidate beyond ``epoch``, for which it was recorded.

        ``noise`` is the uncertainty of an error's logarithm.
        """
        reached = self._reached.get(epoch)
        if reached is None or candidate not in reached.places or len(reached.places) < self._min_peers:
            return True
        index = reached.places[candidate]
        near = _nearest(reached.logs, index, self._neighbours)
        losses, index = reached.losses[near], near.tolist().index(index)
        optimistic = losses.copy()
        optimistic[index, 0] *= math.exp(-noise)
        return bool(pareto.ranks(optimistic)[index] == 0) or _place(losses, index) < math.ceil(self._keep * len(near))


@final
class _Reached:
    """The losses of the candidates that reached a rung, and the logarithms of their costs, in the order of arrival."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self._losses = np.empty((0, 0))
        self._logs = np.empty((0, 0))

    @property
    def losses(self) -> pareto.FloatArray:
        """The losses, shape (N, 1 + M): errors first, and then M costs."""
        return self._losses[: len(self.places)]

    @property
    def logs(self) -> pareto.FloatArray:
        """The logarithms of the costs, shape (N, M)."""
        return self._logs[: len(self.places)]

    def put(self, candidate: str, losses: Sequence[float]) -> None:
        """Record a candidate's losses, in the place of earlier ones."""
        place = self.places.setdefault(candidate, len(self.places))
        if place == len(self._losses):  # twice as many have room then, so that rows are seldom moved
            more = max(16, place)
            self._losses = np.vstack([self._losses.reshape(place, len(losses)), np.empty((more, len(losses)))])
            self._logs = np.vstack([self._logs.reshape(place, len(losses) - 1), np.empty((more, len(losses) - 1))])
        self._losses[place] = losses
        self._logs[place] = np.log(np.maximum(self._losses[place, 1:], np.finfo(np.float64).tiny))


def _nearest(logs: pareto.FloatArray, index: int, count: int) -> pareto.IntArray:
    """Return the sorted indices of a row of logarithms of costs, shape (N, M), and of the ``count`` rows nearest to it.

    They are scaled to a standard deviation of 1. Without costs (M = 0) all rows are near.
    """
    if logs.shape[1] == 0 or len(logs) <= count + 1:
        return np.arange(len(logs))
    spread = logs.std(axis=0)
    distances = np.linalg.norm((logs - logs[index]) / np.where(spread > 0, spread, 1.0), axis=1)
    distances[index] = -1.0  # the row itself comes first
    farthest = np.partition(distances, count)[count]
    nearer, equal = np.flatnonzero(distances < farthest), np.flatnonzero(distances == farthest)
    return np.sort(np.concatenate([nearer, equal[: count + 1 - len(nearer)]]))


def _place(losses: pareto.FloatArray, index: int) -> int:
    """The place of a row among all rows, by non-dominated rank, then by crowding."""
    ranks = pareto.ranks(losses)
    crowding = np.empty(len(losses))
    for rank in np.unique(ranks):
        crowding[ranks == rank] = pareto.crowding_distances(losses[ranks == rank])
    order: list[int] = np.lexsort((-crowding, ranks)).tolist()
    return order.index(index)


@final
class EarlyStopping:
    """Decides which trainings of a run continue. The first complete trainings show at which rungs to stop others.

    ``whole`` returns the error curves of complete trainings, in the order in which they ended. The first ``check`` of
    them judge the rungs. A few curves are weak evidence, so the rungs are judged again by the first 2, 4, 8 … times as
    many. A rung stays relied on from then on: trainings that survive it are the better ones, and these are harder to
    rank. ``tell`` is called with each judgement and its number of trainings.

    Attributes:
        rungs: the epochs at which trainings are compared; none if nothing is to be stopped.
    """

    def __init__(
        self,
        settings: EarlyStoppingRecipe,
        epochs: int,
        *,
        whole: Callable[[], WholeCurves],
        tell: Callable[[RungTrust, int], None],
    ) -> None:
        self._settings = settings
        self.rungs = rung_epochs(epochs, settings.reduction) if settings.enabled else ()
        self._whole = whole
        self._tell = tell
        self._relied_on: tuple[int, ...] = ()
        self._judges_next = settings.check
        self._rungs = Rungs(
            self.rungs,
            keep=settings.keep,
            min_peers=settings.min_peers,
            neighbours=settings.neighbours,
        )

    def record(self, candidate: str, epoch: int, error: float, costs: Sequence[float]) -> None:
        """Record a candidate's error after an epoch, and its costs."""
        self._rungs.record(candidate, epoch, (error, *costs))

    def goes_on(self, candidate: str, epoch: int) -> bool:
        """Return whether to train a candidate beyond ``epoch``, for which it was recorded."""
        if epoch not in self.rungs:
            return True
        whole = self._whole()
        if epoch not in self._rungs_relied_on(whole):
            return True
        margin = self._settings.margin
        noise = margin * whole.noise(epoch) if margin > 0 else 0.0
        return self._rungs.goes_on(candidate, epoch, noise)

    def _rungs_relied_on(self, whole: WholeCurves) -> tuple[int, ...]:
        while len(whole) >= self._judges_next:
            count = self._judges_next
            trust = trust_in_rungs(self.rungs, whole.first(count), self._settings.least_correlation)
            self._relied_on = tuple(sorted({*self._relied_on, *trust.relied_on}))
            self._tell(RungTrust(trust.correlations, self._relied_on), count)
            self._judges_next = 2 * count
        return self._relied_on
