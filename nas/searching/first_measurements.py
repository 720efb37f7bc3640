"""Before training: measure representative architectures, fit the predictors, and check that limits can be met."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import final

import numpy as np

from nas.errors import CandidateError, LimitError, SpaceError
from nas.searching.drawing import descend, draw, pool_size, representatives
from nas.searching.failures import NOT_DESCRIBED
from nas.searching.fitting import Fitting
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.parts.parents import first_of
from nas.values.evaluation import Evaluation, Failure
from nas.values.objective import Limit


@final
class FirstMeasurements:
    """The stage before the first round. It looks first at what the journal has."""

    def __init__(self, state: RunState, fitting: Fitting) -> None:
        self._state = state
        self._fitting = fitting

    def take(self) -> None:
        """Measure architectures spread over the space, fit the predictors, and check that the limits can be met.

        More are measured if a predictor is not good enough for a limit.

        Raises:
            LimitError: nothing that was found meets a limit.
            RepeatedFailureError: the space's architectures fail one after the other.
            TargetError: too few could be measured for a predictor.
        """
        state, measured = self._state, self._state.beliefs.measurements
        is_done = 0 in state.rounds_done
        pool = self._representatives()
        if not is_done:
            while chosen := self._still_missing(pool):
                state.measure(chosen, 0)
                pool = self._representatives()  # others take the place of those that failed
        self._fitting.fit(max((row.round for row in state.beliefs.rows if row.stage == "measure"), default=0))
        if not is_done:
            self._measure_until_good_enough()
            before = len(measured)
            self._check_limits(pool)
            if len(measured) > before:
                self._fitting.fit(0)
            state.end_round(0)

    def _still_missing(self, pool: Sequence[Architecture]) -> list[Architecture]:
        """Return those of ``pool`` that are measured next."""
        measured = self._state.beliefs.measurements
        if not self._state.beliefs.measured_metrics:
            return []
        missing = max(0, self._state.schedule.next_count() - len(measured))
        return [architecture for architecture in pool if architecture not in measured][:missing]

    def _representatives(self) -> list[Architecture]:
        beliefs, count = self._state.beliefs, self._state.schedule.next_count()
        rng = np.random.default_rng((self._state.recipe.seed, 0))
        first = self._first()
        drawn = list(dict.fromkeys([*first, *self._drawn(max(pool_size(beliefs.space), 2 * count), rng)]))
        self._record_unbuildable(drawn)
        pool = [architecture for architecture in drawn if architecture not in beliefs.unfit]
        taken = [architecture for architecture in pool if architecture in beliefs.measurements or architecture in first]
        return representatives(beliefs, pool, count, rng, taken)

    def _first(self) -> list[Architecture]:
        """Return what the space names first, such as the parent; as devices see it, each once."""
        beliefs = self._state.beliefs
        seen = map(beliefs.parts.on_device, first_of(beliefs.space))
        return list(dict.fromkeys(map(beliefs.candidate, seen)))

    def _drawn(self, count: int, rng: np.random.Generator) -> list[Architecture]:
        """Return up to ``count`` random architectures that devices can tell apart."""
        beliefs = self._state.beliefs
        return list(map(beliefs.candidate, draw(beliefs.device_describer.space, count, rng)))

    def _record_unbuildable(self, architectures: Iterable[Architecture]) -> None:
        """Add a failed row for each architecture that cannot be built, once."""
        beliefs = self._state.beliefs
        for architecture in architectures:
            if architecture in beliefs.unfit:
                continue
            try:
                beliefs.describer.describe([architecture])
            except CandidateError as error:
                failure = Failure(error.kind, error.reason)
                self._state.add(Evaluation("measure", architecture, failure=failure, details=NOT_DESCRIBED))
            else:
                beliefs.note_buildable()

    def _measure_until_good_enough(self) -> None:
        """Measure and fit again while a predictor is not good enough for a limit, as far as the recipe allows."""
        state, fitting = self._state, self._fitting
        measuring, measured = state.recipe.measuring, state.beliefs.measurements
        while fitting.doubts and (room := measuring.most_initial - len(measured)) > 0:
            chosen = self._most_telling(min(measuring.per_round, room))
            if not chosen:
                break
            if not state.schedule.has_time_for_first(len(chosen)):
                state.progress.say("The search time leaves no room to measure more first.")
                break
            state.progress.say(f"{fitting.doubts_text} So {len(chosen)} more are measured.")
            state.measure(chosen, 0)
            fitting.fit(0)
        if fitting.doubts:
            state.progress.say(f"{fitting.doubts_text} The search goes on, with {len(measured)} measured.")

    def _most_telling(self, count: int) -> list[Architecture]:
        """Return unmeasured architectures, in turn one predicted near a doubtful limit and one unlike all measured.

        With those near the limit alone the rest of the space would stay as uncertain as before, and values that hardly
        differ are hard to rank.
        """
        beliefs = self._state.beliefs
        rng = np.random.default_rng((self._state.recipe.seed, 2, len(beliefs.measurements)))
        drawn = self._drawn(pool_size(beliefs.space), rng)
        unmeasured = [architecture for architecture in drawn if architecture not in beliefs.measurements]
        self._record_unbuildable(unmeasured)
        pool = [architecture for architecture in unmeasured if architecture not in beliefs.unfit]
        beliefs.predict_all(pool)
        limits = [limit for limit in beliefs.cost_limits if limit.metric.name in self._fitting.doubts]

        def distance(architecture: Architecture) -> float:
            predicted = beliefs.predicted(architecture)
            return min(abs(limit.excess(predicted[limit.metric.name].mean)) for limit in limits)

        near = sorted(pool, key=distance)
        unknown_first = sorted(pool, key=lambda a: all(guess.known for guess in beliefs.predicted(a).values()))
        in_turn = [architecture for pair in zip(near, unknown_first, strict=True) for architecture in pair]
        return list(dict.fromkeys(in_turn))[:count]

    # Limits

    def _check_limits(self, pool: Sequence[Architecture]) -> None:
        """Look for an architecture within each limit and then within all, and measure the lowest when in doubt."""
        beliefs = self._state.beliefs
        known = [*pool, *beliefs.measurements]
        if not known:
            reasons = [row.failure.reason for row in beliefs.rows if row.failure]
            raise SpaceError(f"a space must have an architecture that can be built, but none can. {reasons[-1]}")
        for limit in beliefs.cost_limits:
            self._check_limit(limit, known)
        beliefs.predict_all(known)
        if any(beliefs.probably_meets(architecture) for architecture in known):
            return
        nearest = self._lowest(self._expected_excess, known, beliefs.cost_limits)
        nearest = min((nearest, *beliefs.measurements), key=self._expected_excess)
        if self._expected_excess(nearest) > 0:
            excesses = beliefs.hoped_excesses(nearest)
            over = ", ".join(f"{name} by {100 * excess:.2g} %" for name, excess in excesses.items() if excess > 0)
            raise LimitError(
                f"nothing that was found meets all of {', '.join(map(str, beliefs.limits))} together: the "
                f"nearest is {nearest.id} ({nearest.short}), which exceeds {over}. Raise a limit, or widen the space."
            )

    def _check_limit(self, limit: Limit, known: Sequence[Architecture]) -> None:
        if self._lowest_measured(limit)[0] <= limit.value:
            return
        lowest = self._lowest(lambda architecture: self._known_value(architecture, limit), known, [limit])
        if limit.metric.source == "measured":
            value, architecture = self._lowest_measured(limit)
        else:
            value, architecture = self._known_value(lowest, limit), lowest
        if not limit.holds(value):
            raise LimitError(
                f"nothing that was found in the space meets {limit}: the lowest {limit.metric.source} value is "
                f"{limit.metric.format(value)}, of {architecture.id} ({architecture.short}). "
                "Raise the limit, or give the space smaller options."
            )

    def _lowest(
        self, score: Callable[[Architecture], float], known: Sequence[Architecture], limits: Sequence[Limit]
    ) -> Architecture:
        """Return the architecture with the lowest score that descent finds.

        If a limit is on a measured metric, the architecture is measured. If that fails, the descent goes on.
        """
        is_measured = any(limit.metric.source == "measured" for limit in limits)
        beliefs = self._state.beliefs
        while True:
            lowest = descend(beliefs, score, known)
            if not is_measured or lowest in beliefs.measurements or lowest in beliefs.unfit:
                return lowest
            self._state.measure([lowest], 0)
            if lowest not in beliefs.unfit:
                return lowest

    def _lowest_measured(self, limit: Limit) -> tuple[float, Architecture]:
        """Return the lowest value among the measured architectures, and the architecture; infinity if there is none."""
        measured = [(self._known_value(a, limit), a) for a in self._state.beliefs.measurements]
        return min(measured, key=lambda pair: pair[0], default=(math.inf, Architecture({})))

    def _known_value(self, architecture: Architecture, limit: Limit) -> float:
        if architecture in self._state.beliefs.unfit:
            return math.inf
        try:
            return self._state.beliefs.values(architecture)[limit.metric.name]
        except CandidateError:
            return math.inf

    def _expected_excess(self, architecture: Architecture) -> float:
        if architecture in self._state.beliefs.unfit:
            return math.inf
        try:
            return self._state.beliefs.excess_of_means(architecture)
        except CandidateError:
            return math.inf
