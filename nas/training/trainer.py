"""The trainer: how a module learns a task, from scratch, from the weights that it comes with, or from a teacher."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, final

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from nas.errors import CandidateError, RecipeError, raised_text
from nas.space.parts.own_fit import fit_to, fits_itself, share_to_fit
from nas.space.signature import Signature
from nas.tasks.batches import Examples, Items, groups_of, items_at
from nas.tasks.folds import check_folds
from nas.tasks.task import Task
from nas.training.averaging import AveragedState
from nas.training.checkpoint import Checkpoint
from nas.training.fitted_heads import fit_head, is_head_alone
from nas.training.left_out import FOLDS, Judged, can_leave_out, copied, judged_head, judged_own_fit
from nas.training.mixing import Mixed, Mixer, can_cut, can_mix
from nas.training.modules import device_named, metrics_on, move, moved
from nas.training.optimizing import Tuning, check_optimizer, factor_of, make_optimizer, restore_optimizer, set_rates
from nas.training.regressions import can_regress, load_scikit_learn, noting_convergence
from nas.training.settings import TrainingSettings
from nas.values.evaluation import BY_FOLDS, FITTED, OF_ALL

Judge = Callable[[], Judged | None]
HEAD_FIRST: Literal["head"] = "head"
WHOLE: Literal["whole"] = "whole"


def check_settings(settings: TrainingSettings, task: Task) -> None:
    """Check that a task can be learned with these settings, before anything runs.

    Raises:
        RecipeError: timm has no such optimizer, or the task's inputs cannot be blended or augmented.
        DataError: the items cannot be divided into so many folds.
    """
    check_optimizer(settings.optimizer)
    if settings.folds > 1:
        check_folds(task, settings.folds)
    if settings.fit_head and not can_regress(task.criterion):
        raise RecipeError(
            f"training.fit_head fits classes, labels or numbers by regression, but the criterion of these "
            f"{task.noun} is {task.criterion.kind}. Set it to false."
        )
    signature = task.signature
    if settings.augmentation_strength and not task.takes_strength:
        raise RecipeError(
            f"training.augmentation_strength is for tasks that can be augmented more or less, such as pictures in one "
            f"or three channels, but got {settings.augmentation_strength:g} for {_inputs(signature)}. Set it to 0."
        )
    if settings.mixup and not can_mix(signature):
        raise RecipeError(f"training.mixup blends inputs of float32, but got {_inputs(signature)}. Set it to 0.")
    if settings.cutmix and not can_cut(signature):
        raise RecipeError(
            f"training.cutmix cuts a part out of pictures or signals, but got {_inputs(signature)}. Set it to 0."
        )


def _inputs(signature: Signature) -> str:
    return ", ".join(map(str, signature.inputs))


@final
@dataclass(frozen=True)
class Trainer:
    """Trains modules with given settings.

    A ``teacher`` is a trained module for the same inputs and outputs: its outputs are learned beside the targets
    (Hinton et al., "Distilling the knowledge in a neural network", 2015).

    Example::

        trainer = Trainer(settings)
        for report in trainer.train(module, task):
            print(report["epoch"], report["error"])
    """

    settings: TrainingSettings
    teacher: torch.nn.Module | None = None
    clock: Callable[[], float] = field(default=time.monotonic)

    def train(
        self, module: torch.nn.Module, task: Task, seed: int = 0, checkpoint: Checkpoint | None = None
    ) -> Iterator[dict[str, Any]]:
        """Train a module, and yield a report after each epoch: ``epoch``, ``loss``, ``subset`` and ``error``.

        The error is that of the validation items, as are the task's other metrics. All are missing if these items are
        trained on. Before the last report, the error is that of averaged weights, which predicts the final one better.

        A module that fits itself, and a linear head that is tuned alone without a teacher and on items as they are, are
        fitted in one pass over the items, by regression, and give a single report, in which ``fitted`` is true. It has
        a ``note`` if the regression has not converged, or if folds could not judge it. Where items are so few that
        folds over all of them judge it better, ``by_folds`` is what they find, and ``of_all`` has the tensors of the
        model fitted to all of them.

        With a ``checkpoint`` the state is kept after each epoch but the last, and a training that was interrupted goes
        on from it, with the same result. Its first report then holds ``resumed``, the last epoch before.

        Raises:
            CandidateError: the loss is not finite, the time limit is exceeded, or the module has nothing to train.
            RecipeError: the module has no parameters of the names in ``tune``.
            JournalError: the checkpoint is damaged, or cannot be written.
        """
        settings = self.settings
        is_fitted = fits_itself(module) or settings.fit_head or is_head_alone(settings)
        if is_fitted:
            load_scikit_learn()
        began_s = self.clock()
        device = device_named(settings.device)
        move(module, device)
        if self.teacher is not None:
            self.teacher.to(device).eval()
        shares = settings.subsets or (settings.subset,) * settings.epochs
        is_new = checkpoint is None or checkpoint.state is None
        most = max(shares)
        if fits_itself(module):
            most = share_to_fit(module, len(task.train), most)
        notes: list[str] = []
        with noting_convergence(notes) if is_fitted else contextlib.nullcontext():
            fitted, judge = self._fitted(module, task, device, most, seed, began_s) if is_new else ("", None)
        if fitted == WHOLE:
            judged = None if judge is None else self._judged(judge, notes)
            told: dict[str, Any] = {"note": "; ".join(notes)} if notes else {}
            told |= {} if judged is None else {BY_FOLDS: judged.by_folds, OF_ALL: judged.of_all}
            # Where epochs are judged by folds too, so is this model, and not by the validation items alone.
            by_folds = judged.metrics if judged is not None and settings.folds > 1 else {}
            yield {**self._fitted_report(module, task, device, most), **by_folds, **told}
            return
        parts = {share: task.to_fit(share, settings.use_validation) for share in set(shares)}
        run = _Training(self, module, task, device, [parts[share] for share in shares], seed, began_s)
        run.keep_statistics(settings.keep_statistics or fitted == HEAD_FIRST)
        done = 0 if checkpoint is None or checkpoint.state is None else run.restore(checkpoint)
        for epoch, share in list(enumerate(shares, start=1))[done:]:
            report = {**run.epoch(epoch), "subset": share}
            if checkpoint is not None and epoch < len(shares):
                checkpoint.keep(run.state(epoch))
            yield report | ({"resumed": done} if done and epoch == done + 1 else {})

    def _fitted(
        self, module: torch.nn.Module, task: Task, device: torch.device, share: float, seed: int, began_s: float
    ) -> tuple[Literal["", "head", "whole"], Judge | None]:
        """Fit a module, or its head, without steps. Return what was fitted: all of it, the head first, or nothing.

        What was wholly fitted comes with a function that judges it by folds, where these judge better.
        """
        settings = self.settings
        examples = task.to_fit(share, settings.use_validation)
        folds = FOLDS if settings.folds == 1 else settings.folds
        is_alone = is_head_alone(settings) and self.teacher is None
        may_judge = fits_itself(module) or (is_alone and settings.folds == 1)
        is_judged = may_judge and not settings.use_validation and share == 1 and can_leave_out(task, folds)

        def check_time() -> None:
            self._check_time(began_s, "being fitted")

        if fits_itself(module):
            items = items_at(examples, slice(0, len(examples)))
            fresh = copied(module) if is_judged else None
            with threadpool_limits(settings.threads):
                fit_to(module, task.inputs_of(moved(items.raw, device)), items.targets, seed, groups_of(examples))
            check_time()
            return WHOLE, fresh and partial(judged_own_fit, fresh, task, device, seed, check_time, folds)
        if not (is_alone or settings.fit_head):
            return "", None
        fitted = fit_head(module, examples, task, settings, device, seed, check_time)
        if fitted is None or not is_alone:
            return ("" if fitted is None else HEAD_FIRST), None
        return WHOLE, partial(judged_head, fitted, module, task, device, seed, check_time) if is_judged else None

    def _judged(self, judge: Judge, notes: list[str]) -> Judged | None:
        """Judge a simple model that is fitted already. Where this fails, it counts as not judged, and a note says why.

        Where epochs are judged by folds too, there is no other error, and the failure is the candidate's.
        """
        from sklearn.exceptions import ConvergenceWarning  # here, because scikit-learn is slow to import

        try:
            with warnings.catch_warnings(), threadpool_limits(self.settings.threads):
                warnings.simplefilter("ignore", ConvergenceWarning)  # that of the model itself is told
                return judge()
        except Exception as error:
            if self.settings.folds > 1:
                raise
            reason = error.reason if isinstance(error, CandidateError) else raised_text(error)
            notes.append(f"folds could not judge it: {reason.rstrip('.')}")
            return None

    def _fitted_report(self, module: torch.nn.Module, task: Task, device: torch.device, share: float) -> dict[str, Any]:
        """Return the only report of a module that was fitted without steps."""
        settings = self.settings
        report: dict[str, Any] = {"epoch": settings.epochs, "subset": share, FITTED: True}
        if not settings.use_validation:
            report |= metrics_on(module, task.validation, task, device, settings.robustness)
        return report

    def _check_time(self, began_s: float, doing: str) -> None:
        limit_s = self.settings.time_limit_s
        if self.clock() - began_s > limit_s:
            raise CandidateError("timeout", f"a training must take at most {limit_s:g} s, but was {doing}.")


@final
class _Training:
    """One training: the optimizer with its schedule, the averages, and the random numbers. ``seen`` holds the items of
    each epoch.
    """

    def __init__(
        self,
        trainer: Trainer,
        module: torch.nn.Module,
        task: Task,
        device: torch.device,
        seen: Sequence[Examples],
        seed: int,
        began_s: float,
    ) -> None:
        settings = trainer.settings
        self._trainer, self._settings, self._module, self._task = trainer, settings, module, task
        self._device = device
        self._seen = seen
        self._began = began_s
        self._order_rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        blends = settings.mixup > 0 or settings.cutmix > 0
        self._mixing_rng = np.random.default_rng((seed, 1))
        self._mixer = Mixer(settings.mixup, settings.cutmix, self._mixing_rng) if blends else None
        self._tuning = Tuning(module, settings.tune, settings.head_epochs)
        if not self._tuning.parameters:
            raise CandidateError(
                "build", "build must return a module with weights to train, but none of its weights requires gradients."
            )
        self._optimizer = make_optimizer(module, settings)
        self._factor = factor_of(settings.schedule, settings.warm_up)
        self._steps = sum(self._batches(examples) for examples in seen)
        self._step = 0
        needs_average = settings.ema > 0 or not settings.use_validation
        self._averaged = AveragedState(module, settings.ema) if needs_average else None
        self._dtype = autocast_dtype(settings.precision, device)
        scales = self._dtype == torch.float16 and device.type == "cuda"
        self._scaler = torch.amp.GradScaler(device.type) if scales else None

    def state(self, epoch: int) -> dict[str, Any]:
        """Return everything that the epochs after this one depend on, beside the settings and the data."""
        on_gpu = self._device.type == "cuda"
        return {
            "epoch": epoch,
            "step": self._step,
            "spent_s": self._trainer.clock() - self._began,
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "keeps_statistics": self._tuning.keeps_statistics,
            "averaged": None if self._averaged is None else self._averaged.state,
            "scaler": None if self._scaler is None else self._scaler.state_dict(),
            "order": self._order_rng.bit_generator.state,
            "mixing": self._mixing_rng.bit_generator.state,
            "augmentation": self._generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self._device) if on_gpu else None,
        }

    def keep_statistics(self, keeps: bool) -> None:
        """Let batch normalisations keep their statistics, or not: a head that was fitted first relies on them."""
        self._tuning.keeps_statistics = keeps

    def restore(self, checkpoint: Checkpoint) -> int:
        """Go on from a kept state, and return its epoch. Raises JournalError if it does not fit this training."""
        state = checkpoint.state
        assert state is not None
        try:
            self._module.load_state_dict(state["module"])
            restore_optimizer(self._optimizer, state["optimizer"])
            self.keep_statistics(bool(state["keeps_statistics"]))
            if self._averaged is not None:
                self._averaged.restore(state["averaged"])
            if self._scaler is not None:
                self._scaler.load_state_dict(state["scaler"])
            self._order_rng.bit_generator.state = state["order"]
            self._mixing_rng.bit_generator.state = state["mixing"]
            self._generator.set_state(state["augmentation"])
            torch.set_rng_state(state["torch"])
            if state["cuda"] is not None and self._device.type == "cuda":
                torch.cuda.set_rng_state(state["cuda"], self._device)
            self._began -= float(state["spent_s"])
            self._step, epoch = int(state["step"]), int(state["epoch"])
            if not 0 < epoch < len(self._seen):
                raise ValueError(f"its epoch must be below {len(self._seen)}, but is {epoch}")
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise checkpoint.damaged(error) from error
        return epoch

    def _batches(self, examples: Examples) -> int:
        return len(examples) // min(self._settings.batch_size, len(examples))

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Train for one epoch, and return its report."""
        settings, examples = self._settings, self._seen[epoch - 1]
        size, batches = min(settings.batch_size, len(examples)), self._batches(examples)
        self._tuning.begin(epoch)
        total = 0.0
        order = self._order_rng.permutation(len(examples))
        for number in range(batches):
            value = self._learn(items_at(examples, order[number * size : (number + 1) * size]))
            if not math.isfinite(value):
                raise CandidateError(
                    "nan",
                    f"the training loss must be finite, but was {value} in epoch {epoch}, batch {number + 1} of "
                    f"{batches}; a lower training.learning_rate than {settings.learning_rate:g} may help.",
                )
            total += value
            self._trainer._check_time(self._began, f"in epoch {epoch} of {settings.epochs}")
        report: dict[str, Any] = {"epoch": epoch, "loss": total / batches}
        is_last = epoch == len(self._seen)
        if is_last and settings.ema > 0 and self._averaged is not None:
            self._averaged.keep()
        if not settings.use_validation and self._averaged is not None:
            with contextlib.nullcontext() if is_last else self._averaged.swapped_in():
                report |= metrics_on(self._module, self._task.validation, self._task, self._device, settings.robustness)
        return report

    def _learn(self, batch: Items) -> float:
        """Take one step on a batch, unless its loss is not finite. Return the loss."""
        settings, task = self._settings, self._task
        raw = task.augmented(batch.raw, self._generator) if settings.augment else batch.raw
        if settings.augmentation_strength > 0:
            raw = task.augmented_more(raw, self._generator, settings.augmentation_strength)
        mixed = Mixed(task.inputs_of(moved(raw, self._device)), torch.empty(0), 1.0)
        if self._mixer is not None:
            mixed = self._mixer(mixed.inputs)
        loss = self._loss(mixed, batch.targets.to(self._device))
        value = loss.item()
        if not math.isfinite(value):
            return value
        set_rates(self._optimizer.param_groups, self._factor(self._step, self._steps))
        self._step += 1
        self._optimizer.zero_grad(set_to_none=True)
        if self._scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            self._clip()
            self._optimizer.step()
        else:
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._scaler.unscale_(self._optimizer)
            self._clip()
            self._scaler.step(self._optimizer)
            self._scaler.update()
        if self._averaged is not None:
            self._averaged.update()
        return value

    def _clip(self) -> None:
        if self._settings.gradient_clip > 0:
            torch.nn.utils.clip_grad_norm_(self._tuning.parameters, self._settings.gradient_clip, foreach=True)

    def _loss(self, mixed: Mixed, targets: torch.Tensor) -> torch.Tensor:
        settings, criterion, teacher = self._settings, self._task.criterion, self._trainer.teacher
        narrow = torch.autocast(self._device.type, self._dtype) if self._dtype else contextlib.nullcontext()
        with narrow:
            outputs = self._module(*mixed.inputs)
            with torch.no_grad():
                taught = None if teacher is None else teacher(*mixed.inputs).float()
        outputs = outputs.float()
        smoothing = settings.label_smoothing
        loss = mixed.loss(outputs, targets, lambda given, wanted: criterion.loss(given, wanted, smoothing))
        if taught is None:
            return loss
        # Divided by the square of the temperature, the gradients of soft targets would shrink as it grows.
        heat = settings.temperature
        soft = heat**2 * criterion.soft_loss(outputs / heat, taught / heat)
        return (1 - settings.distillation_weight) * loss + settings.distillation_weight * soft


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type in which layers compute; None for float32.

    ``auto`` is bf16, else fp16, on GPUs that compute in it. On CPUs it is fp32.
    """
    if precision == "auto":
        if device.type != "cuda":
            return None
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        return torch.float16 if torch.cuda.get_device_capability(device) >= (7, 0) else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
