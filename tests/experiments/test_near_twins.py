"""The figures about near twins compare ratios of pairs with those of the idle machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.busy_desk import Desk, from_json, to_json
from experiments.near_twins import export_twins, row, table
from nas.values.measurement import Measurement


def latency(value: float) -> Measurement:
    return Measurement("latency_ms", "t", ((value,), (value * 1.001,)) * 4, drifts=(1.0,) * 8)


def desk(kind: str, count: int, ratios: dict[str, float]) -> Desk:
    found = {f"{name}-19": latency(1.0) for name in ratios}
    return Desk(kind, count, found | {f"{name}-20": latency(ratio) for name, ratio in ratios.items()}, 9.6)


IDLE = desk("idle", 0, {"conv-8-8": 1.05, "dense-8-8": 1.0})


def test_a_row_compares_ratios_with_the_idle_ones() -> None:
    """One of two pairs is 10 % off, and so beyond the joint interval; the other one is told apart."""
    desks = from_json(json.loads(json.dumps(to_json([IDLE, desk("memory", 8, {"conv-8-8": 1.05, "dense-8-8": 1.1})]))))
    title, _, _, _, idle, busy = table(desks)
    assert title == "2 pairs of 1 to 1.05 ms, whose second model takes 0.0 % to 5.0 % longer"
    assert "| 100 % | 1 of 2 |" in idle
    assert busy.startswith("| memory × 8 | 4.9 %, 10.0 % |")
    assert "| 50 % | 2 of 2 | 10 | dense-8-8 +10.0 % |" in busy


def test_pairs_that_failed_are_left_out() -> None:
    from experiments.near_twins import ratios_of

    truths = {name: ratios_of(IDLE, name) for name in ("conv-8-8", "dense-8-8")}
    assert row(desk("memory", 8, {"conv-8-8": 1.05}), truths)[4] == "1 of 1"


def test_twins_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, sizes in (("CONVOLUTIONS", ((4, 8),)), ("SEPARABLE", ((4, 8),)), ("DENSE", (4,))):
        monkeypatch.setattr(f"experiments.near_twins.{name}", sizes)
    export_twins(tmp_path, "onnx", 1)
    assert len(list(tmp_path.glob("*.model"))) == 6
