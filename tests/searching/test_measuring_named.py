"""Named architectures of a run are measured: on its own target into its folder, or on another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import evaluations_of, rows_of
from fake_bench import FakeBench, FakeClock, latency_ms
from fault_spaces import Faulty
from other_target import OTHER, SLOWER, OtherBench, write_run
from quick_runs import EXPORT, write_any_model
from test_precisions import SLOWER as SLOWER_IN_INT8, search, tools

import nas
from nas.errors import JournalError, RecipeError
from nas.tables.table import read_table
from nas.values.evaluation import Evaluation

TABLE = "measured-latency_ms.csv.gz"


@pytest.fixture(name="run")
def made_up_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of twelve candidates, of which six were measured."""
    monkeypatch.setattr(EXPORT, write_any_model)
    return write_run(tmp_path / "run")


def measured(run: Path, *names: str, bench: FakeBench | None = None, **options: Any) -> list[Evaluation]:
    bench = bench or FakeBench(Faulty())
    instruments = nas.Instruments(bench=bench, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())
    given = {"space": Faulty(), "trust": True, **options}
    return nas.measure_run(run, names, progress=None, instruments=instruments, **given)


def test_ids_and_their_beginnings_name_architectures(run: Path) -> None:
    """The rows are about what was named, and the run's journal stays as it was."""
    before = rows_of(run)
    first, second = [row.architecture for row in evaluations_of(run, "train")][:2]
    rows = measured(run, first.id, second.id[:8], first.id)
    assert [row.architecture for row in rows] == [first, second]
    for row in rows:
        assert row.measurements["latency_ms"].median == pytest.approx(latency_ms(row.architecture), rel=0.05)
    assert rows_of(run) == before


def test_measurements_of_the_runs_own_device_lie_in_its_folder(run: Path) -> None:
    """The table is the one in which a report on the predictor finds them, and a later command adds to it."""
    architectures = [row.architecture for row in evaluations_of(run, "train")][:3]
    measured(run, architectures[0].id)
    measured(run, *(each.id for each in architectures[1:]))
    assert [each.id for each in read_table(run / TABLE, Faulty()).architectures] == [each.id for each in architectures]


def test_another_target_is_measured_without_a_trace_in_the_run(run: Path) -> None:
    (architecture, *_) = [row.architecture for row in evaluations_of(run, "train")]
    (row,) = measured(run, architecture.id, bench=OtherBench(), target=OTHER)
    assert row.measurements["latency_ms"].median == pytest.approx(SLOWER * latency_ms(architecture), rel=0.05)
    assert not (run / TABLE).exists()


def test_files_and_texts_name_architectures_that_the_run_never_met(run: Path, tmp_path: Path) -> None:
    """``measure_next.json`` of a report is such a file."""
    known = {row.architecture for row in evaluations_of(run, "train")} | {
        row.architecture for row in evaluations_of(run, "measure")
    }
    new = [each for each in nas.enumerate_space(Faulty()) if each not in known][:2]
    (tmp_path / "measure_next.json").write_text(json.dumps([{"architecture": dict(new[0])}]))
    rows = measured(run, str(tmp_path / "measure_next.json"), json.dumps(dict(new[1])))
    assert [row.architecture for row in rows] == new


def test_wrong_names_are_refused(run: Path) -> None:
    (architecture, *_) = [row.architecture for row in evaluations_of(run, "train")]
    with pytest.raises(RecipeError, match=r"must be that of an architecture of .*run, but 0123456789ab is of none"):
        measured(run, "0123456789ab")
    with pytest.raises(RecipeError, match="names are a list of ids"):
        nas.measure_run(run, architecture.id)
    with pytest.raises(RecipeError, match="was started with a space object"):
        measured(run, architecture.id, space=None)
    with pytest.raises(RecipeError, match="unknown metric 'memory'"):
        measured(run, architecture.id, metrics=["memory"])
    with pytest.raises(JournalError, match="must be the folder of a run"):
        measured(run / "none", architecture.id)


@pytest.mark.slow
def test_each_architecture_is_measured_in_its_own_precision(tmp_path: Path) -> None:
    """Where a run chose the precision, each has a bench of its own."""
    search(tmp_path, SLOWER_IN_INT8)
    winner_rows = evaluations_of(tmp_path / "run", "train")
    by_precision = {str(row.architecture["precision"]): row.architecture for row in winner_rows}
    from quick_runs import OneChoice

    rows = nas.measure_run(
        tmp_path / "run",
        [each.id for each in by_precision.values()],
        space=OneChoice(),
        trust=True,
        progress=None,
        instruments=tools(SLOWER_IN_INT8),
    )
    for row in rows:
        factor = SLOWER_IN_INT8 if row.architecture["precision"] == "int8" else 1.0
        assert row.measurements["latency_ms"].median == pytest.approx(factor * latency_ms(row.architecture), rel=0.05)
