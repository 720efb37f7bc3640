"""Replays recorded trainings in an order, by several workers, with a rule that stops some of them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nas.recipe.training_sections import EarlyStoppingRecipe
from nas.training.early_stopping import EarlyStopping, RungTrust
from nas.training.whole_curves import WholeCurves
from nas.values import pareto

REFERENCE = np.array([1.1, 1.1])


@dataclass(frozen=True)
class Training:
    """One whole training: its error after each epoch, its cost, and the seconds per epoch."""

    curve: tuple[float, ...]
    cost: float
    epoch_s: float


@dataclass(frozen=True)
class Replay:
    """The result of one order: the epochs of each training, by its place in the set, and the decisions of the rule.

    ``decisions`` holds for each epoch the number of trainings that reached a decision and the number that continued.
    """

    epochs: tuple[int, ...]
    decisions: dict[int, tuple[int, int]]
    trust: RungTrust | None


class Rule(Protocol):
    """Decides which trainings continue."""

    trust: RungTrust | None

    def report(self, index: int, training: Training, epoch: int) -> bool:
        """Take the error after an epoch, and return True if the training continues."""
        ...

    def end(self, training: Training) -> None:
        """Take a training that reached its last epoch."""
        ...


class ProductRule:
    """The rule of a search, by the same class. Without ``costs`` it compares errors alone."""

    def __init__(self, settings: EarlyStoppingRecipe, epochs: int, *, costs: bool = True) -> None:
        self._curves = WholeCurves()
        self._costs = costs
        self.trust: RungTrust | None = None
        self._stopping = EarlyStopping(settings, epochs, whole=lambda: self._curves, tell=self._keep)

    def _keep(self, trust: RungTrust, trainings: int) -> None:
        self.trust = trust

    def report(self, index: int, training: Training, epoch: int) -> bool:
        """Take the error after an epoch, and return True if the training continues."""
        costs = (training.cost,) if self._costs else ()
        self._stopping.record(str(index), epoch, training.curve[epoch - 1], costs)
        return self._stopping.goes_on(str(index), epoch)

    def end(self, training: Training) -> None:
        """Keep the error curve of a whole training."""
        self._curves.add(training.curve)


class ForeseeingRule:
    """Knows each last error from an epoch on, and stops what the trainings that went on before it dominate.

    No rule that stops trainings for good does better without foresight, unless it decides earlier or gives up some of
    the front.
    """

    trust: RungTrust | None = None

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._went_on: list[Training] = []

    def report(self, index: int, training: Training, epoch: int) -> bool:
        """Take the error after an epoch, and return True if the training continues."""
        if epoch != self._epoch:
            return True
        if any(each.curve[-1] <= training.curve[-1] and each.cost <= training.cost for each in self._went_on):
            return False
        self._went_on.append(training)
        return True

    def end(self, training: Training) -> None:
        """Learn nothing."""


class HalvingRule:
    """Asynchronous successive halving by the rungs of Syne Tune: its MOASHA, or without ``costs`` its ASHA.

    MOASHA takes a third of the trainings at each rung, by non-dominated rank and an epsilon-net (Schmucker et al.,
    "Multi-objective asynchronous successive halving", 2021). Syne Tune 0.16 gives its rungs the *order* of trainings
    where they expect the place of each, so decisions have little to do with a training. It is mended here;
    ``as_released`` leaves it.
    """

    trust: RungTrust | None = None

    def __init__(self, epochs: int, *, costs: bool = True, as_released: bool = False) -> None:
        from syne_tune.optimizer.schedulers.asha import Bracket
        from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority

        class Places(NonDominatedPriority):  # type: ignore[misc]
            def priority_unsafe(self, objectives: Any) -> Any:
                return np.argsort(super().priority_unsafe(objectives))

        self._costs = costs
        by = (NonDominatedPriority() if as_released else Places()) if costs else None
        self._rungs = Bracket(1, epochs, 3, 0, by)

    def report(self, index: int, training: Training, epoch: int) -> bool:
        """Take the error after an epoch, and return True if the training continues."""
        losses = {"error": training.curve[epoch - 1], **({"cost": training.cost} if self._costs else {})}
        last = epoch == len(training.curve)
        return last or bool(self._rungs.on_result(trial_id=index, cur_iter=epoch, metrics=losses) == "CONTINUE")

    def end(self, training: Training) -> None:
        """Learn nothing: the rungs have the last report."""


class MedianRankRule:
    """Stops a training whose best Pareto rank so far is worse than the median rank of ended ones at the same epoch.

    So does OptunaHub's ``MultiMetricPruner`` with Optuna's median pruner, whose defaults these are.
    """

    trust: RungTrust | None = None
    least_ended = 5

    def __init__(self) -> None:
        self._losses: dict[int, dict[int, tuple[float, float]]] = {}  # by epoch, then by training
        self._ended: set[int] = set()

    def report(self, index: int, training: Training, epoch: int) -> bool:
        """Take the error after an epoch, and return True if the training continues."""
        self._losses.setdefault(epoch, {})[index] = training.curve[epoch - 1], training.cost
        best, median = self._ranks(index, epoch)
        goes_on = len(self._ended) < self.least_ended or best <= median
        if not goes_on or epoch == len(training.curve):
            self._ended.add(index)
        return goes_on

    def _ranks(self, index: int, epoch: int) -> tuple[float, float]:
        """Return a training's best rank so far, and the median rank of those that have ended after the epoch."""
        best, others = math.inf, [math.inf]
        for at in range(1, epoch + 1):
            reached = list(self._losses[at])
            ranks = dict(
                zip(reached, pareto.ranks(np.array([self._losses[at][each] for each in reached])), strict=True)
            )
            best = min(best, ranks[index])
            others = [rank for each, rank in ranks.items() if each in self._ended] or [math.inf]
        return best, float(np.median(others))

    def end(self, training: Training) -> None:
        """Learn nothing: the last report has been seen."""


class RandomRule:
    """Continues the same share of trainings at each epoch as another rule, but chosen at random."""

    trust: RungTrust | None = None

    def __init__(self, decisions: dict[int, tuple[int, int]], seed: int) -> None:
        self._shares = {epoch: on / asked for epoch, (asked, on) in decisions.items() if asked}
        self._rng = np.random.default_rng(seed)

    def report(self, index: int, training: Training, epoch: int) -> bool:
        """Take the error after an epoch, and return True if the training continues."""
        return bool(self._rng.random() < self._shares.get(epoch, 1.0))

    def end(self, training: Training) -> None:
        """Learn nothing."""


def replay(trainings: Sequence[Training], order: Sequence[int], workers: int, rule: Rule) -> Replay:
    """Replay the trainings in this order; a free worker takes the next one and trains until the rule stops it."""
    waiting = iter(order)
    running: list[tuple[float, int, int, int]] = []  # end of the next epoch, tie-break, place, epoch
    epochs = [0] * len(trainings)
    decisions: dict[int, tuple[int, int]] = {}
    started = 0

    def start(now_s: float) -> None:
        nonlocal started
        index = next(waiting, None)
        if index is not None:
            heapq.heappush(running, (now_s + trainings[index].epoch_s, started, index, 1))
            started += 1

    for _ in range(workers):
        start(0.0)
    while running:
        now_s, number, index, epoch = heapq.heappop(running)
        training = trainings[index]
        epochs[index] = epoch
        goes_on = rule.report(index, training, epoch)
        if epoch == len(training.curve):
            rule.end(training)
            start(now_s)
            continue
        asked, on = decisions.get(epoch, (0, 0))
        decisions[epoch] = (asked + 1, on + goes_on)
        if goes_on:
            heapq.heappush(running, (now_s + training.epoch_s, number, index, epoch + 1))
        else:
            start(now_s)
    return Replay(tuple(epochs), decisions, rule.trust)


@dataclass(frozen=True)
class Score:
    """Savings and losses of a rule.

    Attributes:
        ratio: all epochs over those spent, weighted by the images of each epoch.
        lost: the share of the set's hypervolume that the fully trained candidates lack. It is over error and logarithm
            of the cost, both scaled to 0 to 1 over the set, with the reference (1.1, 1.1).
        lost_near: the same share, scaled over the front alone.
        front_stopped: trainings of the front that the rule stopped.
        whole: trainings that reached their last epoch.
    """

    ratio: float
    lost: float
    lost_near: float
    front_stopped: int
    whole: int


def score(trainings: Sequence[Training], epochs: Sequence[int], shares: Sequence[float]) -> Score:
    """Return the score of a replay; ``shares`` holds the images of each epoch as a share of a full epoch."""
    spent = np.concatenate([[0.0], np.cumsum(shares)])
    last = len(shares)
    whole = np.array([reached == last for reached in epochs])
    losses = np.array([(training.curve[-1], np.log(training.cost)) for training in trainings])
    front = pareto.non_dominated(losses)

    def lost(scale: np.ndarray) -> float:
        low, span = scale.min(axis=0), np.ptp(scale, axis=0)
        scaled = (losses - low) / np.where(span > 0, span, 1.0)
        full = pareto.hypervolume(scaled, REFERENCE)
        return 1 - pareto.hypervolume(scaled[whole], REFERENCE) / full

    return Score(
        ratio=spent[-1] * len(trainings) / float(sum(spent[reached] for reached in epochs)),
        lost=lost(losses),
        lost_near=lost(losses[front]),
        front_stopped=int((front & ~whole).sum()),
        whole=int(whole.sum()),
    )


def orders(count: int, shuffles: int) -> list[list[int]]:
    """Return the recorded order, then this number of shuffles of it."""
    rng = np.random.default_rng(0)
    return [list(range(count)), *(rng.permutation(count).tolist() for _ in range(shuffles))]
