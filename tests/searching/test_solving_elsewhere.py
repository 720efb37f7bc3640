"""Solving a run on a device takes what was measured there: by the run itself, or by other searches."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import evaluations_of, rows_of
from fake_bench import FakeBench, FakeClock
from quick_runs import EXPORT, write_any_model
from two_targets import PI, QUICK, Pi, Wide, on_pi_ms, search

import nas
from nas.hardware.devices.local_device import LocalDevice
from nas.searching.instruments import Instruments
from nas.storage.journal import read_rows
from nas.storage.journal_rows import BenchUsed


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished search on two targets, with the kept measurements beside it."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXPORT, write_any_model)
        patch.setenv("NAS_HOME", str(runs / "home"))
        search(runs)
    return runs / "run"


@pytest.fixture(name="run")
def run_to_solve(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, and of what was kept."""
    copied = Path(shutil.copytree(finished.parent, tmp_path / "runs"))
    monkeypatch.setattr(EXPORT, write_any_model)
    monkeypatch.setenv("NAS_HOME", str(copied / "home"))
    return copied / "run"


def solve(run: Path, bench: FakeBench, **options: Any) -> nas.Solved:
    instruments = Instruments(
        bench=bench, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock(), device=LocalDevice()
    )
    given = {"space": Wide(), "trust": True, "target": PI, **options}
    return nas.solve(run, progress=None, instruments=instruments, **given)


def test_a_further_target_of_the_run_is_known_already(run: Path) -> None:
    """Its measurements, its predictions and its limits are those of the run, and nothing is measured anew."""
    before, board = rows_of(run), Pi()
    solved = solve(run, board)
    assert board.measured == board.deployed == []
    assert solved.target == PI
    assert list(map(str, solved.limits)) == ["latency_ms <= 80ms"]
    measured = {row.architecture for row in evaluations_of(run, "measure")}
    assert {p.architecture for p in solved.candidates if p.source("latency_ms") == "measured"} >= {
        point.architecture for point in solved.candidates if point.architecture in measured
    }
    for point in solved.candidates:
        assert point.value("latency_ms") == pytest.approx(on_pi_ms(point.architecture), rel=0.3)
        assert not point.has("pi/latency_ms")
    assert any(point.source("latency_ms") == "measured" for point in solved.candidates)
    assert not any("were deployed for" in note for note in solved.notes)
    assert rows_of(run) == before


def test_a_board_with_other_versions_is_measured_anew(run: Path) -> None:
    """What the run found there is of no use, and what was kept of the other version neither."""
    (used,) = read_rows(run, BenchUsed)
    assert used.targets == {"": "here-1", "pi": "pi-1"}
    board = Pi(fingerprint="newer-1")
    solved = solve(run, board)
    assert len(board.measured) == solved.newly_measured >= 4


def test_what_the_run_predicted_there_is_measured_on_request(run: Path) -> None:
    """The measurements of the run teach the predictor, also those of networks that were not trained."""
    predicted = {p.architecture.id for p in solve(run, Pi()).candidates if p.source("latency_ms") == "predicted"}
    board = Pi()
    solved = solve(run, board, measure=8, fresh=True)
    assert set(board.measured) <= predicted
    assert all(point.source("latency_ms") == "measured" for point in solved)
    assert solve(run, Pi()).newly_measured == 0


@pytest.mark.slow
def test_a_run_of_several_targets_becomes_one_on_the_board(run: Path, tmp_path: Path) -> None:
    """It has the measurements of the board alone, under their bare names."""
    solve(run, Pi(), as_run=tmp_path / "board")
    written = nas.load_run(tmp_path / "board")
    assert written.recipe.target == PI
    assert written.recipe.further_targets == ()
    rows = evaluations_of(tmp_path / "board", "measure")
    assert rows
    for row in rows:
        assert list(row.measurements) == ["latency_ms"]
        assert row.measurements["latency_ms"].median == pytest.approx(on_pi_ms(row.architecture), rel=0.05)


@pytest.mark.slow
def test_measurements_that_another_search_kept_are_taken_first(run: Path) -> None:
    """They cost nothing, and a repeated command finds all in the run's folder."""
    instruments = Instruments(
        bench=FakeBench(Wide(), fingerprint="here-1"), looks_apart=False, clock=FakeClock(), stopwatch=FakeClock()
    )
    changes = {"name": "second", "target": "onnxruntime-cpu", "limits": [], "trials": 6, "seed": 3}
    nas.search({**QUICK, **changes}, space=Wide(), runs=run.parent, instruments=instruments, progress=None)
    second = run.parent / "second"
    kept = {row.architecture.id for row in evaluations_of(run, "measure") if not row.failed}
    candidates = {row.architecture.id for row in evaluations_of(second, "train")}
    assert kept & candidates
    board = Pi()
    solved = solve(second, board)
    assert not set(board.measured) & kept
    assert solved.newly_measured == len(board.measured) <= len(candidates - kept)
    measured = {p.architecture.id for p in solved.candidates if p.source("latency_ms") == "measured"}
    assert measured >= kept & candidates
    again = Pi()
    assert [p.to_json() for p in solve(second, again).candidates] == [p.to_json() for p in solved.candidates]
    assert again.measured == again.deployed == []
    fresh = Pi()
    shutil.rmtree(second / "solved")
    solve(second, fresh, fresh=True)
    assert set(fresh.measured) & kept
