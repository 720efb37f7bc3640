"""Ax through its client; Ax chooses the method itself, which is Bayesian optimisation with BoTorch."""

from __future__ import annotations

import logging
import warnings
from typing import final

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig
from ax.utils.common.logger import set_ax_logger_levels

from experiments.search_problem import Problem
from experiments.searchers.searcher import SHORT_PATIENCE, Patience
from nas.space.architecture import Architecture


@final
class AxSearcher:
    """Ax with unordered choices and limits as outcome constraints. A proposal takes seconds."""

    def __init__(self, problem: Problem, seed: int) -> None:
        set_ax_logger_levels(logging.ERROR)
        self._problem = problem
        self._patience = Patience(problem, seed, SHORT_PATIENCE)
        self._costs = [f"cost{index}" for index in range(problem.objectives - 1)]
        self._limited = [f"limit{index}" for index in range(problem.limits)]
        self._client = Client(random_seed=seed)
        self._client.configure_experiment(
            [
                ChoiceParameterConfig(choice.name, list(range(len(choice.options))), "int", is_ordered=False)
                for choice in problem.space.choices
            ]
        )
        self._client.configure_optimization(
            objective=", ".join(f"-{name}" for name in ("error", *self._costs)),
            outcome_constraints=[f"{name} <= 0" for name in self._limited],
        )
        self._trial: int | None = None

    def propose(self) -> Architecture | None:
        """Return Ax's next architecture, or a random one if Ax is stuck."""
        space = self._problem.space
        replacement = self._patience.replacement()
        if replacement is not None:
            numbers = {
                choice.name: choice.options.index(replacement[choice.name]) if choice.name in replacement else 0
                for choice in space.choices
            }
            self._trial = self._client.attach_trial(numbers)
            return replacement
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of Ax's own dependencies
            ((self._trial, found),) = self._client.get_next_trials(1).items()
        return self._problem.composed(lambda choice: choice.options[int(found[choice.name])])

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Report the losses of the last proposal to Ax, with its excess over each limit."""
        assert self._trial is not None, "tell() must follow propose()"
        self._patience.tell(architecture, losses)
        if losses is None:
            self._client.mark_trial_failed(self._trial)
            return
        values = dict(zip(("error", *self._costs), losses, strict=True))
        values |= dict(zip(self._limited, self._problem.excesses(losses).values(), strict=True))
        self._client.complete_trial(self._trial, raw_data=values)
