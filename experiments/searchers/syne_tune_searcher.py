"""Syne Tune's two multi-objective methods: regularised evolution and expected hypervolume improvement.

Release 0.16 has no other that works: NSGA-II was removed, and the method with random scalarisations imports a missing
module. Syne Tune draws from the global generators of numpy and torch, so each call sets them and restores them
afterwards. Each call also sets torch's default precision to double: Syne Tune mixes single and double precision, which
newer releases of BoTorch refuse.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import torch
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice as categorical
from syne_tune.optimizer.baselines import EHVI
from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler
from syne_tune.optimizer.schedulers.multiobjective import MultiObjectiveRegularizedEvolution
from syne_tune.optimizer.schedulers.single_fidelity_scheduler import SingleFidelityScheduler

from experiments.search_problem import Problem
from experiments.searchers.searcher import POPULATION, SHORT_PATIENCE, Patience
from nas.space.architecture import Architecture


@final
class SyneTuneSearcher:
    """A Syne Tune scheduler over the indexes of the options. It is not given the limits, which it cannot handle."""

    def __init__(
        self, problem: Problem, seed: int, make: Callable[[dict[str, Any], list[str], int], SingleFidelityScheduler]
    ) -> None:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        self._problem = problem
        self._patience = Patience(problem, seed, SHORT_PATIENCE)
        self._metrics = [f"loss{index}" for index in range(problem.objectives)]
        self._numpy: Any = np.random.RandomState(seed).get_state()
        self._torch = torch.Generator().manual_seed(seed).get_state()
        numbers = {choice.name: categorical(list(range(len(choice.options)))) for choice in problem.space.choices}
        with self._own_globals():
            self._scheduler = AskTellScheduler(make(numbers, self._metrics, seed))
        self._trial: Trial | None = None

    def propose(self) -> Architecture | None:
        """Return the scheduler's next architecture, or a random one if it is stuck."""
        replacement = self._patience.replacement()
        if replacement is not None:
            self._trial = None
            return replacement
        with self._own_globals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of Syne Tune's own dependencies
            self._trial = self._scheduler.ask()
        found = self._trial.config
        return self._problem.composed(lambda choice: choice.options[int(found[choice.name])])

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Report the losses of the last proposal to the scheduler, unless that proposal was a random one."""
        self._patience.tell(architecture, losses)
        if self._trial is None:
            return
        with self._own_globals():
            if losses is None:
                self._scheduler.base_scheduler.on_trial_error(self._trial)
            else:
                self._scheduler.tell(self._trial, dict(zip(self._metrics, losses, strict=True)))

    @contextmanager
    def _own_globals(self) -> Iterator[None]:
        """Run a block with this searcher's own global generators and with double precision."""
        before_numpy, before_torch = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        np.random.set_state(self._numpy)  # noqa: NPY002
        torch.set_rng_state(self._torch)
        precision = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            self._numpy, self._torch = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
            np.random.set_state(before_numpy)  # noqa: NPY002
            torch.set_rng_state(before_torch)
            torch.set_default_dtype(precision)


def evolution(numbers: dict[str, Any], metrics: list[str], seed: int) -> SingleFidelityScheduler:
    """Make regularised evolution with non-dominated sorting and the population of the other evolutionary searchers."""
    searcher = MultiObjectiveRegularizedEvolution(numbers, population_size=POPULATION, random_seed=seed)
    return SingleFidelityScheduler(numbers, metrics, searcher=searcher, random_seed=seed)


def hypervolume_improvement(numbers: dict[str, Any], metrics: list[str], seed: int) -> SingleFidelityScheduler:
    """Make expected hypervolume improvement with BoTorch."""
    return EHVI(numbers, metrics, random_seed=seed)
