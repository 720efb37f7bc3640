"""A bench that runs ONNX files in this process, and measures what a test says."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import CandidateError
from nas.formats.onnx_session import Arrays, outputs_of
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array
from nas.values.measurement import Measurement
from nas.values.target import ModelFormat, Target

SPREAD = (0.999, 1.0, 1.001, 1.0, 0.9995, 1.0005)


def same(outputs: Float32Array) -> Float32Array:
    """Return outputs as they are."""
    return outputs


class ActingBench:
    """Each model takes ``latency_ms``, and its outputs are bent by ``bend``. ``refusal`` is raised or returned.

    ``conditions`` are those of each measurement.
    """

    rounds = len(SPREAD)
    model_format: ModelFormat = "onnx"
    fingerprint: str | None = None
    device_s = 0.0

    def __init__(
        self,
        latency_ms: Callable[[Path], float] = lambda path: 1.0,
        bend: Callable[[Float32Array], Float32Array] = same,
        refusal: CandidateError | None = None,
        conditions: Mapping[str, Any] | None = None,
    ) -> None:
        self._latency_ms = latency_ms
        self._bend = bend
        self._refusal = refusal
        self._conditions = conditions or {"processor": "a processor", "runtime": "a runtime 2.0"}
        self.target = Target("onnxruntime-cpu")
        self.deployed: list[Path] = []
        self.in_time: Callable[[], bool] = lambda: True

    def __call__(self, target: Target) -> ActingBench:
        """Return this bench for any target."""
        self.target = target
        return self

    def can_measure(self, metric: str) -> bool:
        return metric == "latency_ms"

    def check(self, metrics: Sequence[str]) -> None:
        """Every metric that is asked for can be measured."""

    def check_meter(self) -> None:
        """There is no meter."""

    def deploy(
        self,
        models: Sequence[ExportedModel],
        folders: Sequence[Path],
        advance: Callable[[], None] = lambda: None,
    ) -> list[Deployed | CandidateError]:
        for folder in folders:
            folder.mkdir(parents=True)
        paths = [model.path for model in models]
        self.deployed += paths
        if self.target.precision != "fp32":
            paths = [Path(shutil.copy(path, folder)) for path, folder in zip(paths, folders, strict=True)]
        return [self._refusal or Deployed(path, 1000) for path in paths]

    def measure(
        self,
        models: Sequence[Deployed],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        return [self._refusal or {name: self._measured(name, model) for name in metrics} for model in models]

    def outputs(self, model: Deployed, inputs: Arrays) -> Float32Array:
        return self._bend(outputs_of(model.path, inputs))

    def _measured(self, name: str, model: Deployed) -> Measurement:
        rounds = tuple((self._latency_ms(model.path) * share,) for share in SPREAD)
        return Measurement(name, str(self.target), rounds, self._conditions)
