"""Evaluating candidates without training each of them: by shared weights, or by a score of the untrained network."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import final

from nas.errors import CandidateError, RecipeError, TargetError
from nas.jobs.execution import Executor, Job, Report, Work
from nas.progress import duration_text
from nas.recipe.ways import unshared
from nas.searching.evaluating.handful import Handful, Quick, is_checked, record_agreement, record_unchecked
from nas.searching.evaluating.of_models import Checked, OfModels, in_precisions, reported
from nas.searching.evaluating.ways import is_open, is_too_short
from nas.searching.state import RunState
from nas.storage.journal import write_aside
from nas.storage.journal_rows import SupernetTrained
from nas.storage.run_files import SUPERNET_WEIGHTS
from nas.tasks.criteria import largest_error
from nas.training.settings import TrainingSettings
from nas.training.shared_scoring import SharedScoring
from nas.training.supernet import SharedEvaluation, SharedWeights
from nas.training.supernet_training import SupernetTraining
from nas.training.zero_cost import ZeroCostEvaluation, fit_score_map

CHECKPOINT = "supernet.checkpoint.safetensors"
WAY = "by shared weights"
JOB = "supernet"
"""The id of the job that trains the supernet."""
STAGE = "training the supernet"


@final
class SupernetEvaluator(OfModels):
    """Trains one supernet. Each candidate is then evaluated in seconds, with its part of the shared weights."""

    epochs = 1

    def __init__(self, state: RunState, folder: Path, settings: TrainingSettings, handful: Handful) -> None:
        """``settings`` are for training the supernet."""
        super().__init__(state, folder)
        self._settings = settings
        self._handful = handful
        self.subset = settings.subset
        self.time_limit_s = state.recipe.training.time_limit_s
        self._work: Work | None = None

    @property
    def work(self) -> Work:
        assert self._work is not None, "prepare comes first"
        return self._work

    def prepare(self, executor: Executor) -> None:
        """Train the supernet, and a handful of architectures alone to check it.

        Raises:
            RecipeError: its loss is not finite, or training takes too long.
            TargetError: its process died.
        """
        state, recipe = self._state, self._state.recipe.supernet
        resolved = state.resolved
        alone = SharedEvaluation(
            resolved.space,
            resolved.source,
            SharedWeights(resolved.space, self._trained(executor), state.inheritance),
            recipe.recalibration_images,
            self._settings.device,
            state.recipe.execution.threads_per_worker,
            state.stopwatch,
            self._settings.robustness,
        )
        with_weights = replace(alone, keeps_weights=bool(state.recipe.precisions))
        self._work = in_precisions(state, with_weights, self._settings)
        self.scoring = None if state.inheritance is None else SharedScoring(alone)
        state.durations.supernet_epoch_s = 0.0
        if is_checked(state):
            return
        count = state.schedule.checks()
        if not count:
            record_unchecked(state, WAY)
            return
        trained = self._handful.errors(executor, count)
        quick = Quick(list(trained), self._handful.seed_of, lambda: None)
        executor.run(Checked(alone, reported(state.recipe)), quick, time_limit_s=self.time_limit_s)
        name = state.beliefs.quality.name
        shared = {architecture: float(report[name]) for architecture, report in quick.reports.items()}
        record_agreement(
            state,
            WAY,
            shared,
            trained,
            recipe.least_correlation,
            'A larger supernet.epochs often helps; where it does not, evaluate by "train".',
        )

    def _trained(self, executor: Executor) -> bytes:
        """Return the shared weights: from the folder if the journal knows them, else newly trained."""
        state, path = self._state, self._folder / SUPERNET_WEIGHTS
        known = state.journal.rows(SupernetTrained)
        if known:
            content = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(content).hexdigest() == known[-1].sha256:
                return content
            state.progress.say(f"{path} has changed since it was written, so the supernet is trained again.")
        while not self._is_trained(executor):
            state.progress.say("the supernet's training process was lost; training goes on from the last checkpoint")
        return path.read_bytes()

    def _is_trained(self, executor: Executor) -> bool:
        """Train the supernet from the last checkpoint on. Return True if it came to its end."""
        state, checkpoint = self._state, self._folder / CHECKPOINT
        work = SupernetTraining(
            state.resolved.space,
            state.resolved.source,
            self._settings,
            state.recipe.supernet.per_step,
            checkpoint.read_bytes() if checkpoint.is_file() else None,
            state.stopwatch,
            state.inheritance,
            state.schedule.sharing_s,
        )
        if keys := unshared(state.recipe.training):
            listed = ", ".join(f"training.{key}" for key in keys)
            state.progress.say(f"shared weights are tuned without {listed}, but winners are trained so")
        state.progress.stage(STAGE, work.epochs_left)
        is_lost = False
        try:
            executor.run(work, _OneTraining(state, self._folder), time_limit_s=self._settings.time_limit_s)
        except _LostError:
            is_lost = True
        state.progress.close()
        state.note_cost()
        return not is_lost


class _LostError(Exception):
    """A training was lost after it had written a newer checkpoint than the one that it began from."""


@final
class UntrainableError(RecipeError):
    """Shared weights cannot be trained, for a ``reason`` such as a loss that is not finite."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"the supernet could not be trained: {reason} {remedy}Then start a new run.")
        self.reason = reason


def _first_epoch(report: Report) -> tuple[str, str]:
    """Return in words how long the first epoch took, and for how many epochs there is time."""
    epochs = report["epochs"]
    return duration_text(report["seconds"]), f"{epochs} epoch{'s' * (epochs != 1)}"


@final
class _OneTraining:
    """The one job that trains the supernet. It keeps checkpoints, and in the end the weights."""

    def __init__(self, state: RunState, folder: Path) -> None:
        self._state = state
        self._folder = folder
        self._is_asked_for = False
        self._has_come_farther = False

    def next_job(self) -> Job | None:
        if self._is_asked_for:
            return None
        self._is_asked_for = True
        return {"id": JOB, "seed": self._state.recipe.seed}

    def on_report(self, job: Job, report: Report) -> bool:
        self._check_time(report)
        if "checkpoint" in report:
            write_aside(self._folder / CHECKPOINT, report["checkpoint"])
            self._has_come_farther = True
        self._advance(report)
        return True

    def on_restart(self, job: Job) -> None:
        """Begin new work that has the newest checkpoint; without a newer one, the same work begins again."""
        if self._has_come_farther:
            raise _LostError

    def on_end(self, job: Job, report: Report) -> None:
        self._check_time(report)
        write_aside(self._folder / SUPERNET_WEIGHTS, report["weights"])
        digest = hashlib.sha256(report["weights"]).hexdigest()
        note = SupernetTrained(report["epoch"], report["seconds"], report["loss"], digest)
        self._state.journal.append(note)
        (self._folder / CHECKPOINT).unlink(missing_ok=True)
        self._advance(report)

    def _check_time(self, report: Report) -> None:
        """Raise UntrainableError if there is too little time for tuning, before anything of it is kept."""
        if "epochs" in report and is_too_short(self._state, report["epochs"]):
            took, epochs = _first_epoch(report)
            raise UntrainableError(f"their first epoch took {took}, so there is time for no more than {epochs}", "")

    def _advance(self, report: Report) -> None:
        """Show how far the training is, and say if it gets other epochs than were planned."""
        progress = self._state.progress
        progress.advance(best=f"loss {report['loss']:.3f}")
        if "epochs" in report:
            took, epochs = _first_epoch(report)
            progress.say(f"shared weights are tuned for {epochs}, because the first took {took}")
            if left := report["epochs"] - report["epoch"]:
                progress.stage(STAGE, left)

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        if failure.kind == "worker":
            if self._has_come_farther:
                raise _LostError
            if is_open(self._state):
                raise UntrainableError(failure.reason, "") from failure
            raise TargetError(f"the supernet could not be trained: {failure.reason}") from failure
        remedy = "Raise supernet.time_limit_s or lower supernet.epochs. " if failure.kind == "timeout" else ""
        raise UntrainableError(failure.reason, remedy) from failure


@final
class ZeroCostEvaluator(OfModels):
    """Scores each candidate untrained. A handful of trainings tells which error a score stands for."""

    epochs = 1
    subset = 0.0

    def __init__(self, state: RunState, folder: Path, handful: Handful) -> None:
        super().__init__(state, folder)
        self._handful = handful
        self.time_limit_s = state.recipe.training.time_limit_s
        self._work: Work | None = None

    @property
    def work(self) -> Work:
        assert self._work is not None, "prepare comes first"
        return self._work

    def prepare(self, executor: Executor) -> None:
        """Train a handful of architectures, score them, and fit the function from scores to errors.

        Raises:
            RecipeError: too few could be trained and scored.
        """
        state, recipe = self._state, self._state.recipe
        trained = self._handful.errors(executor, recipe.zero_cost.check)
        scoring = ZeroCostEvaluation(
            state.resolved.space,
            state.resolved.source,
            recipe.zero_cost.score,
            recipe.zero_cost.batch,
            recipe.training.device,
            recipe.execution.threads_per_worker,
            clock=state.stopwatch,
        )
        quick = Quick(list(trained), self._handful.seed_of, lambda: None)
        executor.run(scoring, quick, time_limit_s=self.time_limit_s)
        scores = {architecture: float(report["score"]) for architecture, report in quick.reports.items()}
        common = [architecture for architecture in trained if architecture in scores]
        if len({scores[architecture] for architecture in common}) < 2:
            raise RecipeError(
                "zero-cost scores are turned into errors by at least two trainings with different scores, but of "
                f'{recipe.zero_cost.check} only {len(common)} could be trained and scored. Evaluate by "train".'
            )
        task = state.resolved.task
        found = [scores[a] for a in common], [trained[a] for a in common]
        fitted = fit_score_map(*found, len(task.validation), largest_error(task.criterion))
        self._work = replace(scoring, score_map=fitted)
        record_agreement(
            state,
            "by zero-cost scores",
            {a: -scores[a] for a in common},
            trained,
            recipe.zero_cost.least_correlation,
            'Try zero_cost.score "macs", or evaluate by "train" or, where the space shares weights, by "supernet".',
        )
