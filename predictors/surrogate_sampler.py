"""A sampler for any Optuna study: what adds most to the front, by what is known and what is believed.

Costs that are known beforehand are taken as they are, so that only the other objectives, such as the error, are
uncertain. Candidates are neighbours of the front and random architectures. The one is proposed that would add the most
hypervolume if its uncertain objectives were so many standard deviations better than expected, that number going round
over ``OPTIMISM``: the upper-confidence-bound form of hypervolume improvement (Emmerich and others, 2006; Ponweiser and
others, "Multiobjective optimization on a limited budget of evaluations using model-assisted S-metric selection", 2008).
What still runs counts with what is expected of it, so that workers get different proposals. Where nothing promises an
improvement the nearest to one is proposed, which comes to local search around the front.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.architecture import Architecture
from nas.description import Describer
from nas.pareto import IntArray, non_dominated, ranks
from nas.predictor import BoolArray, FloatArray
from nas.search_space import architecture_from, sample
from nas.spreading import medoids
from predictors.candidate_pool import CandidatePool, KnownCosts
from predictors.error_surrogate import Surrogate
from predictors.improvement import Outlook, Preference

OPTIMISM = (0.0, 0.5, 1.0, 1.5)
FIRST = 5
"""So many architectures that stand for the space come before anything is believed."""
FIRST_FROM = 300
MOST_BEST, MOST_OTHERS = 300, 100
"""A surrogate learns from so many of the best by Pareto rank, and so many drawn from the others."""
BATCH_SHARE = 0.03
"""Proposals that are chosen together, as a share of what was evaluated, so that what each costs stays the same."""
ORDERS = 8
"""So often candidates are put in order for one batch."""


@final
class SurrogateSampler(optuna.samplers.BaseSampler):
    """Proposes architectures of the space of ``describer`` by one categorical parameter for each of its choices.

    ``known`` maps the numbers of objectives to functions that give their losses, shape (N,), of N architectures
    beforehand (what is to be maximised negated); at least one objective must be left. ``accept`` says which of N architectures may be proposed, shape
    (N,), and is asked in the order of preference; what it refuses is not proposed later either. Trials with constraints
    above 0 are learned from, but are no part of the front; improvements count by how probably constraints are met.

    ``seed`` and the study's trials decide what is proposed. Architectures that were asked for, by whomever and however
    they ended, do not come again while there are others.
    """

    def __init__(
        self,
        describer: Describer,
        *,
        seed: int,
        known: KnownCosts | None = None,
        accept: Callable[[Sequence[Architecture]], BoolArray] | None = None,
    ) -> None:
        self._space = describer.space
        self._known: KnownCosts = dict(known or {})
        self._accept = accept
        self._rng = np.random.default_rng(seed)
        self._pool = CandidatePool(describer, self._known, self._rng)
        self._planned: deque[Architecture] = deque()
        self._seen: set[int] = set()
        self._running: dict[int, Architecture] = {}
        self._architectures: list[Architecture] = []
        self._losses: list[tuple[float, ...]] = []
        self._excesses: list[Mapping[str, float]] = []
        self._surrogates: dict[int, Surrogate] = {}
        self._limits: dict[str, Surrogate] = {}
        self._learned_from = 0
        self._turn = 0

    # What Optuna asks

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {choice.name: CategoricalDistribution(choice.options) for choice in self._space.choices}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._read(study, trial.number)
        architecture = self._next(len(study.directions))
        self._pool.take(architecture)
        self._running[trial.number] = architecture
        return dict(architecture)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A choice that the proposal does not have, or a parameter that the space does not have: at random."""
        return optuna.samplers.RandomSampler(int(self._rng.integers(2**31))).sample_independent(
            study, trial, param_name, param_distribution
        )

    # What it knows

    def _read(self, study: optuna.Study, asking: int) -> None:
        """Take in the trials that have ended, or that others have asked for, since the last time."""
        signs = np.array([1 if d == optuna.study.StudyDirection.MINIMIZE else -1 for d in study.directions])
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._seen or trial.number == asking or not trial.state.is_finished():
                continue
            self._seen.add(trial.number)
            proposed = self._running.pop(trial.number, None)
            architecture = self._architecture_of(trial) or proposed
            if architecture is None:
                continue
            self._pool.take(architecture)
            if trial.state != TrialState.COMPLETE or not self._pool.is_fit(architecture):
                continue
            losses = signs * np.array(trial.values, dtype=np.float64)
            if not np.isfinite(losses).all():
                continue
            self._architectures.append(architecture)
            self._losses.append(tuple(losses))
            self._excesses.append(trial.constraints or {})

    def _architecture_of(self, trial: FrozenTrial) -> Architecture | None:
        try:
            return architecture_from(self._space, trial.params)
        except ValueError:  # it ended before it was asked for all choices
            return None

    # What it proposes

    def _next(self, objectives: int) -> Architecture:
        uncertain = [index for index in range(objectives) if index not in self._known]
        if not uncertain:
            raise ValueError("at least one objective must not be known beforehand, but all are.")
        while True:
            while self._planned:
                architecture = self._planned.popleft()
                if not self._pool.is_taken(architecture):
                    return architecture
            candidates = self._pool.candidates(self._front)
            begins = len(self._losses) < FIRST
            self._planned.extend(self._first(candidates) if begins else self._plan(candidates, uncertain))
            if not self._planned:
                return sample(self._space, self._rng)  # nothing is left that is new and accepted

    def _first(self, candidates: Sequence[Architecture]) -> Iterator[Architecture]:
        """Architectures that stand for the space, those with the least and the most work among them."""
        candidates = [a for a in candidates[:FIRST_FROM] if self._is_accepted(a)]
        if not candidates:
            return
        inputs = self._pool.inputs(candidates)
        features = np.hstack(list(inputs.blocks.values()))
        work = self._pool.costs(candidates)[:, 0] if self._known else inputs.blocks["graph_logs"][:, 0]
        begun = len(self._losses) + len(self._running)
        ends = () if begun else (int(np.argmin(work)), int(np.argmax(work)))
        for index in medoids(features, max(1, FIRST - begun), self._rng, ends):
            yield candidates[index]

    def _plan(self, candidates: Sequence[Architecture], uncertain: Sequence[int]) -> Iterator[Architecture]:
        """The next proposals; each counts on those before it."""
        if not candidates:
            return
        losses = np.array(self._losses)
        self._learn(losses, uncertain)
        preference = Preference(self._outlook(candidates), losses, losses[self._front_places])
        running = [architecture for architecture in self._running.values() if self._pool.is_fit(architecture)]
        if running:
            preference.expect_losses(self._outlook(running).losses(0.0))
        missing = max(1, round(BATCH_SHARE * len(losses)))
        together = -(-missing // ORDERS)
        while missing > 0:
            chosen = self._accepted(candidates, preference.order(OPTIMISM[self._turn % len(OPTIMISM)]))
            found = list(islice(chosen, min(together, missing)))
            if not found:
                return
            for index in found:
                preference.expect(index)
                yield candidates[index]
            self._turn += 1
            missing -= len(found)

    def _outlook(self, architectures: Sequence[Architecture]) -> Outlook:
        known = dict(zip(self._known, self._pool.costs(architectures).T, strict=True))
        inputs = self._pool.inputs(architectures)
        beliefs = {index: surrogate.predict(inputs) for index, surrogate in self._surrogates.items()}
        return Outlook(known, beliefs, [surrogate.predict(inputs) for surrogate in self._limits.values()])

    def _accepted(self, candidates: Sequence[Architecture], order: IntArray) -> Iterator[int]:
        return (index for index in order.tolist() if self._is_accepted(candidates[index]))

    def _is_accepted(self, architecture: Architecture) -> bool:
        """Whether it may be proposed; if not, it is never a candidate again."""
        if self._accept is None or bool(self._accept([architecture])[0]):
            return True
        self._pool.take(architecture)
        return False

    @property
    def _front_places(self) -> IntArray:
        """Where the front is among what was evaluated; without anything that meets its constraints, all of it."""
        losses = np.array(self._losses)
        feasible = np.array([all(excess <= 0 for excess in each.values()) for each in self._excesses], dtype=np.bool_)
        among = np.flatnonzero(feasible) if feasible.any() else np.arange(len(losses))
        return among[non_dominated(losses[among])] if len(losses) else among

    @property
    def _front(self) -> list[Architecture]:
        return [self._architectures[index] for index in self._front_places]

    def _learn(self, losses: FloatArray, uncertain: Sequence[int]) -> None:
        if self._learned_from == len(losses):
            return
        self._learned_from = len(losses)
        samples = np.arange(len(losses))
        if len(samples) > MOST_BEST + MOST_OTHERS:
            order = np.argsort(ranks(losses), kind="stable")
            others = self._rng.choice(order[MOST_BEST:], MOST_OTHERS, replace=False)
            samples = np.concatenate([order[:MOST_BEST], others])
        inputs = self._pool.inputs([self._architectures[index] for index in samples])
        for index in uncertain:
            self._surrogates[index] = Surrogate.fit(inputs, losses[samples, index], self._surrogates.get(index))
        for name in {name for each in self._excesses for name, excess in each.items() if excess > 0}:
            excesses = np.array([self._excesses[index].get(name, 0.0) for index in samples])
            self._limits[name] = Surrogate.fit(inputs, excesses, self._limits.get(name))
