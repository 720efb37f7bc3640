"""The trainings of one round as jobs: which candidate is next, and what its reports become."""

from __future__ import annotations

import math
from functools import cached_property
from typing import final

from nas.errors import CandidateError
from nas.jobs.execution import Job, Report
from nas.progress import duration_text
from nas.searching.drawing import evenly
from nas.searching.evaluating.evaluators import Evaluator
from nas.searching.evaluating.siblings import precisions_to_evaluate, rows_of_training, sibling_ids
from nas.searching.evaluating.stopping import Stopping
from nas.searching.failures import NOT_DESCRIBED
from nas.searching.first_front import first_front, on_validation, quality_text
from nas.searching.proposer import Beforehand, Prior, Proposal, Proposer
from nas.searching.sampler_feedback import known_before, known_costs, told
from nas.searching.screening import TOO_LONG, Verdict
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.parts.parents import first_of
from nas.storage.journal_rows import TurnedAway
from nas.training.settings import training_seed
from nas.training.training import epochs_done
from nas.values.evaluation import BY_FOLDS, FITTED, OF_ALL, Evaluation, Failure, PredictedValue
from nas.values.metric import trained_values

FIRST_QUARTERS = 3
"""So many quarters of the trials may be what a space wants to see first."""


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
        self._rows_seen = 0
        self._predicted: dict[str, dict[str, PredictedValue]] = {}
        self._begun: dict[str, Architecture] = {}
        self._curves: dict[str, list[float]] = {}
        self._subsets: dict[str, list[float]] = {}
        self.dried_up = False
        self._room_s = math.inf
        self._first_is_told = all(each in beliefs.trainings for each in self._wanted_first)
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
        """Return the next candidate as a job, after those that the journal holds of an interrupted round."""
        while (job := self._proposed_job()) is not None:
            if not self._is_recorded(job):
                break
        return job

    def _is_recorded(self, job: Job) -> bool:
        """Return True for a training that ended before the run was interrupted, and take its rows from the journal."""
        recorded, architecture = self._state.recorded, self._begun[job["id"]]
        if not recorded:
            return False
        rows = recorded.next_of(architecture)
        if rows:
            self._stopping.recall(architecture, next((row for row in rows if row.details.get("curve")), rows[0]))
            self._end(*rows)
            return True
        is_known = architecture in self._recall_rest()
        self._left += is_known  # it was counted as a new one
        return is_known or self._left < 0

    def _recall_rest(self) -> set[Architecture]:
        """Believe what the journal holds of this round and other code had proposed, and return its candidates."""
        state, rest = self._state, self._state.recorded.take_rest()
        before = state.beliefs.trials
        state.beliefs.recall(*rest)
        state.screening.take_up(row for row in state.journal.rows(TurnedAway) if row.round == self._number)
        for row in rest:
            self._taken |= sibling_ids(state.beliefs, row.architecture)
            self._proposer.tell(told(state.beliefs, row))
            self._has_met_limits = self._has_met_limits or self._meets_limits(row)
        self._left -= state.beliefs.trials - before
        return {row.architecture for row in rest}

    def _proposed_job(self) -> Job | None:
        if self._left <= 0 or self._time_is_over():
            return None
        architecture = self._next_candidate()
        if self._left <= 0:  # architectures that could not be built took the rest of this round's budget
            return None
        if architecture is None or not self._has_time_for(architecture):
            self.dried_up = architecture is None and not self._state.screening.counts[TOO_LONG]
            self._left = 0
            return None
        self._left -= 1
        beliefs = self._state.beliefs
        self._predicted[architecture.id] = beliefs.predicted(architecture)
        self._taken |= sibling_ids(beliefs, architecture)
        self._begun[architecture.id], self._curves[architecture.id] = architecture, []
        return {
            "id": architecture.id,
            "architecture": dict(architecture),
            "seed": training_seed(self._state.recipe, beliefs.candidate(architecture).trained),
            "precisions": precisions_to_evaluate(beliefs, architecture),
        }

    def _next_candidate(self) -> Architecture | None:
        """Return what a space names first, a proposal that measuring has settled, a new one, or one only measured."""
        if (first := self._first()) is not None:
            return first
        if (settled := self._settled()) is not None:
            return settled
        screening = self._state.screening
        starts = [] if self._has_met_limits else self._measured_within_limits()
        self._room_s = self._time_left_s()
        self._proposer.note_fits(screening.fits)
        proposal = self._proposer.propose(self._judged, self._taken, starts)
        self._screen(proposal)
        if proposal.architecture is None and not screening.may_drop_caution:
            return next(iter(self._measured_within_limits()), None)
        return proposal.architecture

    def _judged(self, architecture: Architecture) -> Verdict:
        """Return whether a proposal is trained: within the limits, and within the time that the round has left."""
        verdict = self._state.screening.judge(architecture)
        if self._room_s == math.inf or not verdict.is_accepted:
            return verdict
        takes_s = self._state.durations.candidate_s(architecture)
        return verdict if self._fits(takes_s, self._room_s) else Verdict(TOO_LONG)

    def _first(self) -> Architecture | None:
        """Return the parent, or one of those that the space wants to see first, if there is one left."""
        new = filter(self._is_new, self._wanted_first)
        return next((architecture for architecture in new if self._has_time_for(architecture)), None)

    @cached_property
    def _wanted_first(self) -> list[Architecture]:
        """The parent, and those that the space wants to see first and that probably meet the limits.

        Without a parent they are at most three quarters of all trials, evenly spread: the rest is for the sampler.
        """
        beliefs, recipe = self._state.beliefs, self._state.recipe
        first = list(map(beliefs.candidate, first_of(beliefs.space)))
        first = [each for each in first if each not in beliefs.unfit and beliefs.describer.can_be_built(each)]
        if beliefs.parent is not None:
            return [*first[:1], *filter(beliefs.probably_meets, first[1:])]
        return evenly(list(filter(beliefs.probably_meets, first)), max(1, FIRST_QUARTERS * recipe.trials // 4))

    def _time_is_over(self) -> bool:
        """Return True once no candidate's training fits into the round's time."""
        left_s = self._time_left_s()
        return left_s < math.inf and not self._fits(self._state.durations.least_candidate_s, left_s)

    def _has_time_for(self, architecture: Architecture) -> bool:
        """Return True if a training fits into the round's time."""
        left_s = self._time_left_s()
        return left_s == math.inf or self._fits(self._state.durations.candidate_s(architecture), left_s)

    def _fits(self, training_s: float, left_s: float) -> bool:
        """Return True if a training ends in time, or late by at most half of it and by what a search may be late."""
        return training_s - min(training_s / 2, self._state.schedule.may_be_late_s) < left_s

    def _time_left_s(self) -> float:
        """Return the seconds that the round has left; infinity for a parent, and for the first candidate of a run.

        However short the time, a run trains at least one, beside a parent, which is evaluated as it is. Winners may
        need more time than when the round began.
        """
        beliefs = self._state.beliefs
        parents = [each for each in self._wanted_first[:1] if each == beliefs.parent]
        awaits_parent = any(map(self._is_new, parents))
        is_first = max(len(self._predicted), beliefs.trials) <= (beliefs.parent is not None)
        if is_first or awaits_parent or self._ends_s == math.inf:
            return math.inf
        schedule, left_s = self._state.schedule, self._ends_s - self._state.spent_s
        if self._state.recipe.evaluate != "train" or not schedule.is_timed:
            return left_s
        return min(left_s, schedule.left_s - schedule.reserve_s)

    def _settled(self) -> Architecture | None:
        """Return a proposal that was near a limit, and was measured since to meet it."""
        beliefs = self._state.beliefs
        while self._rows_seen < len(beliefs.rows):
            row = beliefs.rows[self._rows_seen]
            if row.stage == "measure" and row.round > 0 and self._may_be_trained(row.architecture):
                return row.architecture
            self._rows_seen += 1
        return None

    def _may_be_trained(self, architecture: Architecture) -> bool:
        """Return True for one that is fit, new and probably within the limits, and for which there is time."""
        beliefs = self._state.beliefs
        is_fit = architecture not in beliefs.unfit and beliefs.probably_meets(architecture)
        return is_fit and self._is_new(architecture) and self._has_time_for(architecture)

    def _is_new(self, architecture: Architecture) -> bool:
        """Return True for one that is neither trained nor proposed in this round."""
        return architecture not in self._state.beliefs.trainings and architecture.id not in self._taken

    def _meets_limits(self, row: Evaluation) -> bool:
        """Return True for a candidate that is within the limits that need no training."""
        beliefs = self._state.beliefs
        fit = row.reached_full_fidelity and row.architecture not in beliefs.unfit
        return fit and beliefs.probably_meets(row.architecture)

    def _measured_within_limits(self) -> list[Architecture]:
        """Return new architectures that were measured to meet the limits; there are none without a limit."""
        beliefs = self._state.beliefs
        if not beliefs.cost_limits:
            return []
        new = filter(self._is_new, map(beliefs.candidate, beliefs.measurements))
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
        architecture = self._begun[job["id"]]
        return not self._ends_too_late(architecture, report) and self._stopping.goes_on(architecture, report["epoch"])

    def _ends_too_late(self, architecture: Architecture, report: Report) -> bool:
        """Return True, and say so, for a training so much slower than expected that the whole search would be late."""
        if self._ends_s == math.inf or not self._state.beliefs.candidates:
            return False
        epoch, epochs, schedule = report["epoch"], self._stopping.epochs_of(architecture), self._state.schedule
        late_s = (epochs - epoch) * report["seconds"] / epoch - (schedule.left_s - schedule.reserve_s)
        if late_s <= schedule.may_be_late_s:
            return False
        self._state.progress.say(
            f"training {architecture.id} stops after epoch {epoch} of {epochs}, because it would end "
            f"{duration_text(late_s)} after the time for training"
        )
        return True

    def on_restart(self, job: Job) -> None:
        self._curves[job["id"]] = []
        self._subsets.pop(job["id"], None)

    def on_end(self, job: Job, report: Report) -> None:
        if report.get("done"):
            self._record(job, report)
        architecture = self._begun[job["id"]]
        if "note" in report:
            self._state.progress.say(f"training {architecture.id}: {report['note']}")
        row = Evaluation(
            "train",
            architecture,
            self._number,
            values={**trained_values(report), **self._state.beliefs.counted(architecture)},
            predicted=self._predicted[job["id"]],
            details={
                "epochs": epochs_done(report),
                "stopped_early": not report.get("done", False),
                "subset": report.get("subset", self._evaluator.subset),
                **self._growth(job),
                "curve": self._curves[job["id"]],
                "seconds": report["seconds"],
                **{key: report[key] for key in ("by", "metrics", FITTED, BY_FOLDS) if key in report},
                **({OF_ALL: True} if OF_ALL in report else {}),
                **known_before(self._prior, architecture),
            },
        )
        content = report.get(OF_ALL, report.get("weights"))
        weights = None if content is None else self._evaluator.weights
        if weights is not None:
            weights.put(self._state.beliefs.candidate(architecture).trained, content)
        self._end(*rows_of_training(self._state.beliefs, row, report))
        if weights is not None:
            weights.drop_others()

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        self._end(
            Evaluation(
                "train",
                self._begun[job["id"]],
                self._number,
                predicted=self._predicted[job["id"]],
                details={"curve": self._curves[job["id"]], "epochs": len(self._curves[job["id"]])},
                failure=Failure(failure.kind, failure.reason),
            )
        )

    def _record(self, job: Job, report: Report) -> None:
        architecture, quality = self._begun[job["id"]], report[self._state.beliefs.quality.name]
        curve = self._curves[job["id"]]
        # A training function of the user's may end early.
        missing = min(epochs_done(report), self._stopping.epochs_of(architecture)) - len(curve)
        curve += [quality] * max(1, missing)
        subsets = self._subsets.setdefault(job["id"], [])
        subsets += [report.get("subset", self._evaluator.subset)] * max(1, missing)
        if report.get("trained", True) and not report.get(FITTED):
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
        recorded = state.recorded.take(len(state.recorded.next_of(rows[0].architecture)))
        self._taken |= {row.architecture.id for row in recorded or rows if row.failed}
        if recorded:
            rows = tuple(recorded)
            state.beliefs.recall(*rows)
        else:
            state.add(*rows, turned_away=state.screening.unrecorded(self._number))
        state.screening.mark_recorded()
        for row in rows:
            self._proposer.tell(told(state.beliefs, row))
            self._has_met_limits = self._has_met_limits or self._meets_limits(row)
        self._tell_first_front()
        best = state.beliefs.lowest_quality
        state.progress.advance(best=None if best is None else f"{quality_text(state, best)}{on_validation(state)}")

    def _tell_first_front(self) -> None:
        """Say what is best among those that the space named first, once all of them have ended."""
        beliefs, wanted = self._state.beliefs, self._wanted_first
        if self._first_is_told or not wanted or not all(each in beliefs.trainings for each in wanted):
            return
        self._first_is_told = True
        for sentence in first_front(self._state):
            self._state.progress.say(sentence)
