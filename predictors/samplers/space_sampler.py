"""The abstract class of Optuna samplers that know the search space: one parameter for each choice, no duplicates."""

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
    """Proposes architectures of a space, with one categorical parameter for each of its choices.

    ``known`` maps numbers of objectives to functions that give the losses, shape (N,), of N architectures before they
    are evaluated; losses of objectives to be maximised are negated. ``accept`` returns a mask, shape (N,), of the
    architectures that may be proposed. It is called in the order of preference, and a rejected architecture is never
    proposed later.

    Trials with a constraint above 0 are learned from, but are not part of the front.

    ``seed`` and the study's trials determine the proposals. An architecture that was proposed before, by any sampler
    and with any outcome, is not proposed again while there are others. Several threads may share a sampler. Several
    processes may share a study if each has a seed of its own; a proposal of another process is known once all its
    parameters are stored.
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
        """Return the next architecture, given the trials in ``_record``."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return a categorical distribution for each choice."""
        return self._record.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the options of the next architecture by the names of their choices."""
        with self._lock:
            self._record.read(study)
            architecture = self._propose(len(study.directions))
            self._record.propose(trial, self._as_asked(trial, architecture))
        return dict(architecture)

    def _as_asked(self, trial: FrozenTrial, architecture: Architecture) -> Architecture:
        """Return the proposal with the fixed parameters of the trial, such as those of ``enqueue_trial``."""
        fixed = trial.system_attrs.get("fixed_params", {})
        try:
            return architecture_from(self._space, {**architecture, **fixed})
        except ValueError:  # newly activated choices are drawn at random, and are known when the trial ends
            return architecture

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a random value for a parameter that is not a choice of the proposed architecture."""
        by_chance = optuna.samplers.RandomSampler(int(self._rng.integers(2**31)))
        return by_chance.sample_independent(study, trial, param_name, param_distribution)

    def _by_chance(self) -> Architecture:
        """Return a random architecture; it is new and accepted unless ``DRAWS`` draws find none."""
        for _ in range(DRAWS):
            architecture = sample(self._space, self._rng)
            if architecture not in self._record.taken and self._is_accepted(architecture):
                return architecture
        return sample(self._space, self._rng)

    def _is_accepted(self, architecture: Architecture) -> bool:
        """Return True if the architecture may be proposed, and remember a rejection for good."""
        if architecture in self._refused:
            return False
        if self._accept is None or bool(self._accept([architecture])[0]):
            return True
        self._refused.add(architecture)
        return False
