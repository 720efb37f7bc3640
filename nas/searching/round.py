"""One round of the search, top to bottom: propose, screen, train, tell; then measure what would change the front."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import final

from nas.errors import CandidateError
from nas.jobs.execution import Executor, Job, Report
from nas.progress import duration_text
from nas.results.notes.prior_ranks import prior_sentences
from nas.searching.evaluating.evaluators import DOING, Checked, Evaluator, reported
from nas.searching.evaluating.siblings import precisions_to_evaluate, rows_of_training, sibling_ids
from nas.searching.evaluating.stopping import Stopping
from nas.searching.failures import NOT_DESCRIBED
from nas.searching.fitting import Fitting
from nas.searching.proposer import Beforehand, Prior, Proposal, Proposer
from nas.searching.sampler_feedback import known_before, known_costs, told
from nas.searching.selection import front_candidates, worth_measuring
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.parts.parents import parents_space
from nas.storage.journal_rows import Fit, TrainingsEnded, TurnedAway
from nas.training.settings import training_seed
from nas.values.evaluation import Evaluation, Failure, PredictedValue
from nas.values.metric import trained_values
from nas.values.objective import reason_text

FINAL_MEASURINGS = 4
"""The most times the front is measured at the end. Each time, unmeasured points may join the front."""


def train_round(state: RunState, evaluator: Evaluator, executor: Executor, number: int, prior: Prior | None) -> None:
    """Train this round's share of the budget, skipping what the journal already holds.

    ``prior`` tells the sampler what to expect of errors before any is known.
    """
    if number in state.rounds_done:
        return
    recipe, screening = state.recipe, state.screening
    for turned_away in state.journal.rows(TurnedAway):
        if turned_away.round == number:
            screening.take_up(turned_away)
    until = _trials_until(state, number)
    has_ended = any(row.round == number for row in state.journal.rows(TrainingsEnded))
    if has_ended or state.beliefs.trials >= until:
        return
    already = state.beliefs.trials
    total = None if recipe.has_time_alone else until - already
    ends_s = state.schedule.end_of_round_s(number)
    most_s = ends_s - state.spent_s if math.isfinite(ends_s) else None
    if most_s is not None and most_s <= 0:
        if already:
            state.progress.say(f"round {number} does not begin, because no search time is left for it")
            return
        state.progress.say("the search time leaves none for training: one candidate is trained, or there is no result")
        total, most_s = 1, None
    state.progress.stage(f"round {number}/{recipe.rounds}: {DOING[recipe.evaluate]}", total, most_s)
    for trainings in _attempts(state, evaluator, number, until, ends_s, prior):
        executor.run(Checked(evaluator.work, reported(recipe)), trainings, time_limit_s=evaluator.time_limit_s)
    state.journal.append(*screening.unrecorded(number), TrainingsEnded(number))
    screening.mark_recorded()
    state.progress.close()
    _report_round(state, number, state.beliefs.trials - already, total, trainings.dried_up)


def measure_round(state: RunState, fitting: Fitting, number: int) -> None:
    """Measure what would most change the front, what is near a limit and what is unknown; and fit again."""
    if number in state.rounds_done:
        return
    if state.beliefs.measured_metrics:
        # A round's measurements come to disk together: after a kill the journal has all of them or none.
        if not any(row.stage == "measure" and row.round == number for row in state.beliefs.rows):
            beliefs, count = state.beliefs, state.recipe.measuring.per_round
            near_limits = state.screening.near_limits
            state.measure(worth_measuring(beliefs, beliefs.candidates, near_limits, count), number)
        fitting.fit(number)
        if fitting.doubts:
            state.progress.say(fitting.doubts_text)
    state.end_round(number)


def measure_front(state: RunState, fitting: Fitting) -> None:
    """Measure the points of the front that are only predicted, until every point is measured and meets the limits."""
    number = state.last_round
    if not state.beliefs.measured_metrics:
        return
    # Each of these measurings ends with a fit, so fits tell how many there were before an interruption.
    already: dict[str, set[int]] = {}
    for fit in state.journal.rows(Fit):
        if fit.round == number:
            already.setdefault(fit.metric, set()).add(fit.samples)
    for _ in range(FINAL_MEASURINGS - max(map(len, already.values()), default=0)):
        front = front_candidates(state.beliefs, surely=False)
        front_now = state.beliefs.parts.one_each(row.architecture for row in front)
        unmeasured = [architecture for architecture in front_now if architecture not in state.beliefs.measurements]
        if not unmeasured:
            return
        if not state.schedule.has_time_to_measure(len(unmeasured)) and any(
            row.architecture in state.beliefs.measurements for row in front
        ):
            state.progress.say(f"no time is left to measure {len(unmeasured)} more of the front")
            return
        state.measure(unmeasured, number)
        fitting.fit(number)


def _trials_until(state: RunState, number: int) -> int:
    """Return the number of trials at which a round ends: its share of the budget, or of a small space.

    Once everything is measured there is nothing to learn between rounds, so the first one takes all that is left.
    """
    recipe, beliefs = state.recipe, state.beliefs
    until = recipe.trials if beliefs.is_all_measured else round(recipe.trials * number / recipe.rounds)
    return until if beliefs.untrained is None else min(until, beliefs.trials + beliefs.untrained)


def _attempts(
    state: RunState, evaluator: Evaluator, number: int, until: int, ends_s: float, prior: Prior | None
) -> Iterator[Trainings]:
    """Yield the round's trainings. If no proposals are left, yield a second batch that relies on predicted means.

    A search must not end early because few samples give no tight confidence bound.
    """
    trainings = Trainings(state, evaluator, number, until, ends_s, prior)
    yield trainings
    if trainings.dried_up and state.screening.may_drop_caution:
        state.screening.drop_caution()
        state.progress.say(
            f"round {number}: no further new architecture meets the limits by the predictors' confidence bounds, so "
            "those that meet them by the predicted mean are trained too."
        )
        yield Trainings(state, evaluator, number, until, ends_s, prior)


def _report_round(state: RunState, number: int, trained: int, total: int | None, dried_up: bool) -> None:
    """Say how well priors rank, what was turned away, and why the round ended with fewer trainings than planned."""
    for sentence in prior_sentences(state.beliefs.rows):
        state.progress.say(sentence)
    if counts := state.screening.counts:
        listed = ", ".join(
            f"{count} by {reason_text(reason, state.beliefs.limits)}" for reason, count in counts.most_common()
        )
        state.progress.say(f"round {number}: turned away before training, {listed}")
    done = trained if total is None else f"{trained} of {total}"
    if dried_up:
        state.progress.say(
            f"round {number} ends after {done} candidates: no further new architecture was found that probably meets "
            "the limits."
        )
    elif state.beliefs.untrained == 0 and trained and state.beliefs.trials < state.recipe.trials:
        state.progress.say(f"every architecture of the space is trained: {state.beliefs.trials} in all")
    elif total is not None and trained < total:
        time = duration_text(state.recipe.search_time_s or 0)
        state.progress.say(
            f"round {number} ends after {done} trainings: its share of the search time ({time} in all) is used up."
        )


@final
class Trainings:
    """The jobs of one round, up to ``until`` trainings in the whole run; none begins after ``ends_s``.

    An executor asks for a job, and tells how each one goes and ends. ``ends_s`` is in seconds of the run's own clock,
    ``state.spent_s``. ``dried_up`` is True once no further new architecture was found that probably meets the limits.
    """

    def __init__(
        self,
        state: RunState,
        evaluator: Evaluator,
        number: int,
        until: int,
        ends_s: float = math.inf,
        prior: Prior | None = None,
    ) -> None:
        self._state = state
        self._evaluator = evaluator
        self._number = number
        self._left = until - state.beliefs.trials
        self._ends_s = ends_s
        self._prior = prior
        beliefs = state.beliefs
        # What follows asks about each training; predicting them together takes a hundredth of the time.
        beliefs.predict_all(beliefs.trainings)
        self._taken = {architecture.id for architecture in beliefs.unfit}
        self._taken.update(*(sibling_ids(beliefs, architecture) for architecture in beliefs.trainings))
        self._has_met_limits = any(map(self._meets_limits, beliefs.trainings.values()))
        later = (row for row in beliefs.rows if row.stage == "measure" and row.round > 0)
        self._measured_later = deque(row.architecture for row in later if row.architecture not in beliefs.unfit)
        self._predicted: dict[str, dict[str, PredictedValue]] = {}
        self._curves: dict[str, list[float]] = {}
        self._subsets: dict[str, list[float]] = {}
        self.dried_up = False
        recipe = state.recipe
        self._stopping = Stopping(state, evaluator.epochs)
        self._proposer = Proposer(
            state.resolved.space,
            len(recipe.objectives),
            recipe.sampler.name,
            seed=recipe.seed,
            history=[told(state.beliefs, row) for row in state.beliefs.trainings.values()],
            beforehand=Beforehand(
                state.beliefs.describer, known_costs(state.beliefs), prior, weigh_time=recipe.search_time_s is not None
            ),
            options=recipe.sampler.options,
        )

    # Propose

    def next_job(self) -> Job | None:
        if self._left <= 0 or self._time_is_over():
            return None
        architecture = self._next_candidate()
        if self._left <= 0:  # architectures that could not be built took the rest of this round's budget
            return None
        if architecture is None:
            self.dried_up = True
            self._left = 0
            return None
        self._left -= 1
        beliefs = self._state.beliefs
        self._predicted[architecture.id] = beliefs.predicted(architecture)
        self._taken |= sibling_ids(beliefs, architecture)
        self._curves[architecture.id] = []
        return {
            "id": architecture.id,
            "architecture": dict(architecture),
            "seed": training_seed(self._state.recipe, beliefs.training_parts.of(architecture)),
            "precisions": precisions_to_evaluate(beliefs, architecture),
        }

    def _next_candidate(self) -> Architecture | None:
        """Return what a space names first, a proposal that measuring has settled, a new one, or one only measured."""
        first = self._first()
        if first is not None:
            return first
        settled = self._settled()
        if settled is not None:
            return settled
        screening = self._state.screening
        starts = [] if self._has_met_limits else self._measured_within_limits()
        proposal = self._proposer.propose(screening.judge, self._taken, starts)
        self._screen(proposal)
        if proposal.architecture is None and not screening.may_drop_caution:
            return next(iter(self._measured_within_limits()), None)
        return proposal.architecture

    def _first(self) -> Architecture | None:
        """Return the parent, or one of those that its space wants to see first, if they probably meet the limits."""
        beliefs = self._state.beliefs
        space = parents_space(beliefs.space)
        for place, architecture in enumerate(map(beliefs.parts.completed, space.first if space else ())):
            is_new = architecture not in beliefs.trainings and architecture.id not in self._taken
            if is_new and (place == 0 or beliefs.probably_meets(architecture)):
                return architecture
        return None

    def _time_is_over(self) -> bool:
        """Return True once the round's time is over. However short the time, a run trains at least one candidate."""
        begun = bool(self._predicted or self._state.beliefs.trials)
        return begun and self._ends_s < math.inf and self._state.spent_s >= self._ends_s

    def _settled(self) -> Architecture | None:
        """Return a proposal of an earlier round that was near a limit, and was measured since to meet it."""
        beliefs = self._state.beliefs
        while self._measured_later:
            architecture = self._measured_later[0]
            is_new = architecture not in beliefs.trainings and architecture.id not in self._taken
            if is_new and beliefs.probably_meets(architecture):
                return architecture
            self._measured_later.popleft()  # nothing is measured during a round, so this stays as it is
        return None

    def _meets_limits(self, row: Evaluation) -> bool:
        """Return True for a candidate that is within the limits that need no training."""
        beliefs = self._state.beliefs
        fit = row.reached_full_fidelity and row.architecture not in beliefs.unfit
        return fit and beliefs.probably_meets(row.architecture)

    def _measured_within_limits(self) -> list[Architecture]:
        """Return architectures that were measured to meet the limits, untrained and not proposed in this round.

        There are none without a limit.
        """
        beliefs = self._state.beliefs
        if not beliefs.cost_limits:
            return []
        measured = map(beliefs.parts.completed, beliefs.measurements)
        untrained = [architecture for architecture in measured if architecture not in beliefs.trainings]
        new = [architecture for architecture in untrained if architecture.id not in self._taken]
        return [architecture for architecture in new if beliefs.probably_meets(architecture)]

    # Screen

    def _screen(self, proposal: Proposal) -> None:
        """Act on the verdicts about proposals: count those turned away; those that cannot be built become failed rows.

        A failed row takes its place in the budget.
        """
        for architecture, verdict in proposal.judged:
            if self._left <= 0:
                return
            if verdict.failure is None:
                self._state.beliefs.note_buildable()
                self._state.screening.count(architecture, verdict)
            else:
                self._left -= 1
                row = Evaluation("train", architecture, self._number, failure=verdict.failure, details=NOT_DESCRIBED)
                self._end(row)

    # Train

    def on_report(self, job: Job, report: Report) -> bool:
        self._record(job, report)
        return self._stopping.goes_on(Architecture(job["architecture"]), report["epoch"])

    def on_restart(self, job: Job) -> None:
        self._curves[job["id"]] = []
        self._subsets.pop(job["id"], None)

    def on_end(self, job: Job, report: Report) -> None:
        if report.get("done"):
            self._record(job, report)
        architecture = Architecture(job["architecture"])
        row = Evaluation(
            "train",
            architecture,
            self._number,
            values={**trained_values(report), **self._state.beliefs.counted(architecture)},
            predicted=self._predicted[job["id"]],
            details={
                "epochs": report["epoch"] if report.get("trained", True) else 0,
                "stopped_early": not report.get("done", False),
                "subset": report.get("subset", self._evaluator.subset),
                **self._growth(job),
                "curve": self._curves[job["id"]],
                "seconds": report["seconds"],
                **{key: report[key] for key in ("by", "metrics") if key in report},
                **known_before(self._prior, architecture),
            },
        )
        self._end(*rows_of_training(self._state.beliefs, row, report))

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        self._end(
            Evaluation(
                "train",
                Architecture(job["architecture"]),
                self._number,
                predicted=self._predicted[job["id"]],
                details={"curve": self._curves[job["id"]], "epochs": len(self._curves[job["id"]])},
                failure=Failure(failure.kind, failure.reason),
            )
        )

    def _record(self, job: Job, report: Report) -> None:
        architecture, quality = Architecture(job["architecture"]), report[self._state.beliefs.quality.name]
        curve = self._curves[job["id"]]
        missing = min(report["epoch"], self._stopping.epochs_of(architecture)) - len(curve)  # the user's may end early
        curve += [quality] * max(1, missing)
        subsets = self._subsets.setdefault(job["id"], [])
        subsets += [report.get("subset", self._evaluator.subset)] * max(1, missing)
        if report.get("trained", True):
            self._stopping.record(architecture, report["epoch"], quality)

    def _growth(self, job: Job) -> dict[str, list[float]]:
        """Return the share of the training items that each epoch saw, if it was not always the same."""
        subsets = self._subsets.pop(job["id"], [])
        return {"subsets": subsets} if len(set(subsets)) > 1 else {}

    # Tell

    def _end(self, *rows: Evaluation) -> None:
        """Put the end of a training in the journal, with what was turned away since, and tell the proposer.

        The rows of all precisions come to disk together: after a kill the journal has all of them or none.
        """
        state = self._state
        turned_away = state.screening.unrecorded(self._number)
        self._taken |= {row.architecture.id for row in rows if row.failed}
        state.add(*rows, turned_away=turned_away)
        state.screening.mark_recorded()
        for row in rows:
            self._proposer.tell(told(state.beliefs, row))
            self._has_met_limits = self._has_met_limits or self._meets_limits(row)
        best = state.beliefs.lowest_quality
        state.progress.advance(best=None if best is None else self._best_text(best))

    def _best_text(self, best: float) -> str:
        """Return the lowest quality so far with its name: the task's own words for its error."""
        quality, resolved = self._state.beliefs.quality, self._state.resolved
        if quality.name != "error":
            return f"{quality.title.lower()} {quality.format(best)}"
        words = resolved.backend.words
        return f"{words.error} {words.error_text(best)}"
