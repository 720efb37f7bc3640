"""Profiles of networks are kept with their latencies, and found again by later runs on the same target."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from nas.space.architecture import Architecture
from nas.space.layer import Layer
from nas.storage.measurement_store import MeasurementStore
from nas.values.layer_times import LayerTime
from nas.values.measurement import Measurement
from nas.values.profiled_network import profile_of

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"
WIDE, NARROW = Architecture({"width": 8}), Architecture({"width": 4})


def profiled(milliseconds: float, *flags: str, macs: int = 640) -> dict[str, Measurement]:
    """Return a latency with the profile of a network of one layer."""
    profile = profile_of([Layer("linear", (64,), (10,), macs=macs)], [LayerTime("", "Gemm", milliseconds, 10)])
    return {"latency_ms": Measurement("latency_ms", TARGET, ((milliseconds,),), profile, flags)}


class TestProfiled:
    def test_are_networks_of_any_space_on_this_target(self, tmp_path: Path) -> None:
        """Neither those of another machine, nor without a profile, nor later; the last one counts.

        Those of the space itself have their architectures.
        """
        store = MeasurementStore(tmp_path)
        plain = {"latency_ms": Measurement("latency_ms", TARGET, ((5.0,),))}
        store.add("print-1", "first-a", WIDE, profiled(3.0))
        store.add("print-1", "first-a", WIDE, profiled(1.0))
        store.add("print-1", "second-b", WIDE, profiled(2.0, macs=320))
        store.add("printer-1", "first-c", NARROW, profiled(4.0))
        store.add("print-1", "first-d", NARROW, plain)
        second, first = store.profiled("latency_ms", "print", "first", before=math.inf)
        assert (first.latency_ms, first.architecture, first.operators[0].ms) == (1.0, WIDE, 1.0)
        assert (second.latency_ms, second.architecture) == (2.0, None)
        assert not first.is_of_run
        assert store.profiled("latency_ms", "print", "first", before=time.time() - 3600) == []
        assert MeasurementStore(tmp_path, fresh=True).profiled("latency_ms", "print", "first", before=math.inf) == []
        assert MeasurementStore(tmp_path / "none").profiled("latency_ms", "print", "first", before=math.inf) == []

    def test_are_kept_of_doubtful_latencies_too(self, tmp_path: Path) -> None:
        """The latency itself is measured again, but its parts tell what layers cost."""
        store = MeasurementStore(tmp_path)
        store.add("print-1", "first-a", WIDE, profiled(3.0, "the machine was busy"))
        assert store.find("print-1", "first-a", WIDE).get("latency_ms") is None
        assert [each.latency_ms for each in store.profiled("latency_ms", "print", "first", before=math.inf)] == [3.0]
        assert store.sources("first", "latency_ms", without=()) == []

    def test_are_the_newest_ones(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of many, so many are learned from, whatever else was measured since."""
        store = MeasurementStore(tmp_path)
        for number in range(6):
            store.add("print-1", f"first-{number}", WIDE, profiled(1.0 + number))
        for number in range(9):
            store.add(
                "print-1", f"first-{number}", NARROW, {"latency_ms": Measurement("latency_ms", TARGET, ((9.0,),))}
            )
        monkeypatch.setattr("nas.storage.measurement_store.MOST_PROFILED", 2)
        assert [each.latency_ms for each in store.profiled("latency_ms", "print", "first", before=math.inf)] == [
            6.0,
            5.0,
        ]
