"""NePS' PriMO (Basu et al. 2025): Bayesian optimisation of random weighted sums, with a prior for each objective.

NePS 0.17 needs pandas below 3 and one version of gpytorch, so that it needs an environment of its own:

    python -m venv primo; primo/bin/python -m pip install neural-pipeline-search==0.17.0
    NAS_PRIMO_PYTHON=primo/bin/python python -m experiments.compare_searchers --searchers gp,primo …
"""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from experiments.search_problem import Problem
from experiments.search_tasks import FloatArray
from experiments.searchers.searcher import SHORT_PATIENCE, Patience, random_architecture
from nas.errors import RecipeError
from nas.line_process import LineProcess
from nas.space.architecture import Architecture
from nas.space.listing import HasListing

CONFIDENCE = 0.75
"""How far PriMO trusts a prior, from 0 to 1."""
DRAWN = 2000
"""Of a space that lists no architectures, priors are the best of this many random ones."""
WITHIN_S = 600.0
"""No proposal takes longer."""


@final
class PrimoProcess:
    """NePS, in its own process. It ends with the object.

    ``centers`` holds a prior for each objective, the indexes of the options that are believed to be good. With
    ``epochs``, PriMO begins by successive halving of trainings of so many epochs; without, all evaluations are whole.
    """

    def __init__(
        self,
        python: str,
        seed: int,
        choices: Mapping[str, int],
        *,
        centers: Mapping[str, Mapping[str, int]] | None = None,
        epochs: int | None = None,
    ) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        program = Path(__file__).with_name("primo_process.py")
        self._process = LineProcess([python, str(program)], environment)
        told = {"choices": choices, "centers": centers or {}, "confidence": CONFIDENCE, "epochs": epochs}
        self._answer({"seed": seed, **told})

    def ask(self) -> dict[str, Any]:
        """Return the next ``trial``, the indexes of its options as ``config``, and its ``epochs``."""
        return self._answer({"ask": True})

    def tell(self, trial: str, losses: Sequence[float]) -> None:
        """Report the losses of a trial."""
        self._answer({"tell": trial, "losses": list(losses)})

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._process.send(request)
            line = self._process.line(WITHIN_S)
        except (BrokenPipeError, queue.Empty):
            line = ""
        if not line:
            raise RecipeError(f"NePS ended, or gave no answer in {WITHIN_S:.0f} s; what it said stands above.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self._process.end()


@final
class PrimoSearcher:
    """PriMO over the indexes of the options, with its own defaults. It knows no limits, and no known costs but these.

    Its prior for an objective is a single architecture, the best by what is known beforehand: the table's first prior,
    and each known cost. PriMO adds objectives as they are, so that errors are given as shares and costs relative to the
    largest known one, or to the first seen. A failed proposal gets the worst losses seen.
    """

    def __init__(self, problem: Problem, seed: int, python: str) -> None:
        self._problem = problem
        self._patience = Patience(problem, seed, SHORT_PATIENCE)
        self._choices = {choice.name: choice for choice in problem.space.choices if len(choice.options) > 1}
        self._trial: Any = None
        self._worst: FloatArray = np.zeros(problem.objectives)
        known = _some_architectures(problem, seed)
        costs = problem.known_costs(known) if problem.is_informed else None
        self._scales: FloatArray | None = None if costs is None else np.array([100.0, *costs.max(axis=0)])
        counts = {name: len(choice.options) for name, choice in self._choices.items()}
        self._primo = PrimoProcess(python, seed, counts, centers=self._centers(known, costs))

    def _centers(self, known: list[Architecture], costs: FloatArray | None) -> dict[str, dict[str, int]]:
        """Return for each objective the architecture that is the best by what is known beforehand."""
        best: dict[str, Architecture] = {}
        if self._problem.prior is not None:
            values = self._problem.prior(known)[:, 0]
            best["error"] = known[int(np.nanargmax(values))]
        if costs is not None:
            best |= {f"cost{n}": known[int(column.argmin())] for n, column in enumerate(costs.T)}
        return {objective: self._numbers(architecture) for objective, architecture in best.items()}

    def _numbers(self, architecture: Architecture) -> dict[str, int]:
        return {
            name: choice.options.index(architecture[name]) if name in architecture else 0
            for name, choice in self._choices.items()
        }

    def propose(self) -> Architecture | None:
        """Return PriMO's next architecture, or a random one if PriMO is stuck."""
        replacement = self._patience.replacement()
        if replacement is not None:
            self._trial = None
            return replacement
        found = self._primo.ask()
        self._trial = found["trial"]
        return self._problem.composed(lambda choice: choice.options[found["config"].get(choice.name, 0)])

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Report the losses of the last proposal to PriMO, unless that proposal was a random one."""
        self._patience.tell(architecture, losses)
        told = self._worst if losses is None else self._scaled(losses)
        self._worst = np.maximum(self._worst, told)
        if self._trial is not None:
            self._primo.tell(self._trial, told.tolist())

    def _scaled(self, losses: tuple[float, ...]) -> FloatArray:
        if self._scales is None:
            self._scales = np.array([100.0, *losses[1:]])
        scaled: FloatArray = np.array(losses) / self._scales
        return scaled


def _some_architectures(problem: Problem, seed: int) -> list[Architecture]:
    """Return all architectures of a space that lists them, else some random ones."""
    if isinstance(problem.space, HasListing):
        return list(problem.space.listing.architectures)
    rng = np.random.default_rng(seed)
    return [random_architecture(problem, rng) for _ in range(DRAWN)]
