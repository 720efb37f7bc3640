"""What a study's trials say of architectures: losses, constraints, what still runs, and who is on the front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.prediction.predictor import FloatArray
from nas.searching.proposer import EXPECTED, SECONDS
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, architecture_from
from nas.values.pareto import IntArray, non_dominated

EXPECTED_NOISE = 10.0
"""How much more noise, as a variance, what is expected of a stopped training has than what a finished one reached."""


class Evidence(NamedTuple):
    """What an architecture's trial tells: losses, shape (M,), how far constraints are exceeded, relative noise.

    ``seconds`` is how long it took to evaluate, where it was to the end and that is known.
    """

    architecture: Architecture
    losses: FloatArray
    excesses: Mapping[str, float]
    noise: float
    seconds: float | None = None

    @property
    def is_feasible(self) -> bool:
        return all(excess <= 0 for excess in self.excesses.values())


@final
class StudyRecord:
    """The trials of one study over the choices of a space, taken in as they end.

    ``evidence`` has all that tells anything, ``finished`` those that ended with finite values, both in that order.
    Losses are lower where better, whatever the study's directions. ``taken`` are all that were asked for or told of.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._ended: set[int] = set()
        self._running: dict[int, Architecture] = {}
        self.evidence: list[Evidence] = []
        self.finished: list[Evidence] = []
        self.taken: set[Architecture] = set()

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """A categorical parameter for each choice."""
        return {choice.name: CategoricalDistribution(choice.options) for choice in self._space.choices}

    @property
    def losses(self) -> FloatArray:
        """Of the finished ones, shape (N, M)."""
        return np.array([each.losses for each in self.finished])

    @property
    def running(self) -> list[Architecture]:
        """What was proposed, here or by others, and has not ended."""
        return list(self._running.values())

    @property
    def front(self) -> IntArray:
        """Places in ``finished`` of the non-dominated ones that meet all constraints; where none does, of all."""
        feasible = [place for place, each in enumerate(self.finished) if each.is_feasible]
        among = np.array(feasible or range(len(self.finished)), dtype=np.int64)
        return among[non_dominated(self.losses[among])] if len(among) else among

    def propose(self, trial: FrozenTrial, architecture: Architecture) -> None:
        """Note what a trial is given."""
        self.taken.add(architecture)
        self._running[trial.number] = architecture

    def read(self, study: optuna.Study) -> None:
        """Take in the trials that have begun or ended since the last time, whoever asked for them."""
        signs = np.array([1.0 if d == optuna.study.StudyDirection.MINIMIZE else -1.0 for d in study.directions])
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._ended:
                continue
            if not trial.state.is_finished():
                if trial.number not in self._running and (begun := self._architecture_of(trial)) is not None:
                    self.propose(trial, begun)
                continue
            self._ended.add(trial.number)
            proposed = self._running.pop(trial.number, None)
            architecture = self._architecture_of(trial) or proposed
            if architecture is not None:
                self.taken.add(architecture)
                self._take_in(trial, architecture, signs)

    def _take_in(self, trial: FrozenTrial, architecture: Architecture, signs: FloatArray) -> None:
        is_whole = trial.state == TrialState.COMPLETE
        values = (
            trial.values if is_whole else trial.user_attrs.get(EXPECTED) if trial.state == TrialState.PRUNED else None
        )
        if values is None or not np.isfinite(values).all():
            return
        losses = signs * np.array(values, dtype=np.float64)
        found = Evidence(
            architecture,
            losses,
            dict(trial.constraints or {}),
            1.0 if is_whole else EXPECTED_NOISE,
            trial.user_attrs.get(SECONDS) if is_whole else None,
        )
        self.evidence.append(found)
        if is_whole:
            self.finished.append(found)

    def _architecture_of(self, trial: FrozenTrial) -> Architecture | None:
        try:
            return architecture_from(self._space, trial.params)
        except ValueError:  # it was not asked for all choices, or is none of this space
            return None
