"""Training of one candidate: a generator of reports, so that its caller may stop it after any epoch."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from safetensors.torch import save

from nas.errors import CandidateError
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked
from nas.tasks.batches import Examples, Tensors, in_order, items_at
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task

WARM_UP_SHARE = 0.05
EVALUATED_TOGETHER = 512
AVERAGING = 6
"""The averaged weights cover about the last 1 / AVERAGING of the steps so far."""


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a training. ``subset`` is the share of the training items that it uses.

    ``use_validation`` adds the validation items. ``subsets`` holds a share for each epoch; if it is empty, every epoch
    uses ``subset``.
    """

    epochs: int
    subset: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    augment: bool
    device: str
    time_limit_s: float
    threads: int
    keep_weights: bool = False
    use_validation: bool = False
    subsets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.subsets and len(self.subsets) != self.epochs:
            raise ValueError(f"subsets must hold one share for each of {self.epochs} epochs, but got {self.subsets}.")


@final
@dataclass(frozen=True)
class CandidateTraining:
    """The work of a job: train its architecture, and report after each epoch.

    A job holds ``architecture`` (the values of its choices) and ``seed``. A report holds ``epoch``, ``loss``,
    ``subset`` (the share of the training items in this epoch), ``seconds`` and ``error``. The error is that of
    the validation items; it is missing when these are trained on. Before the last report, it is the error of averaged
    weights, which predicts the final error better. The last report holds ``done`` and, if weights are kept,
    ``weights``: the bytes of a safetensors file.
    ``start`` loads initial weights into a module; without it, the space draws them.
    """

    space: SearchSpace
    source: DataSource
    settings: TrainingSettings
    clock: Callable[[], float] = field(default=time.monotonic)
    start: Callable[[Architecture, torch.nn.Module], None] | None = None

    def __call__(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Train, and yield a report after each epoch.

        Raises:
            CandidateError: the build failed, the loss is not finite, or the time limit is exceeded.
        """
        task = self.source.load()
        settings = self.settings
        began = self.clock()
        with torch_with(settings.threads, job["seed"]):
            module = build_checked(self.space, Architecture(job["architecture"]), task.signature)
            if self.start is not None:
                self.start(Architecture(job["architecture"]), module)
            shares = settings.subsets or (settings.subset,) * settings.epochs
            parts = {share: task.to_fit(share, settings.use_validation) for share in set(shares)}
            device = device_named(settings.device)
            move(module, device)
            seen = [parts[share] for share in shares]
            for report in _epochs(module, seen, task, settings, device, job["seed"], self.clock):
                report["subset"] = shares[report["epoch"] - 1]
                if report["epoch"] == settings.epochs:
                    report["done"] = True
                    if settings.keep_weights:
                        state = module.state_dict().items()
                        # Copies, because safetensors refuses tensors that several layers share.
                        report["weights"] = save({n: v.detach().cpu().contiguous().clone() for n, v in state})
                yield {**report, "seconds": self.clock() - began}


def error_of(module: torch.nn.Module, examples: Examples, task: Task, device: torch.device | None = None) -> float:
    """Return a module's error on a split: the criterion's, such as the share of items that are classified wrongly."""
    device = device or torch.device("cpu")
    tally = task.criterion.tally()
    module.eval()
    with torch.inference_mode():
        for batch in in_order(examples, EVALUATED_TOGETHER):
            tally.add(module(*task.inputs_of(_moved(batch.raw, device))), batch.targets.to(device))
    return tally.error


def _moved(tensors: Tensors, device: torch.device) -> Tensors:
    return tuple(each.to(device) for each in tensors)


def _epochs(
    module: torch.nn.Module,
    seen: Sequence[Examples],
    task: Task,
    settings: TrainingSettings,
    device: torch.device,
    seed: int,
    clock: Callable[[], float],
) -> Iterator[dict[str, Any]]:
    """Train by AdamW with a linear warm-up and a cosine decay over all steps (Loshchilov & Hutter, 2017 and 2019).

    ``seen`` holds the items of each epoch.
    """
    began = clock()
    order_rng = np.random.default_rng(seed)
    shift_generator = torch.Generator().manual_seed(seed)
    steps = sum(len(examples) // min(settings.batch_size, len(examples)) for examples in seen)
    optimizer = torch.optim.AdamW(parameter_groups(module, settings.weight_decay), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps))
    averaged = None if settings.use_validation else _AveragedState(module)
    for epoch, examples in enumerate(seen, start=1):
        size = min(settings.batch_size, len(examples))
        module.train()
        total_loss = 0.0
        order = order_rng.permutation(len(examples))
        starts = range(0, len(examples) - size + 1, size)
        for number, start in enumerate(starts, start=1):
            batch = items_at(examples, order[start : start + size])
            raw = task.augmented(batch.raw, shift_generator) if settings.augment else batch.raw
            outputs = module(*task.inputs_of(_moved(raw, device)))
            loss = task.criterion.loss(outputs, batch.targets.to(device), settings.label_smoothing)
            value = loss.item()
            if not math.isfinite(value):
                raise CandidateError(
                    "nan",
                    f"the training loss must be finite, but was {value} in epoch {epoch}, batch {number} of "
                    f"{len(starts)}; a lower training.learning_rate than {settings.learning_rate:g} may help.",
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            if averaged is not None:
                averaged.update()
            total_loss += value
            if clock() - began > settings.time_limit_s:
                raise CandidateError(
                    "timeout",
                    f"a training must take at most {settings.time_limit_s:g} s, "
                    f"but was in epoch {epoch} of {settings.epochs}.",
                )
        report: dict[str, Any] = {"epoch": epoch, "loss": total_loss / len(starts)}
        if averaged is not None:
            with averaged.swapped_in() if epoch < len(seen) else contextlib.nullcontext():
                report["error"] = error_of(module, task.validation, task, device)
        yield report


@final
class _AveragedState:
    """The average of a module's weights and statistics over a window of steps that grows during the training.

    While the learning rate is high, single steps make the error jump. The error of the average falls smoothly towards
    the final error. Averaging with polynomial decay: Shamir and Zhang, "Stochastic gradient descent for non-smooth
    optimization", 2013.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._mean = [each.clone() for each in self._current()]
        self._steps = 0

    def _current(self) -> list[torch.Tensor]:
        return [each for each in self._module.state_dict().values() if each.is_floating_point()]

    def update(self) -> None:
        """Add the state after a step to the average."""
        self._steps += 1
        weight = (AVERAGING + 1) / (self._steps + AVERAGING)
        for mean, each in zip(self._mean, self._current(), strict=True):
            mean.lerp_(each, weight)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Load the average into the module within the context."""
        current = self._current()
        kept = [each.clone() for each in current]
        self._set(current, self._mean)
        try:
            yield
        finally:
            self._set(current, kept)

    def _set(self, current: Sequence[torch.Tensor], values: Sequence[torch.Tensor]) -> None:
        for each, value in zip(current, values, strict=True):
            each.copy_(value)


def rate_at(step: int, steps: int) -> float:
    """The factor of the learning rate at ``step`` of ``steps``: a linear warm-up, then a cosine decay."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def parameter_groups(module: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's groups: weights decay; vectors, such as biases and normalisation scales, do not."""
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def move(module: torch.nn.Module, device: torch.device) -> None:
    """Move a module to a device, in the channels-last format, with which convolutions on CPUs train 20 to 30 % faster.

    A module with weights of five dimensions keeps its format, because channels-last supports four.
    """
    tensors = (*module.parameters(), *module.buffers())
    if any(tensor.dim() == 5 for tensor in tensors):
        module.to(device)
    else:
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def device_named(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is a GPU if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
