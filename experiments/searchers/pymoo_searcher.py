"""NSGA-II as pymoo implements it."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from experiments.search_problem import Problem
from experiments.searchers.searcher import POPULATION
from nas.space.architecture import Architecture


@final
class PymooSearcher:
    """pymoo's NSGA-II over the indexes of the options, with its integer operators, one generation at a time.

    Failed proposals are left out of their generation, because pymoo has no notion of failure.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        from pymoo.config import Config

        Config.warnings["not_compiled"] = False  # otherwise pymoo prints how to compile itself
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem as PymooProblem
        from pymoo.core.termination import NoTermination
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.operators.sampling.rnd import IntegerRandomSampling

        self._problem = problem
        choices = problem.space.choices
        self._numbers = PymooProblem(
            n_var=len(choices),
            n_obj=problem.objectives,
            n_ieq_constr=problem.limits,
            xl=np.zeros(len(choices)),
            xu=np.array([len(choice.options) - 1 for choice in choices]),
            vtype=int,
        )
        self._algorithm = NSGA2(
            pop_size=POPULATION,
            sampling=IntegerRandomSampling(),
            crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            eliminate_duplicates=True,
        )
        self._algorithm.setup(self._numbers, termination=NoTermination(), seed=seed)
        self._generation: Any = None
        self._losses: list[tuple[float, ...] | None] = []

    def propose(self) -> Architecture | None:
        """Return the next member of the generation, or None when pymoo has no new offspring."""
        if self._generation is None:
            self._generation = self._algorithm.ask()
            self._losses = []
            if self._generation is None or len(self._generation) == 0:
                return None
        numbers = self._generation[len(self._losses)].X
        options = {
            choice.name: choice.options[int(number)]
            for choice, number in zip(self._problem.space.choices, numbers, strict=True)
        }
        return self._problem.composed(lambda choice: options[choice.name])

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Keep the losses; after the last member of a generation, report the whole generation to pymoo."""
        self._losses.append(losses)
        if len(self._losses) == len(self._generation):
            self._advance()

    def _advance(self) -> None:
        from pymoo.core.evaluator import Evaluator
        from pymoo.problems.static import StaticProblem

        done = [losses for losses in self._losses if losses is not None]
        generation = self._generation[[losses is not None for losses in self._losses]]
        values = {"F": np.array(done).reshape(len(done), self._problem.objectives)}
        if self._problem.limits:
            values["G"] = np.array([list(self._problem.excesses(losses).values()) for losses in done])
        Evaluator().eval(StaticProblem(self._numbers, **values), generation)
        self._algorithm.tell(infills=generation)
        self._generation = None
