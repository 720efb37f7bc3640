"""What Optuna samplers over a search space have in common: one parameter for each choice, and nothing twice."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nas.prediction.predictor import BoolArray
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.search_space import architecture_from, sample
from predictors.samplers.candidate_pool import KnownCosts
from predictors.samplers.study_record import StudyRecord

DRAWS = 200


class SpaceSampler(optuna.samplers.BaseSampler):
    """Proposes architectures of the space of ``describer`` by one categorical parameter for each of its choices.

    ``known`` maps the numbers of objectives to functions that give their losses, shape (N,), of N architectures
    beforehand (what is to be maximised negated). ``accept`` says which of N architectures may be proposed, shape (N,),
    and is asked in the order of preference; what it refuses is not proposed later either. Trials with constraints above
    0 are learned from, but are no part of the front.

    ``seed`` and the study's trials decide what is proposed. Architectures that were asked for, by whomever and however
    they ended, do not come again while there are others. Several threads may ask, and several processes that share a
    study, each with a seed of its own; what another process asked for is known once all its choices are stored.
    """

    def __init__(
        self,
        describer: Describer,
        *,
        seed: int,
        known: KnownCosts | None = None,
        accept: Callable[[Sequence[Architecture]], BoolArray] | None = None,
    ) -> None:
        self._describer = describer
        self._space = describer.space
        self._known: KnownCosts = dict(known or {})
        self._rng = np.random.default_rng(seed)
        self._record = StudyRecord(describer.space)
        self._refused: set[Architecture] = set()
        self._accept = accept
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    @abstractmethod
    def _propose(self, objectives: int) -> Architecture:
        """The next architecture, by what ``_record`` holds."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._record.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        with self._lock:
            self._record.read(study)
            architecture = self._propose(len(study.directions))
            self._record.propose(trial, self._as_asked(trial, architecture))
        return dict(architecture)

    def _as_asked(self, trial: FrozenTrial, architecture: Architecture) -> Architecture:
        """What comes of a proposal where some choices of the trial are fixed, as by ``enqueue_trial``."""
        fixed = trial.system_attrs.get("fixed_params", {})
        try:
            return architecture_from(self._space, {**architecture, **fixed})
        except ValueError:  # what they make active is drawn at random, and is seen when the trial ends
            return architecture

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter that is no choice of the proposed architecture: at random."""
        by_chance = optuna.samplers.RandomSampler(int(self._rng.integers(2**31)))
        return by_chance.sample_independent(study, trial, param_name, param_distribution)

    def _by_chance(self) -> Architecture:
        """One at random, new and accepted unless that is hard to find."""
        for _ in range(DRAWS):
            architecture = sample(self._space, self._rng)
            if architecture not in self._record.taken and self._is_accepted(architecture):
                return architecture
        return sample(self._space, self._rng)

    def _is_accepted(self, architecture: Architecture) -> bool:
        """Whether it may be proposed; if not, it is never a candidate again."""
        if architecture in self._refused:
            return False
        if self._accept is None or bool(self._accept([architecture])[0]):
            return True
        self._refused.add(architecture)
        return False
