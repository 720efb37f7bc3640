"""Training of the weights that all architectures of a space share: the sandwich rule with in-place distillation."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import torch
from safetensors.torch import load, save
from torch.func import functional_call

from nas.errors import CandidateError
from nas.jobs.execution import as_failure
from nas.space.architecture import Architecture, Option
from nas.space.eager_adamw import EagerAdamW
from nas.space.parts.own_inputs import choices_of_inputs, signature_of, wishes_of
from nas.space.search_space import SearchSpace, ends, sample, with_options
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked
from nas.tasks.batches import Examples, Tensors, items_at
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task
from nas.training.inheriting import Inheritance
from nas.training.modules import device_named
from nas.training.optimizing import factor_of, parameter_groups, restore_optimizer
from nas.training.settings import TrainingSettings
from nas.training.supernet import make_supernet, weights_for

CHECKPOINT_EVERY_S = 20.0
"""The least time between checkpoints: an epoch on a small data set takes less time than its checkpoint."""


@final
@dataclass(frozen=True)
class SupernetTraining:
    """The work of a job: train the shared weights of a space, and report after each epoch.

    Each step trains ``per_step`` architectures on one batch: the largest on its labels, the smallest and random ones on
    the outputs of the largest (Yu & Huang, 2019, arXiv:1903.05134). Options that are no numbers, such as kinds of
    blocks, have no size. They are drawn at random for the largest and the smallest, so that all options see labels.
    Choices that change the inputs, such as the side of pictures, are drawn once for all architectures of a step.

    With an ``inheritance`` the weights begin as those of a parent. If the first epoch shows that all of them would take
    longer than ``most_s`` seconds, fewer are trained, one at least.

    A job holds ``seed``. A report holds ``epoch``, ``loss`` (of the largest) and ``seconds`` (including those before
    the checkpoint). Some reports hold ``checkpoint``; the last one holds ``done`` and ``weights``. Both are the bytes
    of safetensors files. With the ``checkpoint`` of an interrupted training, the training continues as if it had not
    been interrupted.
    """

    space: SearchSpace
    source: DataSource
    settings: TrainingSettings
    per_step: int
    checkpoint: bytes | None = field(default=None, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic)
    inheritance: Inheritance | None = None
    most_s: float = math.inf

    @property
    def epochs_left(self) -> int:
        """How many epochs are still to be done, as was planned when the checkpoint was written."""
        if self.checkpoint is None:
            return self.settings.epochs
        tensors = load(self.checkpoint)
        return _planned_epochs(tensors, self.settings) - int(tensors["epoch"])

    def __call__(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Train, and yield a report after each epoch.

        Raises:
            CandidateError: an architecture cannot be built, a loss is not finite, or the time limit is exceeded.
            SpaceError: the space has no supernet, or the supernet does not fit the modules that the space builds.
        """
        task = self.source.load()
        settings = self.settings
        if self.checkpoint is not None:  # the learning rate has fallen for as many epochs as were planned then
            settings = replace(settings, epochs=_planned_epochs(load(self.checkpoint), settings))
        began = saved = self.clock()
        with torch_with(settings.threads, job["seed"]):
            steps = _Steps(replace(self, settings=settings), task, began)
            first, spent = steps.restore(self.checkpoint)
            for epoch in itertools.count(first):
                loss = steps.epoch(epoch, job["seed"])
                now = self.clock()
                report: dict[str, Any] = {"epoch": epoch, "loss": loss, "seconds": spent + now - began}
                if epoch == 1 and now - began > self.most_s / settings.epochs:
                    steps.epochs = max(1, int(self.most_s / (now - began)))
                    report["epochs"] = steps.epochs
                if epoch == steps.epochs:
                    yield report | {"done": True, "weights": steps.weights()}
                    return
                if now - saved >= CHECKPOINT_EVERY_S:
                    report["checkpoint"] = steps.checkpoint(epoch, report["seconds"])
                    saved = now
                yield report


@final
class _Steps:
    """The supernet and its optimizer: AdamW with a linear warm-up and a cosine decay, the same as for candidates.

    The decay ends with the last of ``epochs``.
    """

    def __init__(self, training: SupernetTraining, task: Task, began: float) -> None:
        settings, space = training.settings, training.space
        self._space = space
        self._of_inputs = choices_of_inputs(space)
        self._views: dict[tuple[Option, ...], tuple[Task, Examples]] = {}
        self._task = task
        self._settings = settings
        self.epochs = settings.epochs
        self._random = training.per_step - 2
        self._began = began
        self._clock = training.clock
        self._device = device_named(settings.device)
        self._examples = task.to_fit(settings.subset, settings.use_validation)
        self._batch = min(settings.batch_size, len(self._examples))
        self._steps_per_epoch = len(self._examples) // self._batch
        self._supernet = make_supernet(space, training.inheritance).to(self._device)
        self._optimizer = EagerAdamW(
            parameter_groups(self._supernet, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        self._factor = factor_of(settings.schedule, settings.warm_up)
        self._smallest, self._largest = ends(space)
        self._kept: dict[Architecture, torch.nn.Module] = {}

    def epoch(self, epoch: int, seed: int) -> float:
        """Train for one epoch; ``seed`` and the epoch set its random draws. Return the mean loss of the largest."""
        settings = self._settings
        rng = np.random.default_rng((seed, epoch))
        shifts = torch.Generator().manual_seed(int(rng.integers(2**31)))
        torch.manual_seed(int(rng.integers(2**31)))
        order = rng.permutation(len(self._examples))
        total = 0.0
        for number in range(self._steps_per_epoch):
            fixed = self._drawn_inputs(rng)
            task, examples = self._seen(fixed)
            step = (epoch - 1) * self._steps_per_epoch + number
            for group in self._optimizer.param_groups:
                group["lr"] = settings.learning_rate * self._factor(step, self.epochs * self._steps_per_epoch)
            batch = items_at(examples, order[number * self._batch : (number + 1) * self._batch])
            raw = task.augmented(batch.raw, shifts) if settings.augment else batch.raw
            inputs = task.inputs_of(tuple(each.to(self._device) for each in raw))
            loss = self._step(inputs, batch.targets.to(self._device), rng, fixed)
            if not math.isfinite(loss):
                raise CandidateError(
                    "nan",
                    f"the supernet's losses must be finite, but one was {loss} in epoch {epoch}, batch {number + 1} "
                    f"of {self._steps_per_epoch}; a lower training.learning_rate than {settings.learning_rate:g} "
                    "may help.",
                )
            total += loss
            if self._clock() - self._began > settings.time_limit_s:
                raise CandidateError(
                    "timeout",
                    f"the training of the supernet must take at most {settings.time_limit_s:g} s, "
                    f"but was in epoch {epoch} of {self.epochs}.",
                )
        return total / self._steps_per_epoch

    def _drawn_inputs(self, rng: np.random.Generator) -> dict[str, Option]:
        """Return an option for each choice that changes the inputs."""
        return {choice.name: choice.options[int(rng.integers(len(choice.options)))] for choice in self._of_inputs}

    def _seen(self, fixed: Mapping[str, Option]) -> tuple[Task, Examples]:
        """Return the task as the architectures of a step see it, and the items to learn from."""
        key = tuple(fixed.values())
        if key not in self._views:
            like = with_options(self._space, self._largest, fixed)
            task = self._task.prepared_for(wishes_of(self._space, like))
            self._views[key] = task, task.to_fit(self._settings.subset, self._settings.use_validation)
        return self._views[key]

    def _step(
        self, inputs: Tensors, targets: torch.Tensor, rng: np.random.Generator, fixed: Mapping[str, Option]
    ) -> float:
        """Train one step, with some options ``fixed``. Return the loss of the largest, or one that is not finite."""
        self._optimizer.zero_grad(set_to_none=True)
        smallest, largest = (with_options(self._space, each, fixed) for each in ends(self._space, rng))
        teacher = self._outputs_of_end(largest, with_options(self._space, self._largest, fixed), inputs)
        loss = self._task.criterion.loss(teacher, targets, self._settings.label_smoothing)
        losses = [loss.item()]
        loss.backward()  # type: ignore[no-untyped-call]
        teacher = teacher.detach()
        drawn = [with_options(self._space, sample(self._space, rng), fixed) for _ in range(self._random)]
        for architecture in (smallest, *drawn):
            try:
                if architecture is smallest:
                    least = with_options(self._space, self._smallest, fixed)
                    outputs = self._outputs_of_end(smallest, least, inputs)
                else:
                    outputs = self._outputs(architecture, inputs)
            except CandidateError as error:  # it fails as a candidate too, and becomes a row then
                if architecture is smallest or error.kind == "memory":
                    raise
                continue
            # This is the divergence from the outputs of the largest, up to a constant.
            loss = self._task.criterion.soft_loss(outputs, teacher)
            losses.append(loss.item())
            loss.backward()  # type: ignore[no-untyped-call]
        if self._settings.gradient_clip > 0:
            torch.nn.utils.clip_grad_norm_(self._supernet.parameters(), self._settings.gradient_clip)
        if all(map(math.isfinite, losses)):
            self._optimizer.step()
            return losses[0]
        return next(loss for loss in losses if not math.isfinite(loss))

    def _outputs_of_end(self, drawn: Architecture, checked: Architecture, inputs: Tensors) -> torch.Tensor:
        """Return the outputs of ``drawn``, or of ``checked`` if the options of ``drawn`` cannot be built together."""
        try:
            return self._outputs(drawn, inputs, is_kept=drawn == checked)
        except CandidateError as error:
            if error.kind == "memory":
                raise
            return self._outputs(checked, inputs, is_kept=True)

    def _outputs(self, architecture: Architecture, inputs: Tensors, *, is_kept: bool = False) -> torch.Tensor:
        """Return the outputs of the architecture's module in training mode, with shared weights instead of its own.

        The module of one that comes in each step ``is_kept``.
        """
        module = self._kept.get(architecture)
        if module is None:
            signature = signature_of(self._space, architecture, self._task.signature)
            with torch.random.fork_rng(devices=[]):  # so that a training that goes on draws the same
                module = build_checked(self._space, architecture, signature).to(self._device).train()
            if is_kept:
                self._kept[architecture] = module
        weights = weights_for(self._supernet, architecture, module)
        try:
            outputs: object = functional_call(module, weights, inputs)
        except Exception as error:
            raise as_failure(error) from error
        shape = (len(inputs[0]), *self._task.signature.output)
        if not isinstance(outputs, torch.Tensor) or tuple(outputs.shape) != shape:
            raise CandidateError("build", f"a module must return outputs of shape {shape} for a batch, but did not.")
        return outputs

    def weights(self) -> bytes:
        """The supernet's parameters as a safetensors file."""
        return save({name: _copied(parameter) for name, parameter in self._supernet.named_parameters()})

    def checkpoint(self, epoch: int, seconds: float) -> bytes:
        """The state of the training after ``epoch``, as a safetensors file."""
        tensors = {f"weights/{name}": _copied(p) for name, p in self._supernet.named_parameters()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": _copied(torch.as_tensor(v)) for name, v in state.items()}
        tensors |= {"epochs": torch.tensor(self.epochs)}
        tensors |= {"epoch": torch.tensor(epoch), "seconds": torch.tensor(seconds, dtype=torch.float64)}
        return save(tensors)

    def restore(self, checkpoint: bytes | None) -> tuple[int, float]:
        """Load ``checkpoint``. Return the next epoch and the seconds spent before it, which count towards the limit."""
        if checkpoint is None:
            return 1, 0.0
        tensors = load(checkpoint)
        state: dict[int, dict[str, torch.Tensor]] = {}
        weights: dict[str, torch.Tensor] = {}
        for key, tensor in tensors.items():
            kind, _, rest = key.partition("/")
            if kind == "weights":
                weights[rest] = tensor
            elif kind == "optimizer":
                index, _, name = rest.partition("/")
                state.setdefault(int(index), {})[name] = tensor
        self._supernet.load_state_dict(weights, strict=False)
        restore_optimizer(self._optimizer, {**self._optimizer.state_dict(), "state": state})
        spent = float(tensors["seconds"])
        self._began -= spent
        return int(tensors["epoch"]) + 1, spent


def _planned_epochs(checkpoint: Mapping[str, torch.Tensor], settings: TrainingSettings) -> int:
    """Return for how many epochs the training of a checkpoint was planned: fewer than set where time was short."""
    return int(checkpoint["epochs"]) if "epochs" in checkpoint else settings.epochs


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().clone()
