"""Optuna's trials in memory: without what grows with them or is copied for each, so that a search may have many."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import optuna
from optuna.trial import TrialState

from nas.space.architecture import Choice, Option


@final
class Trials(optuna.storages.InMemoryStorage):
    """Optuna's own storage in memory, without what grows with the trials or copies each of them.

    Before each proposal Optuna looks through all trials for one that waits, and here none ever does. It copies each
    trial that is added, with all distributions, which takes most of the time in which a long run is resumed. Each trial
    that it asks for has distributions of its own, which here are one object for each choice, and one dictionary for
    all ended trials with the same choices. Optuna copies a trial each time that it gets an option; here the option is
    written into the trial.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shared: dict[tuple[tuple[str, int], ...], dict[str, optuna.distributions.BaseDistribution]] = {}

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: optuna.distributions.BaseDistribution,
    ) -> None:
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            distribution = _of(distribution.choices)
            with self._lock:
                trial = self._get_trial(trial_id)
                known = self._studies[self._trial_id_to_study_id_and_number[trial_id][0]].param_distribution
                # The same distribution needs no check, and with its first option Optuna has made a copy of the trial.
                if trial.params and known.get(param_name) is distribution:
                    self.check_trial_is_updatable(trial_id, trial.state)
                    trial.params[param_name] = distribution.to_external_repr(param_value_internal)
                    trial.distributions[param_name] = distribution
                    return
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        is_set = super().set_trial_state_values(trial_id, state, values)
        if state.is_finished():
            self._share(self._get_trial(trial_id))
        return is_set

    def _share(self, ended: optuna.trial.FrozenTrial) -> None:
        """Let an ended trial, which nobody changes, hold the dictionary of others with the same distributions."""
        key = tuple((name, id(each)) for name, each in ended.distributions.items())
        if key not in self._shared:
            self._shared[key] = _Shared(ended.distributions)
        ended.distributions = self._shared[key]
        if not ended.intermediate_values:
            ended.intermediate_values = _NOTHING

    def create_new_trial(self, study_id: int, template_trial: optuna.trial.FrozenTrial | None = None) -> int:
        added: Any = None if template_trial is None else _Given(template_trial)
        if template_trial is not None and template_trial.state.is_finished():
            self._share(template_trial)
        return super().create_new_trial(study_id, added)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[optuna.trial.FrozenTrial]:
        return [] if states == (TrialState.WAITING,) else super().get_all_trials(study_id, deepcopy, states)


@final
class _Shared(dict[str, optuna.distributions.BaseDistribution]):
    """Distributions of many trials, which nobody changes. A deep copy is another dictionary of the same ones.

    Optuna makes a deep copy of each trial that ends, and copying the distributions was most of that.
    """

    def __deepcopy__(self, memo: object) -> dict[str, optuna.distributions.BaseDistribution]:
        return dict(self)


_NOTHING: dict[int, float] = {}
"""The intermediate values of all ended trials: there are none."""


@dataclass(frozen=True)
class _Given:
    """A trial that nobody else holds, so it is its own copy."""

    trial: optuna.trial.FrozenTrial

    def __deepcopy__(self, memo: object) -> optuna.trial.FrozenTrial:
        return self.trial


def distribution(choice: Choice) -> optuna.distributions.CategoricalDistribution:
    """Return the distribution of a choice's options, always the same object."""
    return _of(choice.options)


def _of(options: Sequence[Option | None]) -> optuna.distributions.CategoricalDistribution:
    return _with_types(tuple(options), tuple(map(type, options)))


@lru_cache(maxsize=4096)
def _with_types(
    options: tuple[Option | None, ...], types: tuple[type, ...]
) -> optuna.distributions.CategoricalDistribution:
    """Return the distribution. The types are there because 1, 1.0 and True are equal."""
    return optuna.distributions.CategoricalDistribution(options)
