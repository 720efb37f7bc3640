"""Proposing candidates by Optuna's ask and tell; the study is rebuilt from rows, never stored."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import TrialState

from nas.space.architecture import Architecture, Choice, Option
from nas.space.description import Describer
from nas.space.plug_ins import load_plug_in
from nas.space.search_space import SearchSpace, mutate, sample, settle
from nas.values.pareto import ranks

SamplerName = Literal["gp", "tpe", "nsga2", "nsga3", "local", "random"]
OWN_SAMPLERS = ("gp", "local")
"""Those found by entry point, which know the space, and what is known of it beforehand."""
LEARNING_SAMPLERS = ("gp",)
"""Those of them that have a use for a prior, and for times."""

ASKS = 12
"""Proposals of the sampler that may be turned away before candidates are drawn around the front instead."""
DRAWS = 400
MUTATED_SHARE = 0.7
POPULATION = 20
"""Size of a generation of NSGA-II and NSGA-III."""
GENETIC = ("NSGAIISampler", "NSGAIIISampler")
EXPECTED = "expected_values"
"""A stopped trial's user attribute: the losses that it would probably have had."""
SECONDS = "seconds"
"""A finished trial's user attribute: how long its evaluation took."""


@dataclass(frozen=True)
class Told:
    """What is known of a finished evaluation: ``losses`` of the objectives, and how far each limit is exceeded.

    Without ``losses`` it failed, or was ``stopped`` early, which tells the sampler that it was worse than others;
    ``expected`` are then the losses that it would probably have had in the end, and ``excesses`` go with them.
    ``seconds`` is how long a whole evaluation took, where that is known.
    """

    architecture: Architecture
    losses: tuple[float, ...] | None
    excesses: Mapping[str, float]
    stopped: bool = False
    expected: tuple[float, ...] | None = None
    seconds: float | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """What a trial has beside its losses, as user attributes."""
        expected = {} if self.expected is None else {EXPECTED: list(self.expected)}
        return expected if self.seconds is None else {**expected, SECONDS: self.seconds}


@dataclass(frozen=True, eq=False)
class Beforehand:
    """What is known of candidates before they are evaluated.

    ``costs`` maps the numbers of objectives to functions that give their losses, shape (N,), of N architectures.
    ``prior`` gives scores, shape (N,) or (N, S), that tell something of the other objectives. With ``weigh_time`` it is
    time that is short, not evaluations: what takes longer must promise more.
    """

    describer: Describer
    costs: Mapping[int, Callable[[Sequence[Architecture]], npt.NDArray[np.float64]]] = field(default_factory=dict)
    prior: Callable[[Sequence[Architecture]], npt.NDArray[np.float64]] | None = None
    weigh_time: bool = False


@final
class Proposer:
    """Asks an Optuna sampler for architectures that are new and that ``accept`` lets through.

    ``seed`` and ``history`` decide everything: the same two give the same proposals. Samplers of ``OWN_SAMPLERS`` look
    for what ``beforehand`` tells.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: int,
        sampler: SamplerName,
        *,
        seed: int,
        history: Sequence[Told],
        beforehand: Beforehand,
    ) -> None:
        self._space = space
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._rng = np.random.default_rng((seed, len(history)))
        sampler_seed = int(self._rng.integers(2**31))
        self._study = optuna.create_study(
            directions=["minimize"] * objectives,
            sampler=self._own_sampler(sampler, beforehand, sampler_seed)
            if sampler in OWN_SAMPLERS
            else _sampler(sampler, sampler_seed),
        )
        self._asked: dict[str, optuna.Trial] = {}
        self._known: dict[str, Told | None] = {}
        self._accept: Callable[[Architecture], bool] = lambda architecture: True
        self._taken: Collection[str] = ()
        self._accepted: set[Architecture] = set()
        for told in history:
            self.tell(told)

    def propose(
        self,
        accept: Callable[[Architecture], bool],
        taken: Collection[str] = (),
        starts: Sequence[Architecture] = (),
    ) -> Architecture | None:
        """The next candidate, or None when every attempt, their number being bounded, was taken or not accepted.

        ``accept`` says whether a candidate probably meets the limits. ``taken`` are ids that must not come again
        beside those that were told or proposed before. ``starts`` are known to be accepted: candidates are sought
        around them while nothing that meets the limits has ended.
        """
        self._accept, self._taken = accept, taken
        for _ in range(ASKS):
            trial = self._study.ask()
            architecture = settle(self._space, lambda choice, trial=trial: _suggest(trial, choice))  # type: ignore[misc]
            if self._is_new(architecture) and self._is_accepted(architecture):
                self._asked[architecture.id] = trial
                self._known[architecture.id] = None
                return architecture
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.tell(trial, state=TrialState.FAIL)
        return self._draw(starts)

    def _is_new(self, architecture: Architecture) -> bool:
        return architecture.id not in self._known and architecture.id not in self._taken

    def _is_accepted(self, architecture: Architecture) -> bool:
        """What was let through once, as a sampler of our own asks beforehand, is not asked about again."""
        if architecture in self._accepted:
            return True
        if self._accept(architecture):
            self._accepted.add(architecture)
            return True
        return False

    def _own_sampler(self, name: str, beforehand: Beforehand, seed: int) -> optuna.samplers.BaseSampler:
        def accept(architectures: Sequence[Architecture]) -> npt.NDArray[np.bool_]:
            return np.array([self._is_new(each) and self._is_accepted(each) for each in architectures], dtype=np.bool_)

        made = load_plug_in("nas.samplers", name, "sampler")
        assert callable(made)
        learning: dict[str, Any] = {}
        if name in LEARNING_SAMPLERS:
            learning = {"prior": beforehand.prior, "weigh_time": beforehand.weigh_time}
        sampler: optuna.samplers.BaseSampler = made(
            beforehand.describer, seed=seed, known=beforehand.costs, accept=accept, **learning
        )
        return sampler

    def tell(self, told: Told) -> None:
        """Report the end of an evaluation, whoever proposed it."""
        self._known[told.architecture.id] = told
        trial = self._asked.pop(told.architecture.id, None)
        if trial is not None:
            for name, excess in told.excesses.items():
                trial.set_constraint(name, excess)
            for name, value in told.attributes.items():
                trial.set_user_attr(name, value)
            if told.losses is None:
                self._study.tell(trial, state=TrialState.PRUNED if told.stopped else TrialState.FAIL)
            else:
                self._study.tell(trial, list(told.losses))
            return
        if told.losses is None and not told.stopped:
            return
        finished = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        active = [choice for choice in self._space.choices if choice.name in told.architecture]
        self._study.add_trial(
            optuna.trial.create_trial(
                params={choice.name: told.architecture[choice.name] for choice in active},
                distributions={choice.name: _distribution(choice) for choice in active},
                state=TrialState.PRUNED if told.losses is None else TrialState.COMPLETE,
                values=told.losses,
                constraints=dict(told.excesses),
                user_attrs=told.attributes,
                # Optuna's NSGA-II sees only trials with a generation, which it gives to those alone that it was asked
                # for. Without this a rebuilt study would begin with twenty random candidates, however much it knows.
                system_attrs={f"{name}:generation": len(finished) // POPULATION for name in GENETIC},
            )
        )

    def _draw(self, starts: Sequence[Architecture]) -> Architecture | None:
        """A new candidate near the best that meet the limits, or anywhere: the way out of a small feasible region."""
        parents = self._parents(starts)
        for _ in range(DRAWS):
            if parents and self._rng.random() < MUTATED_SHARE:
                architecture = parents[int(self._rng.integers(len(parents)))]
                for _ in range(int(self._rng.integers(1, 4))):
                    architecture = mutate(self._space, architecture, self._rng)
            else:
                architecture = sample(self._space, self._rng)
            if self._is_new(architecture) and self._is_accepted(architecture):
                self._known[architecture.id] = None
                return architecture
        return None

    def _parents(self, starts: Sequence[Architecture]) -> list[Architecture]:
        finished = [told for told in self._known.values() if told is not None and told.losses is not None]
        feasible = [told for told in finished if all(excess <= 0 for excess in told.excesses.values())]
        if not feasible and starts:
            return list(starts)
        pool = feasible or finished
        if not pool:
            return []
        order = ranks(np.asarray([told.losses for told in pool], dtype=np.float64))
        return [told.architecture for told, rank in zip(pool, order, strict=True) if rank <= 1]


def _sampler(name: SamplerName, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
        if name == "nsga3":
            return optuna.samplers.NSGAIIISampler(seed=seed, population_size=POPULATION)
        return optuna.samplers.RandomSampler(seed=seed)


def _suggest(trial: optuna.Trial, choice: Choice) -> Option:
    option = trial.suggest_categorical(choice.name, choice.options)
    assert option is not None
    return option


def _distribution(choice: Choice) -> optuna.distributions.CategoricalDistribution:
    return optuna.distributions.CategoricalDistribution(choice.options)
