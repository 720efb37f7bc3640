"""Kept trainings as a search would have seen them: in an order, by several workers, with a rule that stops some."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nas.recipe.sections import EarlyStoppingRecipe
from nas.training.early_stopping import EarlyStopping, RungTrust
from nas.values import pareto

REFERENCE = np.array([1.1, 1.1])


@dataclass(frozen=True)
class Training:
    """One whole training: its error after each epoch, its cost, and the seconds of an epoch."""

    curve: tuple[float, ...]
    cost: float
    epoch_s: float


@dataclass(frozen=True)
class Replay:
    """What came of an order: epochs that each training got, by its place in the set, and what was decided at rungs.

    ``decisions`` count, by epoch, how many were asked about and how many of them went on.
    """

    epochs: tuple[int, ...]
    decisions: dict[int, tuple[int, int]]
    trust: RungTrust | None


class Rule(Protocol):
    """Who says which trainings go on."""

    trust: RungTrust | None

    def report(self, index: int, training: Training, epoch: int) -> bool: ...

    def end(self, training: Training) -> None: ...


class ProductRule:
    """The rule of a search, by the very class that decides there. Without ``costs`` errors alone are compared."""

    def __init__(self, settings: EarlyStoppingRecipe, epochs: int, *, costs: bool = True) -> None:
        self._curves: list[tuple[float, ...]] = []
        self._costs = costs
        self.trust: RungTrust | None = None
        self._stopping = EarlyStopping(settings, epochs, whole=lambda: self._curves, tell=self._keep)

    def _keep(self, trust: RungTrust, trainings: int) -> None:
        self.trust = trust

    def report(self, index: int, training: Training, epoch: int) -> bool:
        costs = (training.cost,) if self._costs else ()
        self._stopping.record(str(index), epoch, training.curve[epoch - 1], costs)
        return self._stopping.goes_on(str(index), epoch)

    def end(self, training: Training) -> None:
        self._curves.append(training.curve)


class RandomRule:
    """Lets as large a share go on at each epoch as another rule did, but by chance."""

    trust: RungTrust | None = None

    def __init__(self, decisions: dict[int, tuple[int, int]], seed: int) -> None:
        self._shares = {epoch: on / asked for epoch, (asked, on) in decisions.items() if asked}
        self._rng = np.random.default_rng(seed)

    def report(self, index: int, training: Training, epoch: int) -> bool:
        return bool(self._rng.random() < self._shares.get(epoch, 1.0))

    def end(self, training: Training) -> None:
        """Nothing is learnt."""


def replay(trainings: Sequence[Training], order: Sequence[int], workers: int, rule: Rule) -> Replay:
    """Train in this order, a training for each worker that is free, each as long as the rule lets it."""
    waiting = iter(order)
    running: list[tuple[float, int, int, int]] = []  # when the next epoch ends, a tie-break, place, epoch
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
    """What a rule saved and what it lost.

    ``ratio`` is all epochs to those that were spent, counted by the images that they saw. ``lost`` is the share of the
    hypervolume of the whole set's front that fully trained survivors lack: of error and the logarithm of the cost, both
    scaled to 0 to 1 over the set, within (1.1, 1.1). ``lost_near`` is the same scaled over the front alone.
    """

    ratio: float
    lost: float
    lost_near: float
    front_stopped: int
    whole: int


def score(trainings: Sequence[Training], epochs: Sequence[int], shares: Sequence[float]) -> Score:
    """``shares`` are what each epoch costs, as a share of a full one."""
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
    """The recorded order, then so many shuffles of it."""
    rng = np.random.default_rng(0)
    return [list(range(count)), *(rng.permutation(count).tolist() for _ in range(shuffles))]
