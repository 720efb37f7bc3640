"""Searchers that are Optuna studies: Optuna's own samplers, and ours."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import final

import optuna
from optuna.trial import TrialState

from experiments.search_problem import Problem
from experiments.search_tasks import FloatArray
from experiments.searchers.searcher import Patience, Searcher
from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import settle


@final
class OptunaSearcher:
    """An Optuna study with a sampler.

    With ``joins_twins`` each proposal is evaluated in canonical form, even if the other searchers' proposals are not.

    Samplers can get stuck: TPE, for one, learns nothing from failed trials. After ``PATIENCE`` useless proposals in a
    row the study gets a random one.
    """

    def __init__(
        self,
        problem: Problem,
        seed: int,
        sampler: optuna.samplers.BaseSampler,
        *,
        joins_twins: bool = False,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._problem = problem
        self._joins_twins = joins_twins
        self._study = optuna.create_study(directions=["minimize"] * problem.objectives, sampler=sampler)
        self._trials: dict[str, list[optuna.Trial]] = {}
        self._patience = Patience(problem, seed)

    def propose(self) -> Architecture:
        """Return the sampler's next architecture, or a random one if the sampler is stuck."""
        replacement = self._patience.replacement()
        if replacement is not None:
            self._study.enqueue_trial(dict(replacement))
        trial = self._study.ask()
        if replacement is not None and isinstance(self._study.sampler, optuna.samplers.NSGAIISampler):
            trial.relative_params  # noqa: B018  # reading it makes NSGA-II assign the trial to a generation
        compose = self._problem.composed
        if self._joins_twins:
            compose = functools.partial(settle, self._problem.space)
        architecture = compose(lambda choice: suggest(trial, choice))
        self._trials.setdefault(architecture.id, []).append(trial)
        return architecture

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Report the losses of a proposal to the study, with its excess over each limit."""
        trial = self._trials[architecture.id].pop(0)
        self._patience.tell(architecture, losses)
        if losses is None:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        for name, excess in self._problem.excesses(losses).items():
            trial.set_constraint(name, excess)
        self._study.tell(trial, list(losses))


def suggest(trial: optuna.Trial, choice: Choice) -> Option:
    """Return the option that a trial suggests for a choice, as a categorical parameter."""
    option = trial.suggest_categorical(choice.name, choice.options)
    assert option is not None
    return option


def gp_searcher(problem: Problem, seed: int) -> Searcher:
    """Make our searcher, which uses known costs and does not propose what breaks a limit."""
    from predictors.samplers.surrogate_sampler import SurrogateSampler

    known: dict[int, Callable[[Sequence[Architecture]], FloatArray]] = {}
    if problem.is_informed:
        known = {index: _cost(problem, index - 1) for index in range(1, problem.objectives)}
    sampler = SurrogateSampler(
        problem.describer, seed=seed, known=known, accept=problem.acceptable, prior=problem.prior
    )
    return OptunaSearcher(problem, seed, sampler, joins_twins=True)


def _cost(problem: Problem, index: int) -> Callable[[Sequence[Architecture]], FloatArray]:
    return lambda architectures: problem.known_costs(architectures)[:, index]


def searcher_of(make: Callable[[int], optuna.samplers.BaseSampler]) -> Callable[[Problem, int], Searcher]:
    """Return the function that makes a searcher with the sampler ``make(seed)``."""

    def searcher(problem: Problem, seed: int) -> Searcher:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return OptunaSearcher(problem, seed, make(seed))

    return searcher
