"""Benches for tests, and models for the runtime that only acts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.errors import CandidateError
from nas.hardware.bench import Outcome
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.runtimes.runtime import Deployed
from nas.values.measurement import Measurement
from nas.values.target import Target

QUICK = BenchSettings(rounds=2, max_rounds=3, precision=math.inf, seconds_per_round=0.02, min_samples=3, timeout_s=30.0)
"""Two rounds are enough, whatever their interval."""
EVERYTHING = ("latency_ms", "item_ms", "peak_memory_mib", "model_bytes", "weight_bytes")


def models_of(folder: Path, deeds: Mapping[str, str]) -> list[Path]:
    """Write one model for each name. Its text says how running it goes."""
    paths = []
    for name, deed in deeds.items():
        path = folder / f"{name}.txt"
        path.write_text(deed)
        paths.append(path)
    return paths


def as_they_are(models: Sequence[Path]) -> list[Deployed]:
    """Return models as if they had been deployed unchanged."""
    return [Deployed(model, weight_bytes=10) for model in models]


def measure(
    target: Target,
    models: Sequence[Path],
    *metrics: str,
    settings: BenchSettings = QUICK,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Measure models together on a bench of this machine."""
    bench = DeviceBench(target, settings)
    return bench.measure(as_they_are(models), metrics or ("latency_ms",), np.random.default_rng(seed), advance)


def latency_of(outcome: Outcome) -> Measurement:
    """Return the latency of a model that was measured."""
    assert isinstance(outcome, dict), outcome
    return outcome["latency_ms"]


def failure_of(outcome: Outcome | Deployed) -> tuple[str, str]:
    """Return the kind and reason of a failure."""
    assert isinstance(outcome, CandidateError), outcome
    return outcome.kind, outcome.reason
