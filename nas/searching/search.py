"""The search itself: measure a few, fit, then rounds of training and of measuring what would change the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import final

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError, LimitError, SpaceError
from nas.jobs.execution import Executor
from nas.progress import duration_text
from nas.searching.evaluators import DOING, Checked, Evaluator, prior_of
from nas.searching.fitting import Fitting
from nas.searching.knowledge import NOT_DESCRIBED
from nas.searching.run_state import RunState
from nas.searching.screening import POOL, TRACED_POOL, TurnedAway
from nas.searching.trainings import RoundOfTrainings
from nas.space.architecture import Architecture
from nas.space.search_space import HasLayers
from nas.values.evaluation import Evaluation, Failure
from nas.values.objective import Limit
from nas.values.pareto import hypervolume_contributions, non_dominated

FloatArray = npt.NDArray[np.float64]

FINAL_MEASURINGS = 4
"""How often the front may be measured at the end: each time its unmeasured points are, others may take their place."""


@final
class Search:
    """Carries a run from its rows to its front. Each step looks first at what the rows say is done already."""

    def __init__(self, state: RunState, fitting: Fitting) -> None:
        self._state = state
        self._fitting = fitting
        self._rounds_done = {body["round"] for body in state.journal.bodies("round")}
        self._prior = prior_of(state)

    @property
    def is_over(self) -> bool:
        """Whether the run has come to its end before."""
        return self._end_number in self._rounds_done

    def end(self) -> None:
        """Note that there is nothing left to do."""
        self._end_round(self._end_number)

    @property
    def _end_number(self) -> int:
        return self._state.recipe.rounds + 1

    # Before training

    def before_training(self) -> None:
        """Measure architectures spread over the space, fit the predictors, and see whether the limits can be met.

        More are measured where a predictor is not good enough for a limit.

        Raises:
            LimitError: nothing that was found meets a limit.
            RepeatedFailureError: the space's architectures fail one after the other.
            TargetError: too few could be measured for a predictor.
        """
        pool = self._spread()
        if 0 not in self._rounds_done:
            measured = self._state.knowledge.measurements
            while (missing := self._state.recipe.measuring.initial - len(measured)) > 0:
                unmeasured = [a for a in pool if a not in measured]
                self._measure(unmeasured[:missing], 0)
                if not any(a in self._state.knowledge.unfit for a in pool):
                    break
                pool = self._spread()  # others take the place of those that failed
        self._fitting.fit(max((row.round for row in self._state.knowledge.rows if row.stage == "measure"), default=0))
        if 0 not in self._rounds_done:
            self._measure_until_good_enough()
            before = len(self._state.knowledge.measurements)
            self._check_limits(pool)
            if len(self._state.knowledge.measurements) > before:
                self._fitting.fit(0)
            self._end_round(0)

    def _spread(self) -> list[Architecture]:
        rng = np.random.default_rng((self._state.recipe.seed, 0))
        return self._state.screen.spread(
            self._state.recipe.measuring.initial, rng, self._can_be_built, self._state.knowledge.measurements
        )

    def _measure_until_good_enough(self) -> None:
        """Measure and refit while a predictor is not good enough for a limit, as far as the recipe allows."""
        measuring, measured = self._state.recipe.measuring, self._state.knowledge.measurements
        while self._fitting.doubts and (room := measuring.most_initial - len(measured)) > 0:
            chosen = self._most_telling(min(measuring.per_round, room))
            if not chosen:
                break
            self._state.progress.say(f"{self._fitting.doubts_text} So {len(chosen)} more are measured.")
            self._measure(chosen, 0)
            self._fitting.fit(0)
        if self._fitting.doubts:
            self._state.progress.say(f"{self._fitting.doubts_text} The search goes on, with {len(measured)} measured.")

    def _most_telling(self, count: int) -> list[Architecture]:
        """Unmeasured architectures: in turn one predicted near a doubtful limit, and one anywhere, unknown ones first.

        Those near the limit alone would leave the rest of the space as uncertain as before, and the order of values
        that hardly differ is hard to predict.
        """
        screen, knowledge = self._state.screen, self._state.knowledge
        rng = np.random.default_rng((self._state.recipe.seed, 2, len(knowledge.measurements)))
        pool = [
            architecture
            for architecture in screen.draw(POOL if isinstance(screen.space, HasLayers) else TRACED_POOL, rng)
            if architecture not in knowledge.measurements and self._can_be_built(architecture)
        ]
        screen.predict_all(pool)
        limits = [limit for limit in screen.cost_limits if limit.metric.name in self._fitting.doubts]

        def distance(architecture: Architecture) -> float:
            predicted = screen.predicted(architecture)
            return min(abs(limit.excess(predicted[limit.metric.name].mean)) for limit in limits)

        near = sorted(pool, key=distance)
        unknown_first = sorted(pool, key=lambda a: all(p.known for p in screen.predicted(a).values()))
        in_turn = [architecture for pair in zip(near, unknown_first, strict=True) for architecture in pair]
        return list(dict.fromkeys(in_turn))[:count]

    def _can_be_built(self, architecture: Architecture) -> bool:
        """Whether an architecture builds; when not, it becomes a failed row, once."""
        if architecture in self._state.knowledge.unfit:
            return False
        try:
            self._state.screen.describer.describe([architecture])
        except CandidateError as error:
            failure = Failure(error.kind, error.reason)
            self._state.add(Evaluation("measure", architecture, failure=failure, details=NOT_DESCRIBED))
            self._state.knowledge.check_failures()
            return False
        self._state.knowledge.note_described()
        return True

    def _measure(self, architectures: Sequence[Architecture], round_number: int) -> None:
        metrics = self._state.screen.measured_metrics
        if not architectures or not metrics:
            return
        self._state.check_bench()
        rows = self._state.task.measurer.rows(
            architectures,
            metrics,
            round_number=round_number,
            rng=np.random.default_rng((self._state.recipe.seed, 1, round_number, len(self._state.knowledge.rows))),
            progress=self._state.progress,
        )
        # Kept beside what was measured: no check of a predictor is harder than what it said before.
        predicted = self._state.screen.predicted
        self._state.screen.predict_all(row.architecture for row in rows if not row.failed)
        self._state.add(*(row if row.failed else replace(row, predicted=predicted(row.architecture)) for row in rows))
        self._state.knowledge.check_failures()

    def _check_limits(self, pool: Sequence[Architecture]) -> None:
        """Look for an architecture within each limit, and then within all, and measure the lowest when in doubt."""
        known = [*pool, *self._state.knowledge.measurements]
        if not known:
            reasons = [row.failure.reason for row in self._state.knowledge.rows if row.failure]
            raise SpaceError(f"a space must have an architecture that can be built, but none can. {reasons[-1]}")
        for limit in self._state.screen.cost_limits:
            if self._lowest_value(limit)[0] <= limit.value:
                continue
            lowest = self._lowest(lambda a, limit=limit: self._known_value(a, limit), known, [limit])  # type: ignore[misc]
            if limit.metric.source == "measured":
                value, architecture = self._lowest_value(limit)
            else:
                value, architecture = self._known_value(lowest, limit), lowest
            if not limit.holds(value):
                raise LimitError(
                    f"nothing that was found in the space meets {limit}: the lowest {limit.metric.source} value is "
                    f"{limit.metric.format(value)}, of {architecture.id} ({architecture.short}). "
                    "Raise the limit, or give the space smaller options."
                )
        self._state.screen.predict_all(known)
        if any(self._state.screen.probably_meets(a, self._state.knowledge) for a in known):
            return
        nearest = self._lowest(self._expected_excess, known, self._state.screen.cost_limits)
        nearest = min((nearest, *self._state.knowledge.measurements), key=self._expected_excess)
        if self._expected_excess(nearest) > 0:
            excesses = self._state.screen.excesses(
                {"error": 0.0, **self._state.screen.values(nearest, self._state.knowledge)}
            )
            over = ", ".join(f"{name} by {100 * excess:.2g} %" for name, excess in excesses.items() if excess > 0)
            raise LimitError(
                f"nothing that was found meets all of {', '.join(map(str, self._state.screen.limits))} together: the "
                f"nearest is {nearest.id} ({nearest.short}), which exceeds {over}. Raise a limit, or widen the space."
            )

    def _lowest(
        self, score: Callable[[Architecture], float], known: Sequence[Architecture], limits: Sequence[Limit]
    ) -> Architecture:
        """What descent finds with the lowest score; where limits are measured, the first such that can be."""
        is_measured = any(limit.metric.source == "measured" for limit in limits)
        while True:
            lowest = self._state.screen.lowest(score, known)
            is_new = lowest not in self._state.knowledge.measurements and lowest not in self._state.knowledge.unfit
            if not is_measured or not is_new:
                return lowest
            self._measure([lowest], 0)
            if lowest not in self._state.knowledge.unfit:
                return lowest

    def _lowest_value(self, limit: Limit) -> tuple[float, Architecture]:
        """The lowest value among the measured architectures, of any source of values but prediction."""
        measured = [(self._known_value(a, limit), a) for a in self._state.knowledge.measurements]
        return min(measured, key=lambda pair: pair[0], default=(math.inf, Architecture({})))

    def _known_value(self, architecture: Architecture, limit: Limit) -> float:
        if architecture in self._state.knowledge.unfit:
            return math.inf
        try:
            return self._state.screen.values(architecture, self._state.knowledge)[limit.metric.name]
        except CandidateError:
            return math.inf

    def _expected_excess(self, architecture: Architecture) -> float:
        """By what is known or expected, where ``Screen.total_excess`` goes by upper bounds."""
        if architecture in self._state.knowledge.unfit:
            return math.inf
        try:
            values = {"error": 0.0, **self._state.screen.values(architecture, self._state.knowledge)}
        except CandidateError:
            return math.inf
        return sum(max(0.0, excess) for excess in self._state.screen.excesses(values).values())

    # Rounds

    def train_round(self, number: int, evaluator: Evaluator, executor: Executor) -> None:
        """Train this round's share of the budget, as far as the rows do not hold it yet."""
        until = round(self._state.recipe.trials * number / self._state.recipe.rounds)
        if number in self._rounds_done:
            return
        told = [row.details for row in self._state.knowledge.trainings.values() if row.round == number]
        ended = [body for body in self._state.journal.bodies("trained") if body["round"] == number]
        for details in (*told, *ended):
            self._state.screen.take_up(TurnedAway.from_details(details))
        if ended or self._state.knowledge.trials >= until:
            return
        already = self._state.knowledge.trials
        doing = DOING[self._state.recipe.evaluate]
        ends_s = self._end_of_round_s(number)
        most_s = ends_s - self._state.spent_s if math.isfinite(ends_s) else None
        total = None if self._state.recipe.has_time_alone else until - already
        self._state.progress.stage(f"round {number}/{self._state.recipe.rounds}: {doing}", total, most_s)
        for source in self._sources_of_trainings(evaluator, number, until, ends_s):
            executor.run(Checked(evaluator.task), source, time_limit_s=evaluator.time_limit_s)
        self._state.journal.append("trained", {"round": number, **self._state.screen.tell_turned_away().to_details()})
        self._state.progress.close()
        trained = self._state.knowledge.trials - already
        if turned_away := self._state.screen.turned_away:
            listed = ", ".join(f"{count} by {reason}" for reason, count in turned_away.most_common())
            self._state.progress.say(f"round {number}: turned away before training, {listed}")
        if source.dried_up:
            self._state.progress.say(
                f"round {number} ends after {trained if total is None else f'{trained} of {total}'} candidates: "
                "no further architecture was found that is new and probably meets the limits."
            )
        elif total is not None and trained < total:
            self._state.progress.say(
                f"round {number} ends after {trained} of {total} trainings: its share of the search's "
                f"{duration_text(self._state.recipe.search_time_s or 0)} is over."
            )

    def _end_of_round_s(self, number: int) -> float:
        """Until when a round that begins now trains: it has an equal share of the time left with those to come."""
        recipe, begins_s = self._state.recipe, self._state.spent_s
        if recipe.search_time_s is None:
            return math.inf
        return begins_s + (recipe.search_time_s - begins_s) / (recipe.rounds - number + 1)

    def _sources_of_trainings(
        self, evaluator: Evaluator, number: int, until: int, ends_s: float
    ) -> Iterator[RoundOfTrainings]:
        """The round; and where nothing more surely meets the limits, the rest of it by predicted means.

        A search must not dry up because few samples give no tight bound.
        """
        source = RoundOfTrainings(self._state, evaluator, number, until, ends_s, self._prior)
        yield source
        if source.dried_up and self._state.screen.drop_caution():
            self._state.progress.say(
                f"round {number}: no further architecture was found that is new and meets the limits by the "
                "predictors' bounds, so those that meet them by the predicted mean are trained."
            )
            yield RoundOfTrainings(self._state, evaluator, number, until, ends_s, self._prior)

    def measure_round(self, number: int) -> None:
        """Measure what would most change the front, what settles a limit and what is unknown; and refit."""
        if number in self._rounds_done:
            return
        if self._state.screen.measured_metrics:
            # A round's measurements come to disk together: after a kill there are all or none.
            if not any(row.stage == "measure" and row.round == number for row in self._state.knowledge.rows):
                self._measure(self._worth_measuring(), number)
            self._fitting.fit(number)
            if self._fitting.doubts:
                self._state.progress.say(self._fitting.doubts_text)
        self._end_round(number)

    def _worth_measuring(self) -> list[Architecture]:
        """A round's share of unmeasured architectures, those first whose measurement would most change the front.

        After them come those of which only measuring can tell whether they meet a limit, the likeliest first, and
        last, trained candidates unlike all that was measured.
        """
        screen, knowledge = self._state.screen, self._state.knowledge
        trained = [row.architecture for row in knowledge.candidates]
        screen.predict_all(trained)
        open_ones = [
            architecture
            for architecture in dict.fromkeys([*trained, *screen.near_limits])
            if architecture not in knowledge.measurements and architecture not in knowledge.unfit
        ]
        in_doubt = [
            architecture
            for architecture in open_ones
            if screen.doubtful_limits(architecture, knowledge) and screen.probably_meets(architecture, knowledge)
        ]
        unknown = [a for a in open_ones if not all(p.known for p in screen.predicted(a).values())]
        likeliest_first = sorted(in_doubt, key=lambda architecture: screen.total_excess(architecture, knowledge))
        wanted = [*self._changing_the_front(), *likeliest_first, *unknown]
        return list(dict.fromkeys(wanted))[: self._state.recipe.measuring.per_round]

    def _changing_the_front(self) -> list[Architecture]:
        """Unmeasured candidates that could be on the front if the predictor's lower bounds were true.

        Those that would add most hypervolume by their predicted means come first.
        """
        screen, knowledge = self._state.screen, self._state.knowledge
        hopeful: dict[Architecture, dict[str, float]] = {}
        for row in knowledge.candidates:
            values = screen.values(row.architecture, knowledge)
            if row.architecture not in knowledge.measurements:
                values |= {name: p.lower for name, p in screen.predicted(row.architecture).items()}
            if all(limit.holds(values[limit.metric.name]) for limit in screen.cost_limits):
                hopeful[row.architecture] = values
        if not hopeful:
            return []
        architectures = list(hopeful)
        means = np.array([screen.losses(screen.values(architecture, knowledge)) for architecture in architectures])
        gains = hypervolume_contributions(means, means.max(axis=0) * 1.1 + 1e-9)
        chosen: list[tuple[float, int]] = []
        for index, architecture in enumerate(architectures):
            if architecture in knowledge.measurements:
                continue
            others = means.copy()
            others[index] = screen.losses(hopeful[architecture])
            if non_dominated(others)[index]:
                chosen.append((-float(gains[index]), index))
        return [architectures[index] for _, index in sorted(chosen)]

    def _end_round(self, number: int) -> None:
        if number not in self._rounds_done:
            turned_away = self._state.screen.turned_away
            self._state.journal.append("round", {"round": number, "turned_away": dict(turned_away)})
            self._state.screen.begin_round()
            self._state.note_cost()
            self._rounds_done.add(number)

    # The end

    def measure_front(self) -> None:
        """Measure what is on the front by prediction alone, some times, until all of it surely meets the limits."""
        number = self._state.recipe.rounds + 1
        if not self._state.screen.measured_metrics:
            return
        # What is fitted anew after each of them tells how many there were before an interruption.
        already = {body["samples"] for body in self._state.journal.bodies("fit") if body["round"] == number}
        for _ in range(FINAL_MEASURINGS - len(already)):
            unmeasured = [
                row.architecture
                for row in self.front_candidates(surely=False)
                if row.architecture not in self._state.knowledge.measurements
            ]
            if not unmeasured:
                return
            self._measure(unmeasured, number)
            self._fitting.fit(number)

    def front_candidates(self, *, surely: bool, without: Collection[Architecture] = ()) -> list[Evaluation]:
        """The non-dominated candidates among those that meet the limits, in the order of their first objective.

        ``surely`` asks for what was measured, by its upper bound; else predicted means decide where nothing was.
        Where no short training stays within a limit on the error, how far it is off counts as one more objective.
        """
        screen, knowledge = self._state.screen, self._state.knowledge
        screen.predict_all(row.architecture for row in knowledge.candidates)

        def meets(architecture: Architecture) -> bool:
            if surely or architecture in knowledge.measurements:
                return screen.surely_meets(architecture, knowledge)
            return screen.probably_meets(architecture, knowledge)

        rows = [row for row in knowledge.candidates if row.architecture not in without and meets(row.architecture)]
        accurate = [row for row in rows if screen.accuracy_excess(row.values) == 0]
        return self.non_dominated_rows(accurate or rows)

    def non_dominated_rows(self, rows: Sequence[Evaluation]) -> list[Evaluation]:
        """Those rows that no other dominates by their best known values, sorted by the objectives."""
        if not rows:
            return []
        screen, knowledge = self._state.screen, self._state.knowledge
        losses = np.array(
            [(*screen.losses(screen.values(r.architecture, knowledge)), screen.accuracy_excess(r.values)) for r in rows]
        )
        mask = non_dominated(losses)
        order = sorted(np.flatnonzero(mask).tolist(), key=lambda i: tuple(losses[i]))
        return [rows[index] for index in order]
