"""A pool of three devices for tests, whose benches act as the test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import CandidateError, TargetError
from nas.hardware import pool_bench
from nas.hardware.bench import Outcome
from nas.hardware.devices import board as boards
from nas.hardware.devices.board import Board
from nas.hardware.devices.pool import Pool
from nas.hardware.devices.registry import DeviceRecord, save
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.pool_bench import MEMBER, PoolBench
from nas.hardware.runtimes.runtime import Deployed
from nas.hardware.target_profile import TargetProfile
from nas.values.measurement import Measurement
from nas.values.target import Target

TARGET = Target("onnxruntime-cpu", device="pis")
GONE, RNG = TargetError("it is gone."), np.random.default_rng
Deed = Callable[[str, Sequence[Deployed]], None]


def profile(reference_ms: float = 0.2, doubtful: str = "", **hardware: Any) -> TargetProfile:
    return TargetProfile(
        "f", str(TARGET), {"cores": 4, **hardware}, Path("r"), reference_ms, "2026-11-01", None, None, None, None,
        "wall", doubtful, "",
    )  # fmt: skip


class ActingBench:
    """The bench of one device, which does as the test says. ``asked`` has the models of each request."""

    asked: list[tuple[str, list[str]]]
    deeds: dict[str, Deed]
    drifts: dict[str, float]
    profiles: dict[str, TargetProfile]

    def __init__(self, target: Target, settings: BenchSettings, *, device: Board, **_: object) -> None:
        self._name = device.name
        self.device_s, self.profiles_layers, self.model_format = 1.0, False, "onnx"
        self.deeds.get(f"open {device.name}", lambda *_: None)(device.name, ())

    @property
    def profile(self) -> TargetProfile:
        self.deeds.get(f"profile {self._name}", lambda *_: None)(self._name, ())
        return self.profiles.get(self._name, profile())

    def check(self, metrics: Sequence[str]) -> None:
        if "energy_mj" in metrics:
            self.check_meter()

    def check_meter(self) -> None:
        self.deeds.get(f"meter {self._name}", lambda *_: None)(self._name, ())

    def can_measure(self, metric: str) -> bool:
        self.check([metric])
        return True

    def measure(
        self, models: Sequence[Deployed], metrics: Sequence[str], rng: np.random.Generator, advance: Callable[[], None]
    ) -> list[Outcome]:
        self.check(metrics)
        self.asked.append((self._name, [model.path.name for model in models]))
        for _ in models:
            advance()
        self.deeds.get(self._name, lambda *_: None)(self._name, models)
        drift = self.drifts.get(self._name, 1.0)
        return [
            CandidateError("measure", "refused")
            if model.path.name == "bad"
            else {
                name: Measurement(name, str(TARGET), ((1.0,), (1.0,)), drifts=(drift, drift) if "_ms" in name else ())
                for name in metrics
            }
            for model in models
        ]


def fail(name: str, models: Sequence[Deployed]) -> None:
    raise GONE


def models_named(*names: str) -> list[Deployed]:
    return [Deployed(Path(name), weight_bytes=1) for name in names]


@pytest.fixture
def acting_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[ActingBench]:
    """Three devices in a pool, with benches that act."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    monkeypatch.setattr(pool_bench, "DeviceBench", ActingBench)
    monkeypatch.setattr(boards, "PAUSES_S", (0.0, 0.01))
    for name, value in (("asked", []), ("deeds", {}), ("drifts", {}), ("profiles", {})):
        monkeypatch.setattr(ActingBench, name, value, raising=False)
    for number in (1, 2, 3):
        save(DeviceRecord(f"pi{number}", "local:"))
    return ActingBench


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(acting_bench: type[ActingBench], clock: Clock) -> Pool:
    return Pool(DeviceRecord("pis", "pool:pi1,pi2,pi3"), clock)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def opened(pool: Pool, said: list[str]) -> Callable[..., PoolBench]:
    return lambda **settings: PoolBench(TARGET, BenchSettings(2, 2, **settings), pool, say=said.append)


def measured(bench: PoolBench, *names: str) -> list[str]:
    """Return the device of each model, or the reason of its failure."""
    found = bench.measure(models_named(*names), ["latency_ms"], RNG(0))
    return [
        each.reason if isinstance(each, CandidateError) else each["latency_ms"].conditions[MEMBER] for each in found
    ]
