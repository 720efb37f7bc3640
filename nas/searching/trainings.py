"""One round's trainings: proposes candidates, stops the hopeless, and records how each ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import final

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError
from nas.jobs.execution import Job, Report
from nas.searching.evaluators import Evaluator, training_seed
from nas.searching.knowledge import NOT_DESCRIBED
from nas.searching.proposer import Beforehand, Proposer, Told
from nas.searching.run_state import RunState
from nas.space.architecture import Architecture
from nas.training.early_stopping import EarlyStopping, RungTrust
from nas.training.zero_cost import ScorePrior
from nas.values.evaluation import Evaluation, Failure, PredictedValue
from nas.values.metric import METRICS

CostsOf = Callable[[Sequence[Architecture]], npt.NDArray[np.float64]]


@final
class RoundOfTrainings:
    """The source of one round's jobs, up to ``until`` trainings in all, and none begun after ``ends_s``.

    ``ends_s`` is in seconds of the run's own clock, ``state.spent_s``. ``prior`` tells the proposer what to expect of
    errors. ``dried_up`` tells afterwards that the proposer found nothing more that is new and probably meets
    the limits.
    """

    def __init__(
        self,
        state: RunState,
        evaluator: Evaluator,
        number: int,
        until: int,
        ends_s: float = math.inf,
        prior: ScorePrior | None = None,
    ) -> None:
        self._state = state
        self._evaluator = evaluator
        self._number = number
        self._left = until - state.knowledge.trials
        self._ends_s = ends_s
        self._predicted: dict[str, dict[str, PredictedValue]] = {}
        self._curves: dict[str, list[float]] = {}
        self._subsets: dict[str, list[float]] = {}
        self.dried_up = False
        recipe = state.recipe
        self._stopping = EarlyStopping(
            recipe.early_stopping,
            evaluator.epochs,
            whole=lambda: [row.details["curve"] for row in state.knowledge.candidates],
            tell=self._tell,
        )
        for row in state.knowledge.trainings.values():
            for epoch, error in enumerate(row.details.get("curve", ()), start=1):
                self._stopping.record(row.architecture.id, epoch, error, self._costs(row.architecture))
        self._proposer = Proposer(
            state.task.space,
            len(recipe.objectives),
            recipe.sampler,
            seed=recipe.seed,
            history=[self._told(row) for row in state.knowledge.trainings.values()],
            beforehand=Beforehand(
                state.screen.describer, self._known_costs(), prior, weigh_time=recipe.search_time_s is not None
            ),
        )

    def next_job(self) -> Job | None:
        if self._left <= 0 or self._time_is_over():
            return None
        taken = {architecture.id for architecture in self._state.knowledge.unfit} | self._predicted.keys()
        within = self._measured_within_limits(taken)
        starts = [] if self._has_met_limits() else within
        architecture = self._settled() or self._proposer.propose(self._accept, taken, starts)
        if architecture is None and not self._state.screen.may_drop_caution:
            architecture = next(iter(within), None)
        if architecture is None:
            self.dried_up = True
            self._left = 0
            return None
        if self._left <= 0:  # what could not be built took the rest of this round's budget
            return None
        self._left -= 1
        self._predicted[architecture.id] = self._state.screen.predicted(architecture)
        self._curves[architecture.id] = []
        return {
            "id": architecture.id,
            "architecture": dict(architecture),
            "seed": training_seed(self._state.recipe, architecture),
        }

    def _time_is_over(self) -> bool:
        """However short the time, something is trained."""
        begun = bool(self._predicted or self._state.knowledge.trials)
        return begun and self._ends_s < math.inf and self._state.spent_s >= self._ends_s

    def on_report(self, job: Job, report: Report) -> bool:
        self._note(job, report)
        return self._stopping.goes_on(job["id"], report["epoch"])

    def on_restart(self, job: Job) -> None:
        self._curves[job["id"]] = []
        self._subsets.pop(job["id"], None)

    def _tell(self, trust: RungTrust, trainings: int) -> None:
        """Say how far early errors can be relied on, unless the journal has it from before."""
        state = self._state
        said = [body.get("early_stopping", {}).get("trainings") for body in state.journal.bodies("note")]
        if trainings in said:
            return
        last = self._evaluator.epochs
        shown = ", ".join(f"{correlation:.2f} after {epoch}" for epoch, correlation in trust.correlations.items())
        verdict = (
            f"stopping begins at epoch {trust.relied_on[0]}" if trust.relied_on else "so no training is stopped early"
        )
        state.progress.say(
            f"errors rank {trainings} whole trainings as those after {last} epochs do, Spearman: {shown}; {verdict}"
        )
        by_epoch = {f"Spearman after epoch {epoch}": c for epoch, c in trust.correlations.items()}
        stops_at = list(trust.relied_on) or None
        state.journal.append("note", {"early_stopping": {**by_epoch, "trainings": trainings, "stops after": stops_at}})

    def on_end(self, job: Job, report: Report) -> None:
        if report.get("done"):
            self._note(job, report)
        architecture = Architecture(job["architecture"])
        row = Evaluation(
            "train",
            architecture,
            self._number,
            values={"error": report["error"], **self._state.screen.counted(architecture)},
            predicted=self._predicted[job["id"]],
            details={
                "epochs": report["epoch"],
                "stopped_early": not report.get("done", False),
                "subset": report.get("subset", self._evaluator.subset),
                **self._growth(job),
                "curve": self._curves[job["id"]],
                "seconds": report["seconds"],
                **({"by": report["by"]} if "by" in report else {}),
            },
        )
        self._end(row)

    def _growth(self, job: Job) -> dict[str, list[float]]:
        """What each epoch saw of the training images, where that was not always the same."""
        subsets = self._subsets.pop(job["id"], [])
        return {"subsets": subsets} if len(set(subsets)) > 1 else {}

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

    def _end(self, row: Evaluation) -> None:
        state = self._state
        turned_away = state.screen.tell_turned_away()
        state.add(replace(row, details={**row.details, **turned_away.to_details()}))
        self._proposer.tell(self._told(row))
        best = min((r.values["error"] for r in state.knowledge.candidates), default=None)
        state.progress.advance(best=None if best is None else f"error {METRICS['error'].format(best)}")
        state.knowledge.check_failures()

    def _accept(self, architecture: Architecture) -> bool:
        """Whether to train a proposal. What cannot be built takes its place in the budget as a failed row."""
        if self._left <= 0:
            return True  # the budget went to failures meanwhile; next_job drops this one
        try:
            lets_through = self._state.screen.lets_through(architecture, self._state.knowledge)
        except CandidateError as error:
            self._left -= 1
            failure = Failure(error.kind, error.reason)
            self._end(Evaluation("train", architecture, self._number, failure=failure, details=NOT_DESCRIBED))
            return False
        self._state.knowledge.note_described()
        return lets_through

    def _settled(self) -> Architecture | None:
        """A proposal of an earlier round that was too near to a limit to tell, and was measured since to meet it."""
        knowledge = self._state.knowledge
        return next(
            (
                row.architecture
                for row in knowledge.rows
                if row.stage == "measure"
                and row.round > 0
                and row.architecture not in knowledge.trainings
                and row.architecture not in knowledge.unfit
                and row.architecture.id not in self._predicted
                and self._state.screen.probably_meets(row.architecture, knowledge)
            ),
            None,
        )

    def _has_met_limits(self) -> bool:
        """Whether a candidate is within the limits that need no training."""
        screen, knowledge = self._state.screen, self._state.knowledge
        return any(screen.probably_meets(row.architecture, knowledge) for row in knowledge.candidates)

    def _measured_within_limits(self, taken: Collection[str]) -> list[Architecture]:
        """What is not trained but was measured and found to be within the limits; nothing where there are none."""
        screen, knowledge = self._state.screen, self._state.knowledge
        if not screen.cost_limits:
            return []
        return [
            architecture
            for architecture in knowledge.measurements
            if architecture.id not in taken
            and architecture not in knowledge.trainings
            and screen.probably_meets(architecture, knowledge)
        ]

    def _note(self, job: Job, report: Report) -> None:
        self._curves[job["id"]].append(report["error"])
        self._subsets.setdefault(job["id"], []).append(report.get("subset", self._evaluator.subset))
        costs = self._costs(Architecture(job["architecture"]))
        self._stopping.record(job["id"], report["epoch"], report["error"], costs)

    def _costs(self, architecture: Architecture) -> tuple[float, ...]:
        """The objectives that are known before training."""
        screen = self._state.screen
        values = screen.values(architecture, self._state.knowledge)
        return tuple(values[o.metric.name] for o in screen.objectives if o.metric.source != "trained")

    def _known_costs(self) -> dict[int, CostsOf]:
        """The objectives that are known before training, by their number; none where no other is left to learn."""
        screen, knowledge = self._state.screen, self._state.knowledge

        def costs_of(name: str) -> CostsOf:
            return lambda architectures: screen.costs(architectures, name, knowledge)

        metrics = [objective.metric for objective in screen.objectives]
        known = {index: costs_of(m.name) for index, m in enumerate(metrics) if m.source != "trained"}
        return known if len(known) < len(metrics) else {}

    def _told(self, row: Evaluation) -> Told:
        screen, knowledge = self._state.screen, self._state.knowledge
        if row.failed:
            return Told(row.architecture, None, {})
        values = screen.values(row.architecture, knowledge)
        if row.reached_full_fidelity:
            seconds = row.details.get("seconds")
            return Told(row.architecture, screen.losses(values), screen.excesses(values), seconds=seconds)
        error = self._expected_error(row)
        if error is None:
            return Told(row.architecture, None, {}, stopped=True)
        values |= {"error": error}
        return Told(row.architecture, None, screen.excesses(values), stopped=True, expected=screen.losses(values))

    def _expected_error(self, row: Evaluation) -> float | None:
        """Where a stopped training would have ended, had its error fallen as those of finished ones did from there."""
        curve = row.details.get("curve", ())
        finished = [other.details.get("curve", ()) for other in self._state.knowledge.candidates]
        ratios = [c[-1] / c[len(curve) - 1] for c in finished if len(c) >= len(curve) > 0 and c[len(curve) - 1] > 0]
        return float(curve[-1] * np.median(ratios)) if ratios else None
