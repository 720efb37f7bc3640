"""The searchers that are compared: ours, and those of others, each behind ``propose`` and ``tell``.

Ours evaluates the network that stands for all its twins; the others evaluate what they propose as it is written,
unless twins are joined for all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, final

import numpy as np
import optuna
from optuna.trial import TrialState

from experiments.search_tasks import FloatArray, Problem
from nas.errors import RecipeError, did_you_mean
from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import settle

POPULATION = 20
"""Of the evolutionary searchers; that of 50, Optuna's default, is two generations of 100 evaluations."""
FIRST, FIRST_INFORMED = 10, 5
"""So many random architectures come before local search, fewer where costs are known; 1, 5 or 10 do no better."""
DRAWS = 1000
"""So often local search looks for something at random that it has not seen."""
PATIENCE = 50
"""So many proposals of Optuna's samplers one after another may fail or have come before."""
SHORT_PATIENCE = 5
"""The same for Ax and Syne Tune, of which some take seconds to propose what came before."""


class Searcher(Protocol):
    """Proposes one architecture at a time and is told of each before it proposes another."""

    def propose(self) -> Architecture | None:
        """The next one, which may have come before; None when the searcher has come to its end."""
        ...

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """What came of the last proposal: its losses, shape (M,), or None where it failed."""
        ...


def make_searcher(name: str, problem: Problem, seed: int) -> Searcher:
    """A searcher that knows nothing but ``problem``; the same seed makes the same proposals.

    Raises:
        RecipeError: an unknown name, or a package that is not installed.
    """
    check_searcher(name)
    return _MAKERS[name](problem, seed)


def check_searcher(name: str) -> None:
    """Raises RecipeError for an unknown name, and where a package is not installed."""
    if name not in _MAKERS:
        raise RecipeError(f"unknown searcher {name!r}. {did_you_mean(name, _MAKERS)}")
    for package, extra in _PACKAGES.get(name, ()):
        if find_spec(package) is None:
            raise RecipeError(
                f"the searcher {name!r} needs the package {package}, which is not installed: "
                f"pip install --editable '.[{extra}]' installs it."
            )


def drawn(problem: Problem, rng: np.random.Generator) -> Architecture:
    """Each active choice uniform over its options."""
    return problem.composed(lambda choice: choice.options[int(rng.integers(len(choice.options)))])


@final
class Patience:
    """Helps a searcher that is stuck: after ``most`` proposals of no use one is drawn at random instead."""

    def __init__(self, problem: Problem, seed: int, most: int = PATIENCE) -> None:
        self._problem = problem
        self._most = most
        self._rng = np.random.default_rng(seed)
        self._seen: set[Architecture] = set()
        self._useless = 0

    def instead(self) -> Architecture | None:
        """What comes instead of the searcher's own proposal; None while patience lasts."""
        if self._useless < self._most:
            return None
        self._useless = 0
        return drawn(self._problem, self._rng)

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """What came of the last proposal: its losses, shape (M,), or None where it failed."""
        self._useless = self._useless + 1 if losses is None or architecture in self._seen else 0
        self._seen.add(architecture)


@final
class RandomSearcher:
    """Each active choice uniform over its options, whatever is known."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)

    def propose(self) -> Architecture:
        return drawn(self._problem, self._rng)

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        pass


@final
class OptunaSearcher:
    """A study with a sampler. ``joins_twins``: what it proposes is evaluated in canonical form, also where others'
    is evaluated as it is written.

    Samplers can get stuck, as TPE does on what failed, of which it learns nothing: then, after ``PATIENCE`` proposals
    of no use, one is drawn at random.
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
        self._trial: optuna.Trial | None = None
        self._patience = Patience(problem, seed)

    def propose(self) -> Architecture:
        instead = self._patience.instead()
        if instead is not None:
            self._study.enqueue_trial(dict(instead))
        self._trial = trial = self._study.ask()
        if instead is not None and isinstance(self._study.sampler, optuna.samplers.NSGAIISampler):
            trial.relative_params  # noqa: B018  # only who is asked for them gives a trial its generation
        if self._joins_twins:
            return settle(self._problem.space, lambda choice: suggest(trial, choice))
        return self._problem.composed(lambda choice: suggest(trial, choice))

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        assert self._trial is not None, "told of what was not proposed"
        self._patience.tell(architecture, losses)
        if losses is None:
            self._study.tell(self._trial, state=TrialState.FAIL)
            return
        for name, excess in self._problem.excesses(losses).items():
            self._trial.set_constraint(name, excess)
        self._study.tell(self._trial, list(losses))


def suggest(trial: optuna.Trial, choice: Choice) -> Option:
    """An option of a choice, as a categorical parameter of a trial."""
    option = trial.suggest_categorical(choice.name, choice.options)
    assert option is not None
    return option


def _gp(problem: Problem, seed: int) -> Searcher:
    """Ours: costs that are known beforehand are used, and what breaks a limit is not proposed."""
    from predictors.surrogate_sampler import SurrogateSampler

    known: dict[int, Callable[[Sequence[Architecture]], FloatArray]] = {}
    if problem.is_informed:
        known = {index: _cost(problem, index - 1) for index in range(1, problem.objectives)}
    sampler = SurrogateSampler(problem.describer, seed=seed, known=known, accept=problem.acceptable)
    return OptunaSearcher(problem, seed, sampler, joins_twins=True)


def _cost(problem: Problem, index: int) -> Callable[[Sequence[Architecture]], FloatArray]:
    return lambda architectures: problem.known_costs(architectures)[:, index]


def _optuna(make: Callable[[int], optuna.samplers.BaseSampler]) -> Callable[[Problem, int], Searcher]:
    def searcher(problem: Problem, seed: int) -> Searcher:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return OptunaSearcher(problem, seed, make(seed))

    return searcher


@dataclass(frozen=True)
class _Found:
    """What local search knows of an architecture; ``excess`` is 0 where all limits hold."""

    architecture: Architecture
    losses: tuple[float, ...]
    excess: float

    def dominates(self, other: _Found) -> bool:
        """The one that is nearer to its limits does; where both meet them, the one with lower losses."""
        if self.excess != other.excess:
            return self.excess < other.excess
        return self.losses != other.losses and all(a <= b for a, b in zip(self.losses, other.losses, strict=True))


@final
class LocalSearcher:
    """Pareto local search, as Den Ottelander et al. (2021, arXiv:2004.08996) found it a strong baseline.

    After a few random architectures it evaluates a neighbour, drawn at random, of a random one of those that none
    dominates, and something at random where no neighbours are left. Where costs are known beforehand it passes over
    neighbours that break a limit, and those that would be dominated even with their parent's error.

    One neighbour at a time, for with all 24 of a cell of NAS-Bench-201 one after another it is at 92.6 % of the
    hypervolume after 50 evaluations, not 94.4 % (six targets, 20 seeds).
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)
        self._first = FIRST_INFORMED if problem.is_informed else FIRST
        self._seen: set[Architecture] = set()
        self._front: list[_Found] = []
        self._around: dict[Architecture, list[Architecture]] = {}

    def propose(self) -> Architecture | None:
        found = self._neighbour() if len(self._seen) >= self._first else None
        found = found or self._by_chance()
        if found is not None:
            self._seen.add(found)
        return found

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        if losses is None:
            return
        excess = sum(max(0.0, each) for each in self._problem.excesses(losses).values())
        found = _Found(architecture, losses, excess)
        if not any(each.dominates(found) for each in self._front):
            self._front = [each for each in self._front if not found.dominates(each)] + [found]

    def _neighbour(self) -> Architecture | None:
        for place in self._rng.permutation(len(self._front)):
            parent = self._front[place]
            left = self._neighbours_left(parent.architecture)
            while left:
                architecture = left.pop()
                if architecture not in self._seen and self._promises(architecture, parent):
                    return architecture
        return None

    def _neighbours_left(self, architecture: Architecture) -> list[Architecture]:
        """Those that were not drawn before, in random order; what is taken from the list is not in it again."""
        if architecture not in self._around:
            around = list(neighbours_of(self._problem, architecture))
            self._around[architecture] = [around[index] for index in self._rng.permutation(len(around))]
        return self._around[architecture]

    def _promises(self, architecture: Architecture, parent: _Found) -> bool:
        if not self._problem.acceptable([architecture])[0]:
            return False
        if not self._problem.is_informed:
            return True
        costs = self._problem.known_costs([architecture])[0].tolist()
        hoped = _Found(architecture, (parent.losses[0], *costs), 0.0)
        return not any(each.dominates(hoped) for each in self._front)

    def _by_chance(self) -> Architecture | None:
        for _ in range(DRAWS):
            architecture = drawn(self._problem, self._rng)
            if architecture not in self._seen and self._problem.acceptable([architecture])[0]:
                return architecture
        return None


def neighbours_of(problem: Problem, architecture: Architecture) -> Iterator[Architecture]:
    """All that have one active choice changed, twins included unless they are joined.

    Newly activated choices take their first option.
    """
    for changed in problem.space.choices:
        if changed.name not in architecture:
            continue
        for option in changed.options:
            if option != architecture[changed.name]:
                values = {**architecture, changed.name: option}
                yield problem.composed(lambda choice, values=values: values.get(choice.name, choice.options[0]))  # type: ignore[misc]


@final
class PymooSearcher:
    """pymoo's NSGA-II on the numbers of the options, with its operators for integers; a generation at a time.

    What failed is left out of its generation, for pymoo knows no failures.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        from pymoo.config import Config

        Config.warnings["not_compiled"] = False  # else it prints how to install itself
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


def _ax(problem: Problem, seed: int) -> Searcher:
    from experiments.ax_searcher import AxSearcher

    return AxSearcher(problem, seed)


def _syne_tune_evolution(problem: Problem, seed: int) -> Searcher:
    from experiments.syne_tune_searcher import SyneTuneSearcher, evolution

    return SyneTuneSearcher(problem, seed, evolution)


def _syne_tune_improvement(problem: Problem, seed: int) -> Searcher:
    from experiments.syne_tune_searcher import SyneTuneSearcher, hypervolume_improvement

    return SyneTuneSearcher(problem, seed, hypervolume_improvement)


_MAKERS: dict[str, Callable[[Problem, int], Searcher]] = {
    "gp": _gp,
    "random": RandomSearcher,
    "tpe": _optuna(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "tpe-multivariate": _optuna(lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True)),
    "nsga2": _optuna(lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)),
    "optuna-gp": _optuna(lambda seed: optuna.samplers.GPSampler(seed=seed)),
    "pymoo-nsga2": PymooSearcher,
    "local": LocalSearcher,
    "syne-tune-evolution": _syne_tune_evolution,
    "syne-tune-ehvi": _syne_tune_improvement,
    "ax": _ax,
}
_PACKAGES = {
    "pymoo-nsga2": (("pymoo", "compare"),),
    "syne-tune-evolution": (("syne_tune", "compare-peers"),),
    "syne-tune-ehvi": (("syne_tune", "compare-peers"), ("botorch", "compare-peers")),
    "ax": (("ax", "compare-peers"),),
}
"""Packages that a searcher needs, each with the extra that has it."""
SEARCHERS = tuple(_MAKERS)
DEFAULT_SEARCHERS = ("gp", "tpe", "tpe-multivariate", "nsga2", "local", "random")
