"""Makes a searcher from its name, and checks that the packages of a searcher are installed."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from shutil import which

import optuna

from experiments.search_problem import Problem
from experiments.searchers.local_search import LocalSearcher
from experiments.searchers.optuna_searcher import gp_searcher, searcher_of
from experiments.searchers.planned_family import PLANNED
from experiments.searchers.pymoo_searcher import PymooSearcher
from experiments.searchers.random_search import RandomSearcher
from experiments.searchers.searcher import POPULATION, Searcher
from nas.errors import RecipeError, did_you_mean

PRIMO_PYTHON = "NAS_PRIMO_PYTHON"
"""The variable that names the Python of PriMO's own environment."""


def make_searcher(name: str, problem: Problem, seed: int) -> Searcher:
    """Make a searcher that knows nothing but ``problem``; the same seed gives the same proposals.

    Raises:
        RecipeError: an unknown name, or a package that is not installed.
    """
    check_searcher(name)
    return _MAKERS[name](problem, seed)


def check_searcher(name: str) -> None:
    """Raise RecipeError if a searcher is unknown, or needs a package that is not installed."""
    if name not in _MAKERS:
        raise RecipeError(f"unknown searcher {name!r}. {did_you_mean(name, _MAKERS)}")
    for package, extra in _PACKAGES.get(name, ()):
        if find_spec(package) is None:
            raise RecipeError(
                f"the searcher {name!r} needs the package {package}, which is not installed: "
                f"pip install --editable '.[{extra}]' installs it."
            )
    if name == "primo" and which(os.environ.get(PRIMO_PYTHON, "")) is None:
        raise RecipeError(
            f"the searcher 'primo' needs an environment of its own, because NePS clashes with pandas 3: make it by "
            f"python -m venv primo and primo/bin/pip install neural-pipeline-search==0.17.0, and set {PRIMO_PYTHON} to "
            f"primo/bin/python; it is {os.environ.get(PRIMO_PYTHON, '')!r}."
        )


def _ax(problem: Problem, seed: int) -> Searcher:
    from experiments.searchers.ax_searcher import AxSearcher

    return AxSearcher(problem, seed)


def _primo(problem: Problem, seed: int) -> Searcher:
    from experiments.searchers.primo_searcher import PrimoSearcher

    return PrimoSearcher(problem, seed, os.environ[PRIMO_PYTHON])


def _syne_tune_evolution(problem: Problem, seed: int) -> Searcher:
    from experiments.searchers.syne_tune_searcher import SyneTuneSearcher, evolution

    return SyneTuneSearcher(problem, seed, evolution)


def _syne_tune_improvement(problem: Problem, seed: int) -> Searcher:
    from experiments.searchers.syne_tune_searcher import SyneTuneSearcher, hypervolume_improvement

    return SyneTuneSearcher(problem, seed, hypervolume_improvement)


_MAKERS: dict[str, Callable[[Problem, int], Searcher]] = {
    "gp": gp_searcher,
    "random": RandomSearcher,
    "tpe": searcher_of(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "tpe-multivariate": searcher_of(lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True)),
    "nsga2": searcher_of(lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)),
    "optuna-gp": searcher_of(lambda seed: optuna.samplers.GPSampler(seed=seed)),
    "pymoo-nsga2": PymooSearcher,
    "local": LocalSearcher,
    "syne-tune-evolution": _syne_tune_evolution,
    "syne-tune-ehvi": _syne_tune_improvement,
    "ax": _ax,
    "primo": _primo,
    **PLANNED,
}
_PACKAGES = {
    "pymoo-nsga2": (("pymoo", "compare"),),
    "syne-tune-evolution": (("syne_tune", "compare-peers"),),
    "syne-tune-ehvi": (("syne_tune", "compare-peers"), ("botorch", "compare-peers")),
    "ax": (("ax", "compare-peers"),),
}
"""The packages that a searcher needs, each with the extra of this project that installs it."""
SEARCHERS = tuple(_MAKERS)
IN_FLIGHT = ("gp", "random", "tpe", "tpe-multivariate", "nsga2", "optuna-gp")
"""The searchers that may be asked again before the last proposal was evaluated."""
DEFAULT_SEARCHERS = ("gp", "tpe", "tpe-multivariate", "nsga2", "local", "random")
