"""Training of one candidate: a generator of reports, so that its caller may stop it after any epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, final

import numpy as np
import torch

from nas.space.architecture import Architecture
from nas.space.parts.own_fit import fits_itself, share_to_fit
from nas.space.parts.own_inputs import wishes_of
from nas.space.parts.start_weights import load_start
from nas.space.search_space import SearchSpace
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked
from nas.tasks.data_source import DataSource
from nas.tasks.folds import folds_of
from nas.tasks.task import Task
from nas.training.checkpoint import CHECKPOINT, Checkpoint
from nas.training.fitted_heads import from_fitted_head, is_head_alone
from nas.training.inheriting import Inheritance
from nas.training.left_out import can_leave_out
from nas.training.modules import device_named, metrics_on, move, weights_content
from nas.training.settings import TrainingSettings, further_seed
from nas.training.trainer import Trainer
from nas.values.evaluation import BY_FOLDS, FITTED, OF_ALL


@final
@dataclass(frozen=True)
class CandidateTraining:
    """The work of a job: train its architecture, and report after each epoch.

    A job holds ``architecture`` (the values of its choices) and ``seed``. A report holds ``epoch``, ``loss``,
    ``subset`` (the share of the training items in this epoch), ``seconds`` and ``error``. The error is that of
    the validation items; it is missing when these are trained on. Before the last report, it is the error of averaged
    weights, which predicts the final error better. The last report holds ``done`` and, if weights are kept,
    ``weights``: the bytes of a safetensors file.
    With several folds, as many modules are trained side by side, each without another part of the items, and reports
    hold the means of theirs.
    The report of a simple model that folds have judged holds ``of_all`` in their place: the bytes of its fit to all
    items. It has both if the job asks for ``precisions``, which the validation items judge.
    A candidate's choices of training take the place of the settings of the same name; ``longer`` multiplies its epochs.
    Training begins from the weights that the space draws or, if it has a ``start``, loads; ``start`` of this work then
    loads others. ``teacher`` makes the module that candidates also learn from. With an ``inheritance`` they begin with
    a parent's weights, and learn from the parent unless there is another teacher, or they see other inputs than the
    parent. The parent itself is evaluated as it is: its only report has ``trained`` false.

    A job with ``tuned_on`` tunes a module for one epoch that ``start`` gave the weights of an earlier training.

    A job may also hold a ``checkpoint``: the place where the state is kept after each epoch, and from which a training
    goes on that was interrupted. Reports then may hold ``resumed``, the epoch from which it goes on; ``note``, a
    sentence for the user; and ``checkpoint``, the content of the file if the driver has to write it.
    """

    space: SearchSpace
    source: DataSource
    settings: TrainingSettings
    clock: Callable[[], float] = field(default=time.monotonic)
    start: Callable[[Architecture, torch.nn.Module], None] | None = None
    teacher: Callable[[], torch.nn.Module] | None = None
    longer: float = 1.0
    inheritance: Inheritance | None = None

    def __call__(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Train, and yield a report after each epoch.

        Raises:
            CandidateError: the build failed, the loss is not finite, or the time limit is exceeded.
        """
        architecture = Architecture(job["architecture"])
        task, began = self.source.load().prepared_for(wishes_of(self.space, architecture)), self.clock()
        settings = self.settings.of(self.space, architecture, self.longer)
        with torch_with(settings.threads, job["seed"]):
            module = self._module(architecture, task)
            if self.inheritance is not None:
                settings = from_fitted_head(settings, module, task)
            settings = settings.tuned_on() if job.get("tuned_on") else settings
            if self.inheritance is not None and self.inheritance.is_parent(architecture):
                yield {**self._as_it_is(module, task, settings), "seconds": self.clock() - began}
                return
            teacher = self._teacher(architecture, settings)
            checkpoint = None
            if CHECKPOINT in job:
                checkpoint = Checkpoint(job[CHECKPOINT], self._identity(job, task, settings))
            before_s = 0.0 if checkpoint is None else checkpoint.spent_s
            trainer = Trainer(settings, teacher, self.clock)
            is_whole = settings.folds == 1 or _is_fitted_whole(module, task, settings)
            if not is_whole:
                reports = self._in_folds(trainer, module, architecture, task, job["seed"])
            else:
                reports = trainer.train(module, task, job["seed"], checkpoint)
            for report in reports:
                if report["epoch"] == settings.epochs:
                    report["done"] = True
                    of_all = report.pop(OF_ALL, None)
                    if settings.keep_weights and is_whole:
                        if of_all is None or job.get("precisions"):  # those are judged by the validation items
                            report["weights"] = weights_content(module.state_dict())
                        report |= {} if of_all is None else {OF_ALL: weights_content({**module.state_dict(), **of_all})}
                yield {**report, **_kept(checkpoint), "seconds": before_s + self.clock() - began}

    def _module(self, architecture: Architecture, task: Task) -> torch.nn.Module:
        """Return a module with the weights that training begins from."""
        module = build_checked(self.space, architecture, task.signature)
        if self.inheritance is None:
            load_start(self.space, architecture, module)
        else:
            self.inheritance(architecture, module)
        is_parent = self.inheritance is not None and self.inheritance.is_parent(architecture)
        if self.start is not None and not is_parent:
            self.start(architecture, module)
        return module

    def _in_folds(
        self, trainer: Trainer, first: torch.nn.Module, architecture: Architecture, task: Task, seed: int
    ) -> Iterator[dict[str, Any]]:
        """Train a module for each fold, and yield the means of their reports, each weighted by its validation items."""
        folds = folds_of(task, trainer.settings.folds)
        modules = [first, *(self._module(architecture, task) for _ in folds[1:])]
        trainings = [
            trainer.train(module, fold, further_seed(seed, number))
            for number, (module, fold) in enumerate(zip(modules, folds, strict=True))
        ]
        shares = np.array([len(fold.validation) for fold in folds]) / sum(len(fold.validation) for fold in folds)
        for reports in zip(*trainings, strict=True):
            shared = set.intersection(*map(set, reports)) - {"epoch", "subset"}
            names = [name for name in reports[0] if name in shared and isinstance(reports[0][name], float)]
            means = {name: float(shares @ [report[name] for report in reports]) for name in names}
            judged = {BY_FOLDS: _by_folds(reports, means)} if reports[0].get(FITTED) else {}
            yield {**reports[0], **means, **judged}

    def _identity(self, job: Mapping[str, Any], task: Task, settings: TrainingSettings) -> dict[str, Any]:
        """Return what tells this training from others whose states must not be mixed with it."""
        changing = ("time_limit_s", "threads", "device", "folds")  # they change nothing that is learned
        return {
            "architecture": dict(job["architecture"]),
            "seed": job["seed"],
            "settings": {
                key: value
                for key, value in asdict(settings).items()
                if key not in changing and not (key == "keep_statistics" and not value)  # which earlier versions lack
            },
            "data": self.source.fingerprint or task.fingerprint,
            "items": len(task.to_fit(settings.subset, settings.use_validation)),
            "teacher": job.get("teacher", ""),
            "start": job.get("start", ""),
            "torch": torch.__version__,
        }

    def _teacher(self, architecture: Architecture, settings: TrainingSettings) -> torch.nn.Module | None:
        """Return the model to learn from too.

        A parent teaches what is tuned on inputs as it sees them itself: on smaller pictures it often is wrong. A head
        that is fitted to the items learns from these alone.
        """
        if self.teacher is not None:
            return self.teacher()
        inherited = self.inheritance
        if inherited is None or is_head_alone(settings) or not inherited.sees_alike(architecture):
            return None
        return inherited.teacher()

    def _as_it_is(self, module: torch.nn.Module, task: Task, settings: TrainingSettings) -> dict[str, Any]:
        """Return the only report of a module that is not trained."""
        report: dict[str, Any] = {"epoch": settings.epochs, "subset": settings.subset, "trained": False, "done": True}
        device = device_named(settings.device)
        move(module, device)
        if not settings.use_validation:
            report |= metrics_on(module, task.validation, task, device, settings.robustness)
        return report | ({"weights": weights_content(module.state_dict())} if settings.keep_weights else {})


def epochs_done(report: Mapping[str, Any]) -> int:
    """Return the epochs that the last report of a training tells of: none for a parent, one pass for what is fitted."""
    if not report.get("trained", True):
        return 0
    return 1 if report.get(FITTED) else int(report["epoch"])


def _is_fitted_whole(module: torch.nn.Module, task: Task, settings: TrainingSettings) -> bool:
    """Return True for a module that fits itself, where one fit is judged by as many folds as other trainings."""
    if not fits_itself(module) or settings.robustness is not None or not can_leave_out(task, settings.folds):
        return False
    return share_to_fit(module, len(task.train), settings.subset) == 1


def _by_folds(reports: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> dict[str, float]:
    """Return what folds say of a simple model. The standard error is that of the mean of their errors."""
    spread = float(np.std([report["error"] for report in reports], ddof=1)) / math.sqrt(len(reports))
    return {"standard_error": spread, **{name: means[name] for name in ("error", "log_loss") if name in means}}


def _kept(checkpoint: Checkpoint | None) -> dict[str, Any]:
    """Return what a report says of a checkpoint. A note comes once."""
    if checkpoint is None:
        return {}
    note, checkpoint.note = checkpoint.note, ""
    return {**checkpoint.to_send(), **({"note": note} if note else {})}
