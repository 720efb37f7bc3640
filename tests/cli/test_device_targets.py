"""Commands take a target of a device as they take one of this machine: each asks the device, over its transport."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import own_runtime
import pytest
from commands import evaluations_of
from fake_bench import FakeBench, FakeClock
from in_process import printed
from quick_profile import known_profile
from quick_runs import BASE, OneChoice, Stopping
from small_tables import QUICK, TASK, rows_in, slower, write_table

import nas
from nas.hardware.devices.board import Board, board_named
from nas.hardware.devices.registry import DeviceRecord, save
from nas.tables.measured_table import device_name
from nas.values.target import Target

ACTING = Target.parse("pi/own_runtime:OnBoard")


@pytest.fixture(name="pi")
def _pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Another Python of this machine, which stands for a board. Its home is that of the test."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(own_runtime.__file__).parent), prepend=os.pathsep)
    record = DeviceRecord("pi", "local:", sys.executable, str(tmp_path / "there"), packages={ACTING.runtime: ""})
    save(record)
    return board_named(record)


@pytest.fixture(name="profiled")
def _profiled(pi: Board, monkeypatch: pytest.MonkeyPatch) -> Board:
    """The same with a known profile, so that no test waits for a thorough one."""
    with monkeypatch.context() as exporting:
        exporting.setattr("nas.formats.export.export_model", own_runtime.write_unread)
        known_profile(ACTING)
    return pi


Typed = Callable[..., str]


@pytest.fixture(name="typed")
def _typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    return lambda *words: printed(capsys, monkeypatch, *words)


@pytest.mark.slow
@pytest.mark.usefixtures("profiled", "small_spaces_here")
def test_a_profile_and_a_few_measurements_for_a_table(typed: Typed, tmp_path: Path) -> None:
    """The board is measured a little, and the table's other devices tell the rest."""
    shown = json.loads(typed("target", "show", ACTING, "--json"))
    assert shown["target"] == str(ACTING)
    table = write_table(tmp_path / "table.csv.gz", {"latency_ms_desk": slower})
    out, column = tmp_path / "out.csv.gz", f"latency_ms_{device_name(ACTING)}"
    files = ("--table", table, "--out", out, "--report", tmp_path / "page.html", "--json")
    quick = ("--samples", "5", "--max-rounds", "2", "--within", "1")
    found = json.loads(typed("predictor", "onboard", "--target", ACTING, *files, *TASK, *QUICK, *quick))
    assert (found["metrics"][0]["target"], found["metrics"][0]["sources"]) == (device_name(ACTING), ["desk"])
    assert sum(row[column] != "" for row in rows_in(out)) == 5
    assert all(float(row[f"predicted_{column}"]) > 0 for row in rows_in(out))
    report = ("predictor", "report", out, *TASK, *QUICK, "--target", device_name(ACTING), "--sources", "desk")
    again = json.loads(typed(*report, "--out", tmp_path / "again.html", "--json"))
    assert again["metrics"][0]["held_out"]["samples"] == 5


def tools() -> nas.Instruments:
    """Return instruments with a bench that is faked; the device itself is asked what it is."""
    return nas.Instruments(bench=FakeBench(OneChoice()), looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())


@pytest.mark.usefixtures("pi", "quick_export")
def test_a_search_goes_on_there_and_is_solved_there(tmp_path: Path) -> None:
    """A run of the board, and one of this machine that is solved for the board."""
    recipe = {**BASE, "target": "pi/onnxruntime-cpu", "limits": ["pi/latency_ms <= 1s"], "trials": 2, "rounds": 1}
    options: dict[str, Any] = {"space": OneChoice(), "instruments": tools()}
    with pytest.raises(KeyboardInterrupt):
        nas.search(recipe, runs=tmp_path, progress=Stopping("retraining winners"), **options)
    measured = evaluations_of(tmp_path / "run", "measure")
    front = nas.resume(tmp_path / "run", progress=None, **options)
    assert len(front) > 0
    assert evaluations_of(tmp_path / "run", "measure") == measured
    assert nas.load_run(tmp_path / "run").target == "pi/onnxruntime-cpu:fp32:batch=1:threads=1"
    there = "pi/onnxruntime-cpu:int8:batch=1:threads=1"
    solved = nas.solve(tmp_path / "run", target=there, measure=6, trust=True, progress=None, **options)
    assert solved.target == there
    assert solved.newly_measured > 0
