"""A bench and a clock that need no device: what they give follows from the model and the number of readings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.architecture import Architecture
from nas.benchmarking import Outcome
from nas.measurement import Measurement
from nas.search_space import SearchSpace, enumerate_space

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"


def latency_ms(architecture: Architecture) -> float:
    """Grows with width, depth and kernel, as it would on a device."""
    width, depth, kernel = (int(architecture.get(name, 1)) for name in ("width", "depth", "kernel"))
    return 0.5 + 0.1 * width + 0.02 * width * depth * kernel**2


VALUES: Mapping[str, Callable[[Architecture], float]] = {
    "latency_ms": latency_ms,
    "peak_memory_mib": lambda a: 1 + 0.25 * int(a["width"]),
    "model_bytes": lambda a: 1000 * (1 + int(a["width"]) * int(a.get("depth", 1))),
}


class FakeBench:
    """Knows each architecture by the name of its file, or of the folder of its bundle."""

    rounds = 3

    def __init__(self, space: SearchSpace) -> None:
        self._by_id = {architecture.id: architecture for architecture in enumerate_space(space)}
        self.measured: list[str] = []

    def measure(
        self,
        models: Sequence[Path],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for model in models:
            identity = model.parent.name if model.stem == "model" else model.stem
            self.measured.append(identity)
            outcomes.append({name: self._measurement(name, self._by_id[identity], rng) for name in metrics})
        return outcomes

    def _measurement(self, name: str, architecture: Architecture, rng: np.random.Generator) -> Measurement:
        value = VALUES[name](architecture)
        noise = rng.normal(1, 0.01, self.rounds) if name == "latency_ms" else np.ones(self.rounds)
        return Measurement(name, TARGET, tuple((value * factor,) for factor in noise.tolist()))


class FakeClock:
    """A millisecond passes at each look."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1_000_000)

    def __call__(self) -> float:
        return next(self._ticks) / 1000
