"""A bench and a clock without a device. Measurements follow from the model and the number of readings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nas.errors import CandidateError
from nas.formats.onnx_session import Arrays, outputs_of
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array
from nas.space.architecture import Architecture
from nas.space.parts.device_parts import device_space, with_precisions
from nas.space.search_space import SearchSpace, enumerate_space
from nas.values.measurement import Measurement
from nas.values.target import ModelFormat

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"
DEVICE_S = 0.25
"""What measuring one model takes of the device."""


def latency_ms(architecture: Architecture) -> float:
    """Return a latency that grows with width, depth and kernel, as on a device."""
    width, depth, kernel = (int(architecture.get(name, 1)) for name in ("width", "depth", "kernel"))
    return 0.5 + 0.1 * width + 0.02 * width * depth * kernel**2


def weight_bytes(architecture: Architecture) -> int:
    return 900 * (1 + int(architecture.get("width", 1)) * int(architecture.get("depth", 1)))


VALUES: Mapping[str, Callable[[Architecture], float]] = {
    "latency_ms": latency_ms,
    "item_ms": latency_ms,
    "sustained_latency_ms": lambda a: 1.5 * latency_ms(a),
    "peak_memory_mib": lambda a: 1 + 0.25 * int(a.get("width", 1)),
    "model_bytes": lambda a: 1000 * (1 + int(a.get("width", 1)) * int(a.get("depth", 1))),
    "weight_bytes": weight_bytes,
}
NOISY = ("latency_ms", "item_ms")


def size_by_choices(architecture: Architecture) -> int:
    """Return a hundred times the sum of all choices that are numbers, such as shares of channels."""
    return round(100 * sum(float(option) for option in architecture.values() if not isinstance(option, str)))


class FakeBench:
    """A bench that recognises each architecture by the name of its file, or of its bundle's folder.

    ``deployed`` and ``measured`` are the ids of the models that it was given, in order.
    """

    rounds = 3
    model_format: ModelFormat = "onnx"

    def __init__(self, space: SearchSpace, *, fingerprint: str | None = None) -> None:
        both = (*enumerate_space(space), *enumerate_space(device_space(space)))
        self._by_id = {architecture.id: architecture for architecture in both}
        self.fingerprint = fingerprint
        self.deployed: list[str] = []
        self.measured: list[str] = []
        self.in_time: Callable[[], bool] = lambda: True

    @property
    def device_s(self) -> float:
        return DEVICE_S * len(self.measured)

    def can_measure(self, metric: str) -> bool:
        return metric in VALUES

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
        """Return the exported files, each with its empty folder."""
        for model, folder in zip(models, folders, strict=True):
            folder.mkdir(parents=True)
            self.deployed.append(_identity(model.path))
            advance()
        return [Deployed(model.path, weight_bytes(self._by_id[_identity(model.path)])) for model in models]

    def measure(
        self,
        models: Sequence[Deployed],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for model in models:
            identity = _identity(model.path)
            self.measured.append(identity)
            outcomes.append({name: self._measurement(name, self._by_id[identity], rng) for name in metrics})
            for _ in range(self.rounds):
                advance()
        return outcomes

    def outputs(self, model: Deployed, inputs: Arrays) -> Float32Array:
        return outputs_of(model.path, inputs)

    def _measurement(self, name: str, architecture: Architecture, rng: np.random.Generator) -> Measurement:
        value = VALUES[name](architecture)
        noise = rng.normal(1, 0.01, self.rounds) if name in NOISY else np.ones(self.rounds)
        return Measurement(name, TARGET, tuple((value * factor,) for factor in noise.tolist()))


class InAnyPrecision(FakeBench):
    """A bench that also knows architectures with a precision. Everything takes ``factor`` times as long here."""

    def __init__(self, space: SearchSpace, factor: float = 1.0) -> None:
        super().__init__(with_precisions(space, ("fp32", "int8")))
        self._by_id |= {each.id: each for each in enumerate_space(space)}
        self._factor = factor

    def _measurement(self, name: str, architecture: Architecture, rng: np.random.Generator) -> Measurement:
        found = super()._measurement(name, architecture, rng)
        factor = self._factor if name in NOISY else 1.0
        return replace(found, rounds=tuple(tuple(factor * each for each in samples) for samples in found.rounds))


class FakeClock:
    """A clock on which a millisecond passes at each reading."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1_000_000)

    def __call__(self) -> float:
        return next(self._ticks) / 1000


def _identity(model: Path) -> str:
    return model.parent.name if model.stem == "model" else model.stem
