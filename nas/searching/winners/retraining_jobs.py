"""The jobs of retraining winners: one training for each network and seed, each with a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from nas.errors import CandidateError
from nas.jobs.execution import Job, Report
from nas.results.bundle import WEIGHTS
from nas.results.bundled.unfinished import unfinished
from nas.searching.state import RunState
from nas.searching.winners.checkpoint_folder import CheckpointFolder
from nas.searching.winners.retraining_plan import RetrainingPlan
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate
from nas.space.parts.device_parts import innermost
from nas.space.parts.start_weights import origin_of
from nas.storage.journal import write_aside
from nas.storage.retraining_rows import SeedTested
from nas.training.checkpoint import CHECKPOINT
from nas.training.settings import further_seed, training_seed
from nas.training.training import epochs_done
from nas.values.evaluation import FITTED, OF_SPACE, TRAINED_AS, TUNED_ON, Evaluation, Failure

SEEDS = "seeds"
"""The folder of the weights of further seeds, within the run's folder."""


@final
@dataclass(frozen=True)
class SeedOf:
    """A training of a network by one seed. The ``candidates`` share it; ``number`` 0 makes their models.

    With ``tuned_on`` it begins with the weights of the search, and takes one epoch.
    """

    candidates: tuple[Candidate, ...]
    number: int = 0
    tuned_on: bool = False

    @property
    def trained(self) -> Architecture:
        """What is trained, which the candidates share."""
        return self.candidates[0].trained


@final
class RetrainingJobs:
    """A source of trainings. The weights reach the disk before the row that says so, and that before the next job.

    ``teacher`` names the model that the trainings learn from too; it is empty where there is none.
    """

    def __init__(
        self,
        state: RunState,
        folder: Path,
        plan: RetrainingPlan,
        checkpoints: CheckpointFolder,
        waiting: Sequence[SeedOf],
        teacher: str = "",
    ) -> None:
        self._state = state
        self._folder = folder
        self._plan = plan
        self._checkpoints = checkpoints
        self._waiting = list(waiting)
        self._teacher = teacher
        self._going: dict[str, SeedOf] = {}
        self._resumed: dict[str, int] = {}

    def next_job(self) -> Job | None:
        if not self._waiting:
            return None
        seed = self._waiting.pop(0)
        name = f"{seed.trained.id}-{seed.number}"
        self._going[name] = seed
        return {
            "id": name,
            "architecture": dict(seed.trained),
            "seed": further_seed(training_seed(self._state.recipe, seed.trained), seed.number),
            "teacher": self._teacher,
            "start": TUNED_ON if seed.tuned_on else self._plan.start,
            "tuned_on": seed.tuned_on,
            CHECKPOINT: self._checkpoints.place(name),
        }

    def on_report(self, job: Job, report: Report) -> bool:
        self._take_in(job, report)
        if CHECKPOINT in report:
            self._checkpoints.write(job["id"], report[CHECKPOINT])
        return True

    def on_restart(self, job: Job) -> None:
        """Do nothing: the training goes on from its checkpoint."""

    def on_end(self, job: Job, report: Report) -> None:
        self._take_in(job, report)
        seed = self._going[job["id"]]
        if seed.number:
            path = seed_weights(self._folder, self._plan, job["id"])
            path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(path, report["weights"])
        else:
            details = self._details(job, report, seed)
            add_trained(self._state, self._folder, self._plan, seed.candidates, details, report["weights"])
        self._checkpoints.drop(job["id"])
        self._state.progress.advance()

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        failed, seed = Failure(failure.kind, failure.reason), self._going[job["id"]]
        if seed.number:
            rows = [SeedTested(each, seed.number, self._plan.number, failure=failed) for each in seed.candidates]
            self._state.journal.append(*rows)
        else:
            details = self._plan.details
            rows_of_all = (Evaluation("retrain", each, details=details, failure=failed) for each in seed.candidates)
            self._state.add(*rows_of_all)
        self._checkpoints.drop(job["id"])
        self._state.progress.advance()

    def _take_in(self, job: Job, report: Report) -> None:
        """Tell what a report says beside its values."""
        say, ids = self._state.progress.say, self._going[job["id"]].candidates[0].id
        if "resumed" in report:
            self._resumed[job["id"]] = report["resumed"]
            say(f"the retraining of {ids} goes on after epoch {report['resumed']} of {self._plan.epochs}")
        if "note" in report:
            say(f"retraining {ids}: {report['note']}")

    def _details(self, job: Job, report: Report, seed: SeedOf) -> dict[str, Any]:
        resumed, architecture = self._resumed.get(job["id"]), seed.candidates[0]
        found = {
            "epochs": epochs_done(report),
            "seconds": report["seconds"],
            "folder": self._plan.bundle(architecture),
            **({FITTED: True} if report.get(FITTED) else {}),
            **({} if resumed is None else {"resumed": resumed}),
            **start_of(self._state, architecture),
            **self._plan.facts("" if report.get(FITTED) else self._teacher),
        }
        if not seed.tuned_on:
            return found
        before = search_details(self._state, architecture)
        return {
            **found,
            "epochs": before["epochs"] + found["epochs"],
            "seconds": before["seconds"] + found["seconds"],
            "subset": before["subset"],
            "start": TUNED_ON,
        }


def start_of(state: RunState, architecture: Architecture) -> dict[str, str]:
    """Return the detail that says if trainings of an architecture begin with weights that the space gives."""
    return {"start": OF_SPACE} if origin_of(innermost(state.resolved.space), architecture) else {}


def search_details(state: RunState, candidate: Candidate) -> Mapping[str, Any]:
    """Return the details of the training that a candidate had in the search, by itself or by a sibling."""
    trainings = state.beliefs.trainings
    known = [trainings[each].details for each in candidate.siblings if each in trainings]
    return next((details for details in known if "seconds" in details), known[0])


def seed_weights(folder: Path, plan: RetrainingPlan, name: str) -> Path:
    """Return the file of the weights of a further seed; ``name`` is that of its job."""
    return folder / SEEDS / str(plan.number) / f"{name}.safetensors"


def add_trained(
    state: RunState,
    folder: Path,
    plan: RetrainingPlan,
    candidates: Sequence[Candidate],
    details: Mapping[str, Any],
    weights: bytes,
) -> None:
    """Let candidates that share a network have its weights: on disk first, and then in the journal."""
    first, *others = candidates
    row = Evaluation("retrain", first, details=details)
    rows = [row, *(shared_row(row, other, plan) for other in others)]
    for each in rows:
        write_weights(folder / each.details["folder"], weights)
    state.add(*rows)


def shared_row(row: Evaluation, architecture: Architecture, plan: RetrainingPlan) -> Evaluation:
    """Return the row of an architecture that shares the retraining of ``row``, with a folder of its own."""
    details = {**row.details, "folder": plan.bundle(architecture), TRAINED_AS: row.architecture.id}
    return Evaluation("retrain", architecture, details=details)


def write_weights(bundle: Path, weights: bytes) -> None:
    """Write the weights of a winner to where its bundle is made."""
    folder = unfinished(bundle)
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / WEIGHTS, weights)
