"""Ax, by its client's ask and tell: its own choice of method, which is Bayesian optimisation with BoTorch."""

from __future__ import annotations

import logging
import warnings
from typing import final

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig
from ax.utils.common.logger import set_ax_logger_levels

from experiments.search_tasks import Problem
from experiments.searchers import SHORT_PATIENCE, Patience
from nas.space.architecture import Architecture


@final
class AxSearcher:
    """Unordered choices, all objectives minimised, limits as outcome constraints. A proposal takes seconds."""

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
        space = self._problem.space
        drawn = self._patience.instead()
        if drawn is not None:
            numbers = {
                choice.name: choice.options.index(drawn[choice.name]) if choice.name in drawn else 0
                for choice in space.choices
            }
            self._trial = self._client.attach_trial(numbers)
            return drawn
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it is built on
            ((self._trial, found),) = self._client.get_next_trials(1).items()
        return self._problem.composed(lambda choice: choice.options[int(found[choice.name])])

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        assert self._trial is not None, "told of what was not proposed"
        self._patience.tell(architecture, losses)
        if losses is None:
            self._client.mark_trial_failed(self._trial)
            return
        values = dict(zip(("error", *self._costs), losses, strict=True))
        values |= dict(zip(self._limited, self._problem.excesses(losses).values(), strict=True))
        self._client.complete_trial(self._trial, raw_data=values)
