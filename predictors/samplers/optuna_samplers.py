"""Makers of Optuna's own samplers, with the arguments that every sampler of ``nas`` is made with.

These samplers learn only from the study's trials. They have no use for known costs, ``accept``, a prior or times, and
may propose an architecture twice: whoever asks them turns such proposals away.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import optuna
from optuna.samplers import NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from nas.prediction.predictor import BoolArray
from nas.space.architecture import Architecture
from nas.space.description import Describer
from predictors.samplers.candidate_pool import KnownCosts
from predictors.samplers.prior_scores import Prior

POPULATION = 20
"""Architectures in a generation of NSGA-II and NSGA-III, unless a recipe gives another number."""
STARTUP_TRIALS = 10
"""Random architectures before TPE begins to learn, unless a recipe gives another number."""


def tpe(
    describer: Describer,
    *,
    seed: int,
    known: KnownCosts | None = None,
    accept: Callable[[Sequence[Architecture]], BoolArray] | None = None,
    prior: Prior | None = None,
    weigh_time: bool = False,
    startup_trials: int = STARTUP_TRIALS,
) -> TPESampler:
    """Return Optuna's tree-structured Parzen estimator, which models all choices jointly.

    The first ``startup_trials`` proposals are random. Source: Bergstra and others, "Algorithms for hyper-parameter
    optimization", 2011. Raises ValueError unless ``startup_trials`` is a whole number.
    """
    check_whole("startup_trials", startup_trials, least=0)
    with _experimental_allowed():
        return TPESampler(seed=seed, n_startup_trials=startup_trials, multivariate=True, group=True)


def nsga2(
    describer: Describer,
    *,
    seed: int,
    known: KnownCosts | None = None,
    accept: Callable[[Sequence[Architecture]], BoolArray] | None = None,
    prior: Prior | None = None,
    weigh_time: bool = False,
    population: int = POPULATION,
) -> NSGAIISampler:
    """Return Optuna's NSGA-II with ``population`` architectures a generation.

    Source: Deb and others, "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002.
    Raises ValueError unless ``population`` is at least 2.
    """
    check_whole("population", population, least=2)
    with _experimental_allowed():
        return NSGAIISampler(seed=seed, population_size=population)


def nsga3(
    describer: Describer,
    *,
    seed: int,
    known: KnownCosts | None = None,
    accept: Callable[[Sequence[Architecture]], BoolArray] | None = None,
    prior: Prior | None = None,
    weigh_time: bool = False,
    population: int = POPULATION,
) -> NSGAIIISampler:
    """Return Optuna's NSGA-III with ``population`` architectures a generation, for three or more objectives.

    Source: Deb and Jain, "An evolutionary many-objective optimization algorithm using reference-point-based
    nondominated sorting approach", 2014. Raises ValueError unless ``population`` is at least 2.
    """
    check_whole("population", population, least=2)
    with _experimental_allowed():
        return NSGAIIISampler(seed=seed, population_size=population)


def random(
    describer: Describer,
    *,
    seed: int,
    known: KnownCosts | None = None,
    accept: Callable[[Sequence[Architecture]], BoolArray] | None = None,
    prior: Prior | None = None,
    weigh_time: bool = False,
) -> RandomSampler:
    """Return Optuna's random sampler: every option of a choice is equally likely."""
    return RandomSampler(seed=seed)


def check_whole(name: str, value: object, least: int) -> None:
    """Check an option that a recipe gives. Raises ValueError unless it is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, but got {value!r}.")


@contextmanager
def _experimental_allowed() -> Iterator[None]:
    """Silence Optuna's warning that a sampler or an argument is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
