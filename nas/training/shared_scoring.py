"""Scoring many architectures with shared weights: what they begin with alike is computed once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from nas.errors import CandidateError
from nas.jobs.execution import as_failure
from nas.space.architecture import Architecture
from nas.space.parts.own_inputs import wishes_of
from nas.space.torch_settings import torch_with
from nas.tasks.batches import Tensors
from nas.tasks.task import Task
from nas.training.modules import device_named, metrics_of, moved
from nas.training.supernet import BY, SharedEvaluation

MOST_BYTES = 2**23
"""The most bytes of inputs that run together."""
FAILURE = "failure"
"""The key of a report's kind and reason of a failure, in the place of its metrics."""
APART = "apart"
"""The key that tells of an architecture that could not be run by units, and was evaluated alone instead."""


@runtime_checkable
class RunsShared(Protocol):
    """A supernet that runs architectures itself, and so need not compute again what they begin with alike."""

    def outputs(
        self, architecture: Architecture, inputs: tuple[torch.Tensor, ...], batch: int, calibrating: int
    ) -> torch.Tensor:
        """Return what an architecture gives for a batch of inputs.

        Of the first batch, number 0, the first ``calibrating`` inputs set the statistics of batch normalisations. Any
        exception but CandidateError has the architecture evaluated alone.
        """
        ...

    def forget_inputs(self) -> None:
        """Forget what was computed, because the inputs are others from now on."""
        ...


@final
@dataclass(frozen=True)
class SharedScoring:
    """The work of a job: report the errors of its ``architectures`` with shared weights, one after the other.

    They should come in the order of their options, from input to output. A report holds ``architecture`` and either
    the metrics or, under ``failure``, the kind and the reason. A supernet that does not run architectures itself has
    each of them evaluated alone.
    """

    alone: SharedEvaluation

    def __call__(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Evaluate the job's architectures.

        Raises:
            SpaceError: the shared weights do not fit a module.
        """
        alone, architectures = self.alone, [Architecture(values) for values in job["architectures"]]
        supernet = alone.shared.supernet.to(device_named(alone.device))
        views: dict[str, _View] = {}
        for number, architecture in enumerate(architectures, start=1):
            began, is_last = alone.clock(), number == len(architectures)
            try:
                if not isinstance(supernet, RunsShared) or alone.shared.is_parent(architecture):
                    (found,) = alone({"architecture": dict(architecture), "seed": job["seed"]})
                else:
                    wishes = wishes_of(alone.space, architecture)
                    key = json.dumps(wishes, sort_keys=True)
                    if key not in views:
                        supernet.forget_inputs()
                        views = {key: _View(alone, alone.source.load().prepared_for(wishes))}
                    found = self._scored(views[key], supernet, architecture, job["seed"])
            except Exception as error:  # a candidate may raise anything, and the others go on
                failure = as_failure(error)
                found = {"epoch": 1, FAILURE: [failure.kind, failure.reason]}
            if is_last and isinstance(supernet, RunsShared):
                supernet.forget_inputs()
            told = {**found, "architecture": dict(architecture), "seconds": alone.clock() - began}
            yield {**told, "done": True} if is_last else {key: value for key, value in told.items() if key != "done"}

    def _scored(self, view: _View, supernet: RunsShared, architecture: Architecture, seed: int) -> dict[str, Any]:
        """Return the metrics of an architecture that the supernet runs, or that is evaluated alone if it cannot."""
        alone = self.alone
        try:
            with torch_with(alone.threads, seed):
                return {"epoch": 1, **view.metrics(supernet, architecture), "by": BY}
        except CandidateError:
            raise
        except Exception:  # such as a layer that does not take fewer channels
            (found,) = alone({"architecture": dict(architecture), "seed": seed})
            return {**found, APART: True}


@final
class _View:
    """The items of a task in one preparation: those that calibrate, and those that validate."""

    def __init__(self, alone: SharedEvaluation, task: Task) -> None:
        self._alone = alone
        self._task = task
        self._device = device_named(alone.device)
        has_statistics = any(isinstance(part, _BatchNorm) for part in alone.shared.supernet.modules())
        self._calibrating = task.sample(alone.calibrating).raw
        self._count = len(self._calibrating[0]) if has_statistics else 0
        self._batch = 0

    def metrics(self, supernet: RunsShared, architecture: Architecture) -> dict[str, float]:
        """Return the metrics of an architecture on the validation items. Raises CandidateError if one is not finite."""
        self._batch = 0

        def outputs(raw: Tensors) -> torch.Tensor:
            parts = [
                self._run(supernet, architecture, tuple(each[begin : begin + self._together] for each in raw))
                for begin in range(0, len(raw[0]), self._together)
            ]
            return torch.cat(parts)

        alone, task = self._alone, self._task
        found = metrics_of(outputs, task.validation, task, self._device, alone.robustness)
        if not math.isfinite(found["error"]):
            raise CandidateError("nan", "outputs must be finite, but with shared weights they are not.")
        return found

    @property
    def _together(self) -> int:
        return self._task.signature.together(512, MOST_BYTES)

    def _run(self, supernet: RunsShared, architecture: Architecture, raw: Tensors) -> torch.Tensor:
        calibrating = self._count if not self._batch else 0
        if calibrating:
            raw = tuple(torch.cat([first, each]) for first, each in zip(self._calibrating, raw, strict=True))
        inputs = self._task.inputs_of(moved(raw, self._device))
        found = supernet.outputs(architecture, inputs, self._batch, calibrating)
        self._batch += 1
        return found[calibrating:]
