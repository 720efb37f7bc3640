"""Searchers of Ray Tune that suggest nothing more once their time is over. It takes a second to import."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, final

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import SearchSpace, settle


@final
class TimedOptuna(OptunaSearch):
    """Optuna's search for ``time_s`` seconds, with two objectives."""

    def __init__(self, space: SearchSpace, sampler: optuna.samplers.BaseSampler, time_s: float) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        super().__init__(Suggestion(space), metric=["error", "latency_ms"], mode=["min", "min"], sampler=sampler)
        self._ends_s = time.monotonic() + time_s

    def __getstate__(self) -> dict[str, Any]:
        """Return what Ray pickles for a later resume; there is none, and Optuna 5.1's NSGA-II holds a lock."""
        return {"_ends_s": self._ends_s}

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration, or that there is none."""
        return Searcher.FINISHED if time.monotonic() > self._ends_s else super().suggest(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing, because no search is resumed."""


@final
class Suggestion:
    """Lets a trial choose an option of each choice that counts."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def __call__(self, trial: optuna.Trial) -> dict[str, Any]:
        """Suggest by the trial; nothing is constant."""

        def option(choice: Choice) -> Option:
            found = trial.suggest_categorical(choice.name, choice.options)
            assert found is not None
            return found

        settle(self._space, option)
        return {}


@final
class Listed(Searcher):
    """Suggests the listed architectures one by one for ``time_s`` seconds."""

    def __init__(self, architectures: Sequence[Architecture], time_s: float) -> None:
        super().__init__(metric="error", mode="min")
        self._waiting, self._ends_s = list(architectures), time.monotonic() + time_s

    def suggest(self, trial_id: str) -> Any:
        """Return the next architecture, or that there is none."""
        has_more = self._waiting and time.monotonic() < self._ends_s
        return dict(self._waiting.pop(0)) if has_more else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing, because no search is resumed."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, because no search is resumed."""
