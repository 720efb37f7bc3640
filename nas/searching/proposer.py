"""Proposing candidates with Optuna's ask and tell. The study is made again from rows, and never stored."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import TrialState

from nas.errors import NasError, RecipeError, raised_text
from nas.searching.screening import Verdict
from nas.searching.trials_in_memory import Trials, distribution
from nas.space.architecture import Architecture, Choice, Option
from nas.space.description import Describer
from nas.space.own_code import own_code
from nas.space.plug_ins import check_takes, load_plug_in
from nas.space.search_space import SearchSpace, mutate, sample, settle
from nas.values.pareto import ranks

ASKS = 12
"""Proposals of the sampler that may be turned away before candidates are drawn around the front instead."""
DRAWS = 400
MUTATED_SHARE = 0.7
POPULATION = 20
"""Trials in a generation of a genetic sampler that does not tell its own number."""
GENETIC = ("NSGAIISampler", "NSGAIIISampler")
EXPECTED = "expected_values"
"""A user attribute of a stopped trial: the losses that it would probably have had."""
SECONDS = "seconds"
"""A user attribute of a finished trial: how long its evaluation took."""


Prior = Callable[[Sequence[Architecture]], npt.NDArray[np.float64]]
"""A function that returns scores, shape (N,) or (N, S), of N architectures, which tell something of their errors.

Two attributes are optional. With ``higher_is_better`` True, architectures with higher scores are probably better.
``names``, of the S scores, let a run record and report how well they ranked what was evaluated.
"""


class SamplerMaker(Protocol):
    """Makes an Optuna sampler for a space; what an entry point in the group ``nas.samplers`` names.

    ``known`` maps the numbers of objectives to functions that return their values, shape (N,), without an evaluation.
    ``accept`` tells which of N architectures may be proposed, shape (N,). ``prior`` and ``weigh_time`` are as in
    ``Beforehand``. A maker ignores what it has no use for; its further arguments are options that a recipe can set. One
    that learns from a prior has an attribute ``takes_prior`` that is True.
    """

    def __call__(
        self,
        describer: Describer,
        *,
        seed: int,
        known: Mapping[int, Callable[[Sequence[Architecture]], npt.NDArray[np.float64]]],
        accept: Callable[[Sequence[Architecture]], npt.NDArray[np.bool_]],
        prior: Prior | None,
        weigh_time: bool,
        **options: Any,
    ) -> optuna.samplers.BaseSampler: ...


SAMPLER_ARGUMENTS = ("describer", "seed", "known", "accept", "prior", "weigh_time")
"""The arguments that a proposer gives to the maker of a sampler."""


def load_sampler(name: str) -> SamplerMaker:
    """Return the maker of the sampler registered as ``name``, or found at ``module:Name``.

    Raises:
        RecipeError: no such sampler (the nearest known name is given), or something that makes none.
    """
    maker: SamplerMaker = load_plug_in("nas.samplers", name, "sampler")  # type: ignore[assignment]
    check_takes(maker, name, "sampler", SAMPLER_ARGUMENTS[:1], SAMPLER_ARGUMENTS[1:])
    return maker


@dataclass(frozen=True)
class Told:
    """What is known of an evaluation that has ended.

    Attributes:
        architecture: the candidate.
        losses: the values of the objectives; None if it failed or was stopped.
        excesses: by limit, how far it is exceeded, relative to the limit.
        stopped: True if it was stopped early, which tells the sampler that it was worse than others.
        expected: the losses that a stopped evaluation would probably have had; ``excesses`` belong to them.
        seconds: the duration of a whole evaluation, where it is known.
    """

    architecture: Architecture
    losses: tuple[float, ...] | None
    excesses: Mapping[str, float]
    stopped: bool = False
    expected: tuple[float, ...] | None = None
    seconds: float | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """The user attributes of its trial."""
        expected = {} if self.expected is None else {EXPECTED: list(self.expected)}
        return expected if self.seconds is None else {**expected, SECONDS: self.seconds}


@dataclass(frozen=True, eq=False)
class Beforehand:
    """What is known of candidates before they are evaluated.

    Attributes:
        describer: counts the layers of architectures.
        costs: by the number of an objective, a function that returns its losses, shape (N,), of N architectures.
        prior: a function that returns scores, shape (N,) or (N, S), that tell something of the other objectives.
        weigh_time: True if time is short rather than evaluations: a longer evaluation must promise more.
    """

    describer: Describer
    costs: Mapping[int, Callable[[Sequence[Architecture]], npt.NDArray[np.float64]]] = field(default_factory=dict)
    prior: Prior | None = None
    weigh_time: bool = False


def make_sampler(
    name: str,
    options: Mapping[str, Any],
    beforehand: Beforehand,
    accept: Callable[[Sequence[Architecture]], npt.NDArray[np.bool_]],
    seed: int,
) -> optuna.samplers.BaseSampler:
    """Return the sampler called ``name``, made with a recipe's ``options``.

    Raises:
        RecipeError: no such sampler, it refuses an option, or it makes something else.
    """
    maker = load_sampler(name)
    try:
        with own_code():
            made = maker(
                beforehand.describer,
                seed=seed,
                known=beforehand.costs,
                accept=accept,
                prior=beforehand.prior,
                weigh_time=beforehand.weigh_time,
                **options,
            )
    except NasError:
        raise
    except Exception as error:
        raise RecipeError(f"the sampler {name!r} cannot be made with {dict(options)}: {raised_text(error)}") from error
    if not isinstance(made, optuna.samplers.BaseSampler):
        raise RecipeError(f"a sampler must be one of Optuna's, but {name!r} returned a {type(made).__name__}.")
    return made


@dataclass(frozen=True, repr=False)
class Proposal:
    """The next candidate, or None if no attempt gave one; and the verdicts on the way to it, in their order."""

    architecture: Architecture | None
    judged: Sequence[tuple[Architecture, Verdict]] = ()

    def __repr__(self) -> str:
        return f"Proposal of {self.architecture}, after {len(self.judged)} verdicts"


@final
class Proposer:
    """Asks an Optuna sampler for architectures that are new and that a judge accepts.

    ``seed`` and ``history`` decide everything: the same two give the same proposals. ``sampler`` names an entry point
    of the group ``nas.samplers``, and ``options`` go to its maker. Samplers that know the space also see what
    ``beforehand`` holds.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: int,
        sampler: str,
        *,
        seed: int,
        history: Sequence[Told],
        beforehand: Beforehand,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._space = space
        self._name = sampler
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._rng = np.random.default_rng((seed, len(history)))
        made = make_sampler(sampler, options or {}, beforehand, self._accepts, int(self._rng.integers(2**31)))
        self._population = int(getattr(made, "population_size", POPULATION))
        self._study = optuna.create_study(storage=Trials(), directions=["minimize"] * objectives, sampler=made)
        self._asked: dict[str, optuna.Trial] = {}
        self._known: dict[str, Told | None] = {}
        self._judge: Callable[[Architecture], Verdict] = lambda architecture: Verdict()
        self._judged: list[tuple[Architecture, Verdict]] = []
        self._taken: Collection[str] = ()
        self._accepted: set[Architecture] = set()
        self._fits = 0
        self._unbuildable: set[Architecture] = set()
        self._finished = 0
        for told in history:
            self.tell(told)

    def propose(
        self,
        judge: Callable[[Architecture], Verdict],
        taken: Collection[str] = (),
        starts: Sequence[Architecture] = (),
    ) -> Proposal:
        """Return the next candidate; None after a bounded number of attempts that were all taken or turned away.

        ``judge`` decides whether a candidate is trained. ``taken`` are ids that must not be proposed, beside those
        that were told or proposed before. ``starts`` are known to be accepted: while nothing that meets the limits has
        ended, candidates are sought around them.
        """
        self._judge, self._judged, self._taken = judge, [], taken
        architecture = self._ask() or self._draw(starts)
        return Proposal(architecture, tuple(self._judged))

    def _ask(self) -> Architecture | None:
        """Return a proposal of the sampler that is new and accepted, within ``ASKS`` attempts."""
        for _ in range(ASKS):
            trial, architecture = self._proposed()
            if self._is_new(architecture) and self._is_accepted(architecture):
                self._asked[architecture.id] = trial
                self._note_proposed(architecture)
                return architecture
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.tell(trial, state=TrialState.FAIL)
        return None

    def _proposed(self) -> tuple[optuna.Trial, Architecture]:
        """Return the sampler's next proposal. Raises RecipeError if the sampler fails."""
        try:
            trial = self._study.ask()
            return trial, settle(self._space, lambda choice: _suggest(trial, choice))
        except NasError:
            raise
        except Exception as error:
            raise RecipeError(f"the sampler {self._name!r} failed to propose: {raised_text(error)}") from error

    def _is_new(self, architecture: Architecture) -> bool:
        return (
            architecture.id not in self._known
            and architecture.id not in self._taken
            and architecture not in self._unbuildable
        )

    def _is_accepted(self, architecture: Architecture) -> bool:
        """Return the judge's answer. An architecture that was accepted once is not judged again."""
        if architecture in self._accepted:
            return True
        verdict = self._judge(architecture)
        self._judged.append((architecture, verdict))
        if verdict.failure is not None:
            self._unbuildable.add(architecture)
        if verdict.is_accepted:
            self._accepted.add(architecture)
        return verdict.is_accepted

    def note_fits(self, fits: int) -> None:
        """Judge what was accepted but not proposed yet once more, if predictors were fitted since the last note."""
        if fits != self._fits:
            self._accepted.clear()
        self._fits = fits

    def _accepts(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.bool_]:
        return np.array([self._is_new(each) and self._is_accepted(each) for each in architectures], dtype=np.bool_)

    def tell(self, told: Told) -> None:
        """Tell the sampler that an evaluation has ended, whoever proposed it."""
        self._known[told.architecture.id] = told
        finished, self._finished = self._finished, self._finished + (told.losses is not None)
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
        self._study.add_trial(self._trial_of(told, finished))

    def _trial_of(self, told: Told, finished: int) -> optuna.trial.FrozenTrial:
        """Return a trial that another proposer had asked for. ``finished`` trials came before it.

        Optuna's ``create_trial`` compares all distributions first, which takes most of the time of a long resume.
        """
        active = [choice for choice in self._space.choices if choice.name in told.architecture]
        now = datetime.now()
        trial = optuna.trial.FrozenTrial(
            number=-1,
            trial_id=-1,
            state=TrialState.PRUNED if told.losses is None else TrialState.COMPLETE,
            value=None,
            values=told.losses,
            datetime_start=now,
            datetime_complete=now,
            params={choice.name: told.architecture[choice.name] for choice in active},
            distributions={choice.name: distribution(choice) for choice in active},
            user_attrs=told.attributes,
            # Optuna's NSGA-II sees only trials with a generation, and gives one only to trials that it proposed.
            # Without this a rebuilt study would begin with a random generation, whatever it knows.
            system_attrs={f"{name}:generation": finished // self._population for name in GENETIC},
            intermediate_values={},
        )
        for name, excess in told.excesses.items():
            trial.set_constraint(name, excess)
        return trial

    def _draw(self, starts: Sequence[Architecture]) -> Architecture | None:
        """Return a new candidate near the best that meet the limits, or anywhere.

        This finds candidates where the feasible region is small.
        """
        parents = self._parents(starts)
        for _ in range(DRAWS):
            if parents and self._rng.random() < MUTATED_SHARE:
                architecture = parents[int(self._rng.integers(len(parents)))]
                for _ in range(int(self._rng.integers(1, 4))):
                    architecture = mutate(self._space, architecture, self._rng)
            else:
                architecture = sample(self._space, self._rng)
            if self._is_new(architecture) and self._is_accepted(architecture):
                self._note_proposed(architecture)
                return architecture
        return None

    def _note_proposed(self, architecture: Architecture) -> None:
        """Note that it is not new any more, so that nobody asks again if it is accepted."""
        self._known[architecture.id] = None
        self._accepted.discard(architecture)

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


def _suggest(trial: optuna.Trial, choice: Choice) -> Option:
    option = trial.suggest_categorical(choice.name, choice.options)
    assert option is not None
    return option
