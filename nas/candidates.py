"""One round's trainings: proposes candidates, stops the hopeless, and records how each ended."""

from __future__ import annotations

from typing import Any, final

from nas.architecture import Architecture
from nas.early_stopping import Rungs, rung_epochs
from nas.errors import CandidateError
from nas.evaluation import Evaluation, Failure, PredictedValue
from nas.execution import Job, Report
from nas.metric import METRICS
from nas.proposer import Proposer, Told
from nas.recipe import Recipe
from nas.run_state import RunState
from nas.training import TrainingSettings


@final
class RoundOfTrainings:
    """The source of one round's jobs, up to ``until`` trainings in all.

    ``dried_up`` tells afterwards that the proposer found nothing more that is new and probably meets the limits.
    """

    def __init__(self, state: RunState, number: int, until: int) -> None:
        self._state = state
        self._number = number
        self._left = until - state.knowledge.trials
        self._predicted: dict[str, dict[str, PredictedValue]] = {}
        self._curves: dict[str, list[float]] = {}
        self.dried_up = False
        recipe = state.recipe
        self._rungs = Rungs(
            rung_epochs(recipe.training.epochs, recipe.early_stopping.reduction)
            if recipe.early_stopping.enabled
            else (),
            keep=recipe.early_stopping.keep,
            min_peers=recipe.early_stopping.min_peers,
        )
        for row in state.knowledge.trainings.values():
            for epoch, error in enumerate(row.details.get("curve", ()), start=1):
                self._rungs.record(row.architecture.id, epoch, self._losses(row.architecture, error))
        self._proposer = Proposer(
            state.task.space,
            len(recipe.objectives),
            recipe.sampler,
            seed=recipe.seed,
            history=[self._told(row) for row in state.knowledge.trainings.values()],
        )

    def next_job(self) -> Job | None:
        if self._left <= 0:
            return None
        taken = {architecture.id for architecture in self._state.knowledge.unfit} | self._predicted.keys()
        architecture = self._settled() or self._proposer.propose(self._accept, taken)
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

    def on_report(self, job: Job, report: Report) -> bool:
        self._note(job, report)
        return self._rungs.goes_on(job["id"], report["epoch"])

    def on_end(self, job: Job, report: Report) -> None:
        if report.get("done"):
            self._note(job, report)
        architecture = Architecture(job["architecture"])
        recipe = self._state.recipe
        row = Evaluation(
            "train",
            architecture,
            self._number,
            values={"error": report["error"], **self._state.screen.counted(architecture)},
            predicted=self._predicted[job["id"]],
            details={
                "epochs": report["epoch"],
                "stopped_early": not report.get("done", False),
                "subset": recipe.training.subset,
                "curve": self._curves[job["id"]],
                "seconds": report["seconds"],
            },
        )
        self._end(row)

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
        state.add(row)
        self._proposer.tell(self._told(row))
        best = min((r.values["error"] for r in state.knowledge.candidates), default=None)
        state.progress.advance(best=None if best is None else f"error {METRICS['error'].format(best)}")
        state.knowledge.check_failures()

    def _accept(self, architecture: Architecture) -> bool:
        """Whether to train a proposal. What cannot be built takes its place in the budget as a failed row."""
        if self._left <= 0:
            return True  # the budget went to failures meanwhile; next_job drops this one
        try:
            return self._state.screen.lets_through(architecture, self._state.knowledge)
        except CandidateError as error:
            self._left -= 1
            failure = Failure(error.kind, error.reason)
            self._end(Evaluation("train", architecture, self._number, failure=failure))
            return False

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

    def _note(self, job: Job, report: Report) -> None:
        self._curves[job["id"]].append(report["error"])
        losses = self._losses(Architecture(job["architecture"]), report["error"])
        self._rungs.record(job["id"], report["epoch"], losses)

    def _losses(self, architecture: Architecture, error: float) -> tuple[float, ...]:
        """The error, and the objectives that are known before training."""
        screen = self._state.screen
        values = screen.values(architecture, self._state.knowledge)
        costs = [o.metric.name for o in screen.objectives if o.metric.source != "trained"]
        return (error, *(values[name] for name in costs))

    def _told(self, row: Evaluation) -> Told:
        if not row.reached_full_fidelity:
            return Told(row.architecture, None, {}, stopped=not row.failed)
        values = self._state.screen.values(row.architecture, self._state.knowledge)
        return Told(row.architecture, self._state.screen.losses(values), self._state.screen.excesses(values))


def training_settings(
    recipe: Recipe, epochs: int, subset: float, time_limit_s: float, **changes: Any
) -> TrainingSettings:
    """The recipe's way of training, for so many epochs on so large a share of the images."""
    training = recipe.training
    return TrainingSettings(
        epochs=epochs,
        subset=subset,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        augment=training.augment,
        device=training.device,
        time_limit_s=time_limit_s,
        threads=recipe.execution.threads_per_worker,
        **changes,
    )


def training_seed(recipe: Recipe, architecture: Architecture) -> int:
    """A seed that depends on the recipe's and the architecture alone, so that order and workers do not matter."""
    return (int(architecture.id[:7], 16) + 7919 * recipe.seed) % 2**31
