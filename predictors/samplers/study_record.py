"""The record of a study's trials as architectures: losses, constraints, running trials and the front."""

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
from predictors.samplers.rows import Rows

EXPECTED_NOISE = 10.0
"""Noise variance of the losses expected of a stopped training, relative to that of a finished one."""


class Evidence(NamedTuple):
    """Evidence from one trial: losses, shape (M,), the excess over each constraint, and relative noise.

    ``seconds`` is the duration of the evaluation, if it finished and the duration is known.
    """

    architecture: Architecture
    losses: FloatArray
    excesses: Mapping[str, float]
    noise: float
    seconds: float | None = None

    @property
    def is_feasible(self) -> bool:
        """True if all constraints are met."""
        return all(excess <= 0 for excess in self.excesses.values())


@final
class StudyRecord:
    """The trials of one study over the choices of a space, read as they end.

    ``finished`` holds trials that ended with finite values. ``evidence`` also holds stopped trials with expected
    values. Both are in the order in which trials ended. Lower losses are better, whatever the study's directions.
    ``taken`` holds every architecture that was proposed or added.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._distributions: dict[str, BaseDistribution] = {
            choice.name: CategoricalDistribution(choice.options) for choice in space.choices
        }
        self._seen = 0
        self._open: dict[int, None] = {}  # numbers of trials that have not ended, in order
        self._running: dict[int, Architecture] = {}
        self.evidence: list[Evidence] = []
        self.finished: list[Evidence] = []
        self.taken: set[Architecture] = set()
        self._losses = Rows()
        self._fronts = {True: _Front(), False: _Front()}  # of feasible trials, and of all

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """A categorical distribution for each choice."""
        return self._distributions

    @property
    def losses(self) -> FloatArray:
        """Losses of the finished trials, shape (N, M)."""
        return self._losses.rows

    @property
    def running(self) -> list[Architecture]:
        """Architectures of unfinished trials, proposed here or elsewhere."""
        return list(self._running.values())

    @property
    def front(self) -> IntArray:
        """Indexes into ``finished`` of non-dominated feasible trials; if none is feasible, all trials compete."""
        return self._fronts[self._fronts[True].count > 0].places(self.losses)

    def propose(self, trial: FrozenTrial, architecture: Architecture) -> None:
        """Record the architecture that a trial is given."""
        self.taken.add(architecture)
        self._running[trial.number] = architecture

    def read(self, study: optuna.Study) -> None:
        """Read all trials that began or ended since the last call, including those of other processes."""
        signs = np.array([1.0 if d == optuna.study.StudyDirection.MINIMIZE else -1.0 for d in study.directions])
        # The storage is asked, because a study with brackets, as Hyperband's, lists the trials of one alone.
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        self._open |= dict.fromkeys(range(self._seen, len(trials)))
        self._seen = max(self._seen, len(trials))
        for number in tuple(self._open):
            if number >= len(trials):  # those of another study, in which the sampler was before
                break
            trial = trials[number]
            if trial.state is TrialState.RUNNING or trial.state is TrialState.WAITING:  # quicker than is_finished
                if number not in self._running and (begun := self._architecture_of(trial)) is not None:
                    self.propose(trial, begun)
                continue
            proposed = self._running.get(number)
            architecture = self._architecture_of(trial) or proposed
            if architecture == proposed:  # equal ones as the same object: in a long search they take much memory
                architecture = proposed
            if architecture is not None:
                self.taken.add(architecture)
                self._take_in(trial, architecture, signs)
            self._running.pop(number, None)
            del self._open[number]

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
            self._losses.append(losses[None])
            for is_of_feasible, front in self._fronts.items():
                if found.is_feasible or not is_of_feasible:
                    front.add(len(self.finished))
            self.finished.append(found)

    def _architecture_of(self, trial: FrozenTrial) -> Architecture | None:
        try:
            return architecture_from(self._space, trial.params)
        except ValueError:  # some choices have no value yet, or the trial belongs to another space
            return None


@final
class _Front:
    """The non-dominated ones among places of trials. A dominated one is not looked at again."""

    def __init__(self) -> None:
        self.count = 0
        self._places: list[int] = []
        self._is_settled = True

    def add(self, place: int) -> None:
        """Let one more trial compete."""
        self.count += 1
        self._places.append(place)
        self._is_settled = False

    def places(self, losses: FloatArray) -> IntArray:
        """Return the places of the front, in increasing order, given the losses at all places."""
        places = np.array(self._places, dtype=np.int64)
        if not self._is_settled:
            places = places[non_dominated(losses[places])]
            self._places, self._is_settled = places.tolist(), True
        return places
