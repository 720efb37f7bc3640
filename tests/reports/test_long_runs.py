"""Long runs are read and shown at a cost that grows with their rows: function calls are counted, not seconds."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import nas
from experiments.report_speed import made_up_run, write_run
from nas.reports.drawing.scenes import terminal_scene
from nas.reports.report import render_report
from nas.results.run_folder import read_run

OURS = str(Path(nas.__file__).parent)
SHORT, LONG = 500, 2000


def calls_of(work: Callable[[], object]) -> Counter[CodeType]:
    """Return how often each function of this package is called by ``work``, lines of comprehensions left out."""
    found: Counter[CodeType] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS) and not code.co_name.startswith("<"):
            found[code] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def show(folder: Path) -> None:
    terminal_scene(read_run(folder))


@pytest.fixture(name="runs", scope="module")
def short_and_long_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for count in (SHORT, LONG):
        write_run(folder / str(count), count)
    return {count: folder / str(count) for count in (SHORT, LONG)}


@pytest.mark.slow
@pytest.mark.parametrize(("work", "most"), [(show, 45), (lambda folder: render_report(read_run(folder)), 140)])
def test_a_row_costs_the_same_in_a_long_run(runs: dict[int, Path], work: Callable[[Path], object], most: int) -> None:
    """Four times as many rows take four times as many calls, and few of them."""
    work(runs[SHORT])
    short, long = (calls_of(lambda count=count: work(runs[count])).total() for count in (SHORT, LONG))
    a_row = (long - short) / (LONG - SHORT)
    assert a_row < most
    assert long / LONG <= short / SHORT


def test_each_row_is_parsed_once(runs: dict[int, Path]) -> None:
    """The rows of a run and its timeline are read from the same parsed rows."""
    calls = {code.co_name: count for code, count in calls_of(lambda: read_run(runs[SHORT])).items()}
    assert SHORT <= calls["read_json"] <= SHORT + 10


@pytest.mark.slow
def test_rows_are_indexed_once(runs: dict[int, Path]) -> None:
    """All parts of the page share the index of the run."""
    calls = calls_of(lambda: render_report(read_run(runs[SHORT])))
    adds = next(count for code, count in calls.items() if code.co_qualname == "IndexedRows.add")
    assert adds <= SHORT


def test_the_collector_runs_again_after_a_run_was_read(runs: dict[int, Path], tmp_path: Path) -> None:
    """It is paused meanwhile, also where reading fails; where a caller paused it, it stays so."""
    was_on = gc.isenabled()
    try:
        gc.enable()
        read_run(runs[SHORT])
        assert gc.isenabled()
        with pytest.raises(nas.errors.JournalError):
            read_run(tmp_path)
        assert gc.isenabled()
        gc.disable()
        read_run(runs[SHORT])
        assert not gc.isenabled()
    finally:
        (gc.enable if was_on else gc.disable)()


def test_a_written_run_is_the_one_that_was_made_up(runs: dict[int, Path]) -> None:
    found, made_up = read_run(runs[SHORT]), made_up_run(SHORT)
    assert found.rows == made_up.rows
    assert found.front.to_json()["winners"] == made_up.front.to_json()["winners"]
    assert found.is_over
    assert found.damages == ()
