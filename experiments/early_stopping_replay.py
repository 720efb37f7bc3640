"""Replays recorded trainings in an order, by several workers, with a rule that stops some of them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
