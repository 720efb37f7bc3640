"""The state of a run in memory: its journal, what is believed of architectures, and the commands that add rows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from nas.errors import JournalError
from nas.hardware.bench import target_part
from nas.hardware.energy_model import MemoryHierarchy
from nas.hardware.kept_sessions import KeptSessions
from nas.hardware.measuring import Surroundings, measured_in_steps
from nas.progress import Progress
from nas.recipe.recipe import Recipe
from nas.recipe.ways import Way, by_way
from nas.results.search_cost import SEARCH, WINNERS, SearchCost, search_counter
from nas.searching.beliefs import Beliefs
from nas.searching.durations import Durations
from nas.searching.measuring_pace import MEASURING
from nas.searching.recorded_rows import RecordedRows, unended_from
from nas.searching.resolving import Resolved
from nas.searching.sampler_feedback import known_before
from nas.searching.schedule import Schedule
from nas.searching.screening import Screening
from nas.signals import advice, advising
from nas.space.architecture import Architecture
from nas.space.parts.known_values import known_prior
from nas.storage.journal import Journal
from nas.storage.journal_rows import BenchUsed, Cost, RecipeText, RoundEnded, TrainingsEnded, TurnedAway, WayChosen
from nas.storage.run_files import SESSIONS
from nas.training.inheriting import Inheritance
from nas.values.evaluation import KEPT, Evaluation
from nas.values.metric import SUSTAINED, bare_name, metric_named, target_in

COST_EVERY_S = 30.0
"""Seconds after which the next row also records the cost. A killed process loses the cost since then."""

NOT_KEPT_IN_PARTS = ("peak_memory_mib", "energy_mj", SUSTAINED)
"""Metrics that are measured anew after a stop, also of models that were finished."""

WINNING = ("retrain", "winner")
"""The stages of architectures that were chosen as winners."""


@final
class RunState:
    """Shared by all stages of one run. Everything that is not in the journal can be made again from its rows.

    Attributes:
        recipe: the recipe of the run, with the way of evaluating that was chosen where it leaves that open.
        resolved: the objects that the recipe's names stand for.
        journal: the rows on disk.
        beliefs: the rows in memory, with predictors and limits.
        recorded: the trainings of an interrupted round, which come into the beliefs as they are proposed again.
        screening: turns away proposals that break a limit.
        durations: how long the stages take.
        schedule: what fits into the search time.
        sessions: the finished sessions of a measuring that goes on, or that was stopped.
        rounds_done: the rounds that have ended.
        begins: the recipe in the journal, with what was there before it, where the run was extended.
        inheritance: what candidates inherit from a parent; None for a space without one, and before it is made.
        tuned_parent: True if that parent was tuned on the data, by this run or an earlier one.
        known: what the space knows beforehand, where that is the answer because nothing is trained; else None.
        rows_at_start: how many rows were believed when this process began with the run.
        measures_beside: True while something is being measured beside trainings.
        follow: is told all rows once they are on disk.
    """

    def __init__(
        self,
        recipe: Recipe,
        resolved: Resolved,
        journal: Journal,
        progress: Progress,
        stopwatch: Callable[[], float],
        cost: SearchCost,
        seed_rows: Sequence[Evaluation] = (),
        *,
        is_search: bool = False,
    ) -> None:
        """``seed_rows`` are those of another run, which count beside those of the journal.

        A state that ``is_search`` believes the trainings of an interrupted round as it comes to them, and measures in
        the search time. Later work on a run measures as without one, because the time was for the search.
        """
        self.open_recipe = recipe
        ways = journal.rows(WayChosen)
        self.recipe = recipe = by_way(recipe, ways[-1].evaluate) if ways else recipe
        self.resolved = resolved
        self.journal = journal
        self.progress = progress
        self.stopwatch = stopwatch
        self.inheritance: Inheritance | None = None
        self.tuned_parent = False
        self.measures_beside = False
        self.known = known_prior(resolved.space) if recipe.trials == 0 else None
        self.follow: Callable[[Sequence[Evaluation]], None] = lambda rows: None
        self._cost = cost
        self._cost_of = SEARCH
        self._noted_s = float(sum(part.wall_s for part in journal.rows(Cost)))
        self.begins = [RecipeText(""), *journal.rows(RecipeText)][-1]
        rows = journal.rows(Evaluation)
        self.rounds_done = {row.round for row in journal.rows(RoundEnded)}
        ended = {*self.rounds_done, *(row.round for row in journal.rows(TrainingsEnded))}
        # In a time, another process would propose something else; an extended run has other rounds.
        is_same = recipe.search_time_s is None and bool(rows) and rows[-1].round > self.begins.round
        place = unended_from(rows, ended) if is_search and is_same else len(rows)
        self.beliefs = beliefs_of(recipe, resolved, (*seed_rows, *rows[:place]))
        self.beliefs.recall_counts(rows)
        self.rows_at_start = len(self.beliefs.rows)
        self.recorded = RecordedRows(rows[place:], lambda each: self.beliefs.candidate(each).trained)
        self.beliefs.settled.update(row.architecture for row in rows[: self.begins.rows] if row.stage in WINNING)
        self.screening = Screening(self.beliefs)
        task = resolved.backend.task
        items = (1, 0) if task is None else (len(task.train), len(task.validation))
        self.durations = Durations(recipe, self.beliefs, items)
        self.durations.recorded = lambda: self.recorded.trainings
        self.schedule = Schedule(recipe, self.beliefs, lambda: self.spent_s, self.durations, self.begins.spent_s)
        self.sessions = KeptSessions(journal.folder / SESSIONS)
        keeps_time = is_search and task is not None  # where nothing is trained, no search time runs out
        for bench in resolved.backend.benches.values():
            bench.sessions = self.sessions
            bench.in_time = self.schedule.has_time_to_repeat if keeps_time else lambda: True

    @property
    def last_round(self) -> int:
        """The number of the round that chooses the winners. It comes after all rounds of the recipe."""
        return self.recipe.rounds + 1

    @property
    def is_over(self) -> bool:
        """True once nothing is left to do."""
        return self.last_round in self.rounds_done

    @property
    def spent_s(self) -> float:
        """Seconds that the run has taken so far, in all processes that worked on it, as far as they were noted."""
        return self._cost.lap_s + self._noted_s

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of the targets that this run was measured on: one, unless its reference speed changed."""
        return [row.fingerprint for row in self.journal.rows(BenchUsed)]

    def plan_by(self, recipe: Recipe) -> None:
        """Go on by a recipe that differs from the run's in how candidates are evaluated. What was seen stays."""
        self.recipe = recipe
        self.durations.plan_by(recipe)
        self.schedule.plan_by(recipe)

    def go_on_by(self, way: Way, reason: str) -> None:
        """Note in the journal how candidates are evaluated from now on, and go on by that."""
        self.journal.append(WayChosen(way, reason))
        self.plan_by(by_way(self.open_recipe, way))

    def add(self, *rows: Evaluation, turned_away: Sequence[TurnedAway] = ()) -> None:
        """Put rows in the journal and, once they are on disk, into the beliefs.

        Raises:
            JournalError: the disk refuses.
            RepeatedFailureError: the last ten evaluations failed.
        """
        if not rows:
            return
        self.journal.append(*turned_away, *rows)
        try:
            self.follow(rows)
            self.beliefs.add(*rows)
        finally:
            if self._cost.lap_s >= COST_EVERY_S:
                self.note_cost()

    def recall_recorded(self) -> None:
        """Believe all rows of an interrupted round at once, and propose none of them again."""
        self.beliefs.recall(*self.recorded.take_rest())

    def measure(self, architectures: Sequence[Architecture], round_number: int) -> None:
        """Measure architectures together, and add a row for each, or one for those that a device cannot tell apart.

        Models are measured together. A stop loses the session under way, and says so; finished ones are kept.

        Raises:
            JournalError: the target's hardware or versions are not those that the run was measured with before.
            RepeatedFailureError: the last ten evaluations failed.
        """
        metrics = self.beliefs.measured_metrics
        if not architectures or not metrics:
            return
        candidates = self.beliefs.parts.one_each(architectures)
        self.check_bench()
        began_s = self.spent_s
        with told_what_is_lost(len(candidates), metrics):
            rows = self.resolved.measurer.rows(
                candidates,
                metrics,
                round_number=round_number,
                rng=self._rng_of(round_number),
                progress=self.progress,
            )
        self.take_measured(rows, self.spent_s - began_s)

    def measuring_in_steps(
        self, measurer: Surroundings, candidates: Sequence[Architecture], round_number: int, progress: Progress
    ) -> Generator[bool, None, list[Evaluation]]:
        """Return the steps of measuring architectures together, which end with their rows.

        Raises:
            JournalError: as ``measure`` does.
        """
        self.check_bench()
        metrics, rng = self.beliefs.measured_metrics, self._rng_of(round_number)
        return measured_in_steps(measurer, candidates, metrics, round_number=round_number, rng=rng, progress=progress)

    def _rng_of(self, round_number: int) -> np.random.Generator:
        return np.random.default_rng((self.recipe.seed, 1, round_number, len(self.beliefs.rows)))

    def take_measured(self, rows: Sequence[Evaluation], took_s: float) -> None:
        """Add the rows of a measuring that took so many seconds, with what was predicted before it."""
        self.durations.pace.learn(MEASURING, sum(KEPT not in row.details for row in rows), took_s)
        # Predictions from before the measurement are the hardest test of a predictor, so they are kept beside it.
        predicted = self.beliefs.predicted
        self.beliefs.predict_all(row.architecture for row in rows if not row.failed)
        self.add(
            *(row if row.failed else replace(self._told(row), predicted=predicted(row.architecture)) for row in rows)
        )
        self.sessions.clear()

    def _told(self, row: Evaluation) -> Evaluation:
        """Return the row of a measurement with what is counted and known beforehand, where no training follows it."""
        if self.recipe.trials:
            return row
        known = known_before(self.known, row.architecture)
        values = {**row.values, **self.beliefs.counted(row.architecture)}
        return replace(row, values=values, details={**row.details, **known})

    def check_bench(self) -> None:
        """Check that new measurements compare with those that the run has, perhaps from another process.

        Raises:
            JournalError: the target's hardware or versions are others.
        """
        now, known, targets = self.resolved.measurer.fingerprint, self.fingerprints, self.recipe.measured_on_all
        if now is None or now in known:
            return
        if known and target_part(known[-1]) != target_part(now):
            raise JournalError(
                f"a run goes on with the target that it began with, but the hardware or the versions of {targets} "
                "have changed since, or how nas converts models for it. Bring those back, or start a new run."
            )
        if known:
            self.progress.say(
                f"the reference speed of {targets} was measured again since this run began: measurements "
                "from before and after are corrected for drift by different reference speeds."
            )
        self.journal.append(BenchUsed(now, self._fingerprints_now()))

    def _fingerprints_now(self) -> dict[str, str]:
        """Return the fingerprint of each target by its name; none unless there are several, of one precision each."""
        if not self.recipe.further_targets or self.recipe.precisions:
            return {}
        benches = self.resolved.backend.benches.items()
        return {target_in(name): each.fingerprint for name, each in benches if each.fingerprint is not None}

    def end_round(self, number: int) -> None:
        """Note that a round has ended, and what it cost."""
        if number not in self.rounds_done:
            self.journal.append(RoundEnded(number))
            if not self.measures_beside:
                self.sessions.clear()
            self.screening.begin_round()
            self.note_cost()
            self.rounds_done.add(number)

    def note_cost(self) -> None:
        """Put what was spent since the last time into the journal."""
        spent = self._cost.lap(self._cost_of)
        self._noted_s += spent.wall_s
        self.journal.append(spent)

    def turn_to_winners(self) -> None:
        """Note the cost of the search. From now on costs are those of the winners."""
        self.note_cost()
        self._cost_of = WINNERS


@contextlib.contextmanager
def told_what_is_lost(count: int, metrics: Iterable[str]) -> Iterator[None]:
    """Add to a stop that models were being measured by ``metrics``, which of it is kept, and which begins anew."""
    lost = lost_text(count, metrics)
    try:
        with advising(f"{lost}\n{advice()}".rstrip()):
            yield
    except KeyboardInterrupt as stopped:
        stopped.add_note(lost)
        raise


def lost_text(count: int, metrics: Iterable[str]) -> str:
    """Return what a stop loses of measuring ``count`` models by ``metrics``."""
    models = "1 model was" if count == 1 else f"{count} models were"
    lost = f"{models} being measured: finished sessions of latency are kept, and the one under way begins anew."
    bare = {bare_name(name) for name in metrics}
    anew = [metric_named(name).title.lower() for name in NOT_KEPT_IN_PARTS if name in bare]
    return f"{lost} So does all measuring of {' and of '.join(anew)}." if anew else lost


def cost_of(recipe: Recipe, resolved: Resolved, stopwatch: Callable[[], float], before_s: float = 0.0) -> SearchCost:
    """Return the cost of work on a run, counted in a ``with`` statement; ``before_s`` seconds were spent before."""
    counter, why_none = search_counter(recipe.energy.meter_settings)
    return SearchCost(counter, why_none, stopwatch, lambda: resolved.measurer.device_s, before_s)


def beliefs_of(recipe: Recipe, resolved: Resolved, rows: Iterable[Evaluation]) -> Beliefs:
    """Return what rows say of the architectures of a recipe's space, on its target."""
    return Beliefs(
        resolved.space,
        signature=resolved.signature,
        target=recipe.parsed_target,
        objectives=recipe.parsed_objectives,
        limits=recipe.parsed_limits,
        rows=rows,
        look=resolved.look,
        hierarchy=MemoryHierarchy.of_device(resolved.device.facts.cache_bytes),
    )
