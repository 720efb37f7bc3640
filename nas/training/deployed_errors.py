"""Errors of a trained network in other precisions: its weights are deployed, and the runtime itself answers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from safetensors.torch import load

from nas.errors import CandidateError
from nas.formats.export import export_model
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.measuring_process import DEPLOY_TIMEOUT_S, MeasuringProcess
from nas.hardware.runtimes.runtime import ExportedModel, load_runtime
from nas.jobs.execution import Report, Work
from nas.space.architecture import Architecture
from nas.space.parts.candidate import PRECISION
from nas.space.parts.own_inputs import wishes_of
from nas.space.search_space import SearchSpace
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked, load_weights
from nas.storage.scratch import temporary_folder
from nas.tasks.corruptions import Robustness
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task
from nas.training.modules import metrics_of
from nas.values.evaluation import OF_ALL
from nas.values.metric import LARGEST_VALUE, is_result
from nas.values.target import Target

WEIGHTS = "weights"
BY_PRECISION = "by_precision"
"""The key of a last report that holds by precision the metrics, or under ``failure`` the kind and the reason."""


@final
@dataclass(frozen=True)
class InPrecisions:
    """The work of a job: train its architecture by ``work``, and find its errors in other precisions.

    ``work`` keeps the weights. A job holds under ``precisions`` the names of those to evaluate, each a key of
    ``targets``. The last report of ``work`` gains ``by_precision``, and loses its weights unless ``keeps_weights``. In
    each precision the network is exported, deployed as for a measurement, and run on the validation items by the
    runtime. A precision in which that fails, or that lacks a metric of ``wanted``, does not fail the training.
    ``narrow`` is as in ``ExportedModel``.
    """

    work: Work
    space: SearchSpace
    source: DataSource
    targets: Mapping[str, Target]
    threads: int = 1
    timeout_s: float = DEPLOY_TIMEOUT_S
    robustness: Robustness | None = None
    wanted: tuple[str, ...] = ("error",)
    narrow: bool | None = None
    keeps_weights: bool = False
    clock: Callable[[], float] = field(default=time.monotonic)

    def __call__(self, job: Mapping[str, Any]) -> Iterator[Report]:
        """Train, and yield the reports of the training; the last one has the other precisions too.

        Raises:
            CandidateError: the training failed.
        """
        part = Architecture(job["architecture"]).without([PRECISION])
        for report in self.work({**job, "architecture": dict(part)}):
            if not report.get("done"):
                yield report
                continue
            began = self.clock()
            found = self._by_precision(part, report[WEIGHTS], job["precisions"], job["seed"])
            kept = {key: value for key, value in report.items() if key not in (WEIGHTS, OF_ALL) or self.keeps_weights}
            seconds = report["seconds"] + self.clock() - began
            yield {**kept, BY_PRECISION: found, "seconds": seconds}

    def _by_precision(
        self, part: Architecture, weights: bytes, precisions: list[str], seed: int
    ) -> dict[str, dict[str, Any]]:
        """Return the metrics in each precision, or the kind and the reason of a failure."""
        if not precisions:
            return {}
        wishes = wishes_of(self.space, part)
        task = self.source.load().prepared_for(wishes)
        first = self.targets[precisions[0]]
        with temporary_folder("precisions") as folder:
            items = partial(self.source.calibration_items, wishes)
            exported = ExportedModel(folder / "model", items, self.narrow, self.source.classifies)
            try:
                with torch_with(self.threads, seed):
                    module = build_checked(self.space, part, task.signature)
                    load_weights(module, load(weights))
                    form = load_runtime(first.runtime, first.options).model_format
                    export_model(module.eval(), task.signature.inputs, first.batch, exported.path, form)
            except CandidateError as error:
                return {precision: _failed(error) for precision in precisions}
            with LocalDevice().process(first, self.timeout_s, pinned=False) as process:
                found = {}
                for precision in precisions:
                    process.turn_to(self.targets[precision])
                    try:
                        found[precision] = self._metrics(process, exported, folder / precision, task)
                    except CandidateError as error:
                        found[precision] = _failed(error)
                return found

    def _metrics(
        self, process: MeasuringProcess, exported: ExportedModel, folder: Path, task: Task
    ) -> dict[str, float]:
        """Deploy a model in the target's precision, and return its metrics on the validation items."""
        (folder / "deployed").mkdir(parents=True)
        model = process.convert(exported, folder / "deployed", self.timeout_s).path

        def outputs(raw: Any) -> torch.Tensor:
            return torch.from_numpy(process.outputs(model, task.prepared(raw), self.timeout_s))

        found = metrics_of(outputs, task.validation, task, torch.device("cpu"), self.robustness)
        if not is_result(found["error"]):
            raise CandidateError(
                "nan",
                f"the error of a deployed model must be finite and at most {LARGEST_VALUE:g}, but it is "
                f"{found['error']:g}.",
            )
        if missing := [name for name in self.wanted if not is_result(found.get(name, math.inf))]:
            raise CandidateError("report", f"a deployed model must have a finite {missing[0]}, but has none.")
        return found


def _failed(error: CandidateError) -> dict[str, Any]:
    return {"failure": [error.kind, error.reason]}
