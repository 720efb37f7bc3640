"""A model-based sampler for any Optuna study: it proposes the candidate that adds the most hypervolume to the front.

Costs that are known beforehand are used directly, so that only the other objectives, such as the error, are uncertain.
Candidates are neighbours of the front and random architectures. Each is judged by the hypervolume that it would add if
its uncertain objectives were at a confidence bound, some standard deviations better than expected (Ponweiser and
others, "Multiobjective optimization on a limited budget of evaluations using model-assisted S-metric selection", 2008).
The number of standard deviations cycles through ``OPTIMISM``. Where a prior tells which candidates are better, the
expected hypervolume improvement counts instead. Known costs count as logarithms in one cycle, and plainly in the next.

Running trials count with their expected losses, so that workers get different proposals. If no candidate promises an
improvement, the one closest to an improvement is proposed, which amounts to local search around the front.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import final

import numpy as np

from nas.prediction.medoids import medoids
from nas.prediction.predictor import BoolArray, FloatArray
from nas.space.architecture import Architecture
from nas.space.description import QUANTITIES, Describer, Descriptions
from nas.space.listing import HasListing
from nas.space.name_parts import is_of_names
from nas.space.search_space import HasLayers
from nas.values.pareto import IntArray, ranks
from predictors.samplers.candidate_pool import CandidatePool, KnownCosts
from predictors.samplers.cost_correction import Correction
from predictors.samplers.error_surrogate import Surrogate
from predictors.samplers.first_proposals import best_together, errors_by_size, scaled_family, sizes_of
from predictors.samplers.improvement import Outlook, Preference
from predictors.samplers.prior_scores import Prior
from predictors.samplers.space_sampler import SpaceSampler
from predictors.samplers.study_record import Evidence

OPTIMISM = (0.0, 0.5, 1.0, 1.5)
"""Standard deviations by which uncertain objectives are assumed to be better than expected, used in turn."""
FIRST = 5
"""Number of architectures, from the cheapest to the largest, that are proposed before the model is used."""
FIRST_SHARE = 0.1
"""Where many workers wait for their first architecture, so many are chosen together, as a share of those begun."""
UNLIKE_AT = (16, 24)
"""Numbers of proposals after which one is unlike all before it, so that the model also learns what is off the curve.

With FIRST, they were chosen on NAS-Bench-Macro: without them the hypervolume after 40 evaluations was 0.1 % smaller.
"""
UNLIKE_FROM = 100
TRACED_FAMILY = 10
"""The most members of a scaled family whose layers are traced."""
MOST_BEST, MOST_OTHERS = 300, 100
"""Most evaluations that a surrogate learns from: the best by Pareto rank, and a random part of the others."""
BATCH_SHARE = 0.03
"""Proposals chosen together, as a share of the evaluations, so that the time for each proposal stays constant."""
LEAST_TIMED = 3
"""Fewest evaluations with a known duration before durations are predicted."""
ORDERS = 8
"""Number of times that candidates are ranked for one batch."""


@final
class SurrogateSampler(SpaceSampler):
    """Proposes the architecture that would add the most to the front.

    At least one objective must not be known beforehand; otherwise the first proposal raises ValueError.

    Improvements are multiplied by the probability that constraints are met. A trial that was stopped early counts as
    weaker evidence than a finished one, if its user attribute ``EXPECTED`` holds the losses that it would have reached.

    ``prior`` gives scores, shape (N,) or (N, S), of N architectures, such as zero-cost proxies. Uncertain objectives
    are modelled as linear in them, as strongly as evaluations show; scores never exclude a candidate. Each candidate is
    scored once, until the pool forgets it: ``candidate_pool.RANDOM`` candidates at the beginning, and a few at each
    proposal.

    With ``weigh_time``, improvements count per second of expected evaluation time. Times are learned from the user
    attribute ``SECONDS`` of finished trials. The first proposals then do no more work than the median, and known costs
    always count as logarithms. Both attributes are defined in ``nas.searching.proposer``.
    """

    takes_prior = True

    def __init__(
        self,
        describer: Describer,
        *,
        seed: int,
        known: KnownCosts | None = None,
        accept: Callable[[Sequence[Architecture]], BoolArray] | None = None,
        prior: Prior | None = None,
        weigh_time: bool = False,
    ) -> None:
        super().__init__(describer, seed=seed, known=known, accept=accept)
        self._pool = CandidatePool(describer, self._known, self._rng, prior)
        self._weigh_time = weigh_time
        self._planned: deque[Architecture] = deque()
        self._surrogates: dict[int, Surrogate] = {}
        self._limits: dict[str, Surrogate] = {}
        self._corrections: dict[int, Correction] = {}
        self._seconds: Surrogate | None = None
        self._learned_from = 0
        self._is_beginning = True
        self._turn = 0

    def _propose(self, objectives: int) -> Architecture:
        uncertain = [index for index in range(objectives) if index not in self._known]
        if not uncertain:
            raise ValueError("at least one objective must not be known beforehand, but all are.")
        while True:
            while self._planned:
                architecture = self._planned.popleft()
                if architecture not in self._record.taken:
                    return architecture
            candidates = self._candidates()
            if self._begins():
                self._planned.extend(self._first(candidates))
            elif len(self._record.taken) in UNLIKE_AT and not self._pool.is_ranked and not self._weigh_time:
                self._planned.extend(self._unlike(candidates))
            if not self._planned and not self._begins():
                self._planned.extend(self._plan(candidates, uncertain))
            if not self._planned:
                return self._by_chance()  # no candidate is new and accepted

    def _begins(self) -> bool:
        """Return True until ``FIRST`` architectures that can be built have been evaluated."""
        if self._is_beginning:
            fit = filter(self._is_fit, (each.architecture for each in self._record.finished))
            self._is_beginning = len(list(islice(fit, FIRST))) < FIRST  # a resumed run may have a hundred thousand
        return self._is_beginning

    def _is_fit(self, architecture: Architecture) -> bool:
        return bool(self._pool.are_fit(self._pool.places([architecture]))[0])

    def _candidates(self) -> IntArray:
        """Return the places of all candidates in the pool."""
        front = [self._record.finished[place].architecture for place in self._record.front]
        return self._pool.candidates(front, self._record.taken | self._refused)

    def _is_place_accepted(self, place: int) -> bool:
        return self._is_accepted(self._pool.architecture(place))

    def _first(self, candidates: IntArray) -> Iterator[Architecture]:
        """Yield members of a curve from the cheapest to the largest architecture, those that are best together.

        With ``weigh_time`` the curve ends at the median of the work.
        """
        if not len(candidates):
            return
        begun = self._pool.places((*self._record.running, *(each.architecture for each in self._record.finished)))
        begun = begun[self._pool.are_fit(begun)]
        places, sizes = (candidates, None) if self._pool.is_ranked else self._with_family(candidates)
        if self._weigh_time:
            is_light = self._macs(places) <= np.median(self._macs(candidates))
            places, sizes = places[is_light], None if sizes is None else sizes[is_light]
        everything = np.concatenate([places, begun])
        if sizes is None:
            expected = self._pool.expected(everything)
        else:
            expected = errors_by_size(np.concatenate([sizes, sizes_of(self._described(begun))]))
        losses, begun_losses = np.split(np.column_stack([expected, self._costs(everything)]), [len(places)])
        # The largest network is the best one by its size. What a prior ranks first need not be the best.
        ends = [*range(1, losses.shape[1]), *([] if self._pool.is_ranked else [0])]
        best = best_together(losses, begun_losses, ends, lambda place: self._is_place_accepted(int(places[place])))
        for place in islice(best, max(1, FIRST - len(begun), int(FIRST_SHARE * len(begun)))):
            yield self._pool.architecture(places[place])

    def _with_family(self, candidates: IntArray) -> tuple[IntArray, FloatArray]:
        """Return the places of candidates and of a scaled family, and their sizes, each of shape (N,).

        There is no family where all architectures are candidates or have names.
        """
        space = self._describer.space
        described = self._described(candidates)
        sizes = sizes_of(described)
        if isinstance(space, HasListing) or any(map(is_of_names, space.choices)):
            return candidates, sizes
        family = scaled_family(space, described, sizes, self._costs(candidates))
        if not isinstance(space, HasLayers):  # tracing each takes some hundredths of a second
            kept = np.linspace(0, len(family) - 1, min(len(family), TRACED_FAMILY)).round().astype(int)
            family = [family[place] for place in kept]
        places = self._pool.places(each for each in family if each not in self._record.taken)
        further = np.setdiff1d(places[self._pool.are_fit(places)], candidates)
        both = np.concatenate([candidates, further])
        order = np.argsort(both)
        return both[order], np.concatenate([sizes, sizes_of(self._described(further))])[order]

    def _described(self, places: IntArray) -> Descriptions:
        return self._describer.describe([self._pool.architecture(place) for place in places])

    def _costs(self, places: IntArray) -> FloatArray:
        """Return the known costs of N architectures, shape (N, C): where none is known, their work."""
        return self._pool.costs(places) if self._known else 1 + self._macs(places)[:, None]

    def _unlike(self, candidates: IntArray) -> Iterator[Architecture]:
        """Yield the architecture that represents best what is unlike everything evaluated so far."""
        accepted = list(islice(filter(self._is_place_accepted, candidates.tolist()), UNLIKE_FROM))
        if accepted:
            seen = self._pool.places(each.architecture for each in self._record.finished)
            seen = seen[self._pool.are_fit(seen)]
            places = np.concatenate([seen, accepted])
            features = np.hstack(list(self._pool.inputs(places).blocks.values())).astype(np.float64)
            yield self._pool.architecture(places[medoids(features, len(seen) + 1, self._rng, range(len(seen)))[-1]])

    def _macs(self, places: IntArray) -> FloatArray:
        """Return the multiply-accumulates of N architectures, shape (N,)."""
        macs: FloatArray = self._described(places).layer_sums[:, :, QUANTITIES.index("macs")].sum(axis=1)
        return macs

    def _plan(self, candidates: IntArray, uncertain: Sequence[int]) -> Iterator[Architecture]:
        """Yield the next proposals; each takes the expected losses of those before it into account."""
        if not len(candidates):
            return
        self._learn(uncertain)
        losses = self._record.losses
        # Logarithms find more with few evaluations; plain costs find more with hundreds and several known objectives.
        logarithmic = self._weigh_time or (self._turn // len(OPTIMISM)) % 2 == 0
        running = self._pool.places(self._record.running)
        running = running[self._pool.are_fit(running)]
        preference = Preference(
            self._outlook(candidates),
            losses,
            losses[self._record.front],
            running=self._outlook(running).losses(0.0) if len(running) else None,
            logarithmic=logarithmic,
        )
        missing = max(1, round(BATCH_SHARE * len(losses)))
        together = -(-missing // ORDERS)
        while missing > 0:
            order = preference.order(None if self._pool.is_ranked else OPTIMISM[self._turn % len(OPTIMISM)])
            accepted = (index for index in order if self._is_place_accepted(candidates[index]))
            chosen = list(islice(accepted, min(together, missing)))
            if not chosen:
                return
            for index in chosen:
                preference.expect(index)
                yield self._pool.architecture(candidates[index])
            self._turn += 1
            missing -= len(chosen)

    def _outlook(self, places: IntArray) -> Outlook:
        known = dict(zip(self._known, self._pool.costs(places).T, strict=True))
        inputs = self._pool.inputs(places)
        beliefs = {index: surrogate.predict(inputs) for index, surrogate in self._surrogates.items()}
        for index, each in self._corrections.items():
            beliefs[index] = each.belief(inputs, known[index])
        excesses = [surrogate.predict(inputs) for surrogate in self._limits.values()]
        return Outlook(known, beliefs, excesses, None if self._seconds is None else self._seconds.predict(inputs))

    def _learn(self, uncertain: Sequence[int]) -> None:
        """Fit all surrogates and corrections if trials have ended since the last fit."""
        record = self._record
        there_is = len(record.evidence)
        if self._learned_from == there_is:
            return
        evidence = self._to_learn_from(record.evidence)
        places = self._pool.places(each.architecture for each in evidence)
        fit = self._pool.are_fit(places)
        evidence, places = [each for each, is_fit in zip(evidence, fit, strict=True) if is_fit], places[fit]
        inputs = self._pool.inputs(places)
        losses, noise = np.array([each.losses for each in evidence]), np.array([each.noise for each in evidence])
        for index in uncertain:
            before = self._surrogates.get(index)
            self._surrogates[index] = Surrogate.fit(inputs, losses[:, index], noise, before)
        whole = np.array([each.noise == 1.0 for each in evidence])
        some = inputs.take(np.flatnonzero(whole))
        known = self._pool.costs(places)[whole].T
        for index, costs in zip(self._known, known, strict=True):
            found = Correction.fit(some, costs, losses[whole, index], self._corrections.get(index))
            if found is None:
                self._corrections.pop(index, None)
            else:
                self._corrections[index] = found
        timed = [place for place, each in enumerate(evidence) if each.seconds is not None and each.seconds > 0]
        if self._weigh_time and len(timed) >= LEAST_TIMED:
            seconds = np.array([evidence[place].seconds for place in timed])
            self._seconds = Surrogate.fit(inputs.take(np.array(timed)), seconds, np.ones(len(timed)), self._seconds)
        for name in sorted({name for each in evidence for name, excess in each.excesses.items() if excess > 0}):
            # A finished trial that does not report the constraint meets it; a stopped one may not have reported it yet.
            told = np.array([place for place, each in enumerate(evidence) if name in each.excesses or whole[place]])
            values = _finite(np.array([evidence[place].excesses.get(name, np.nan) for place in told]))
            before = self._limits.get(name)
            self._limits[name] = Surrogate.fit(inputs.take(told), values, noise[told], before, as_errors=False)
        self._learned_from = there_is  # set last, so that an interrupted fit is repeated

    def _to_learn_from(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        if len(evidence) <= MOST_BEST + MOST_OTHERS:
            return list(evidence)
        order = np.argsort(ranks(np.array([each.losses for each in evidence])), kind="stable")
        others = self._rng.choice(order[MOST_BEST:], MOST_OTHERS, replace=False)
        return [evidence[index] for index in (*order[:MOST_BEST], *others)]


def _finite(excesses: FloatArray) -> FloatArray:
    """Replace infinite and unreported values among N excesses, some of which are positive.

    An infinite excess, as after running out of memory, becomes the largest finite magnitude. An unreported one, NaN,
    becomes the median of the positive excesses, negated.
    """
    farthest = np.abs(excesses[np.isfinite(excesses)]).max(initial=0.0) or 1.0
    clipped = np.clip(excesses, -farthest, farthest)
    return np.where(np.isnan(clipped), -np.median(clipped[clipped > 0]), clipped)
