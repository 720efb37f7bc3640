"""Whole searches in a table load, build, train and measure nothing, and no text says that they did."""

from __future__ import annotations

import gzip
import io
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from commands import evaluations_of
from quick_runs import Diary
from rich.console import Console
from table_space import DEVICE, OPERATIONS, Chain, accuracy, final_accuracy, latency_ms, write_table

import nas
from nas.errors import JournalError, RecipeError
from nas.reports.console import print_front
from nas.results.exports.tidy import document_of, table_of
from nas.results.front import Front
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.storage.journal import Journal
from nas.storage.journal_rows import RecipeText
from nas.values.measurement import Interval
from nas.values.pareto import non_dominated

ALL = list(enumerate_space(Chain()))


def search(tmp_path: Path, table: Path, progress: Diary | None = None, **changes: Any) -> Front:
    recipe = {
        "name": "run",
        "evaluate": "table",
        "trials": 16,
        "rounds": 2,
        "predictor": "quick_predictor:fit_quick",
        "table": {
            "path": str(table),
            "accuracy": "val_acc",
            "test_accuracy": "test_acc",
            "device": DEVICE,
            "training_s": 450.0,
            "input_shape": [1, 8, 8],
            **changes.pop("table", {}),
        },
        "measuring": {"initial": 8, "per_round": 3},
        "execution": {"executor": "inline"},
        **changes,
    }
    instruments = nas.Instruments(looks_apart=False)
    return nas.search(recipe, space=Chain(), runs=tmp_path, progress=progress, instruments=instruments)


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading images fails."""

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("no data set is loaded where a table is looked up")

    monkeypatch.setattr("nas.tasks.data_source.load_task", fail)


def test_a_search_in_a_table_finds_its_front(tmp_path: Path) -> None:
    """Candidates have the errors of one column, winners those of the test column, and all other values."""
    front = search(tmp_path, write_table(tmp_path / "t.csv.gz"))
    trained = evaluations_of(tmp_path / "run", "train")
    assert len(trained) == len({row.architecture for row in trained}) == 16
    for row in trained:
        assert row.values["error"] == pytest.approx(1 - accuracy(row.architecture) / 100)
        assert row.details["seconds"] == 450
        assert not row.details["stopped_early"]
    assert not evaluations_of(tmp_path / "run", "retrain")
    assert 1 <= len(front) <= 4
    for winner in front:
        assert winner.test_error == pytest.approx(1 - final_accuracy(winner.architecture) / 100)
        assert winner.test_interval == Interval(winner.test_error, winner.test_error)
        assert winner.measurements["latency_ms"].median == latency_ms(winner.architecture)
        assert set(winner.measurements) == {"latency_ms", "energy_mj"}
        assert winner.predicted["latency_ms"].mean > 0
        assert (winner.folder, winner.parity, winner.throughput) == ("", None, None)
    assert not (tmp_path / "run" / "winners").exists()


@pytest.mark.slow
def test_enough_winners_are_the_whole_front(tmp_path: Path) -> None:
    """With a large number of winners, they are all measured candidates that no other one dominates."""
    front = search(tmp_path, write_table(tmp_path / "t.csv.gz"), retraining={"winners": 100}, trials=40)
    measured = {row.architecture for row in evaluations_of(tmp_path / "run", "measure")}
    known = [row.architecture for row in evaluations_of(tmp_path / "run", "train") if row.architecture in measured]
    kept = non_dominated(losses(known))
    assert {winner.architecture for winner in front} == {a for a, keep in zip(known, kept, strict=True) if keep}


def losses(architectures: list[Architecture]) -> npt.NDArray[np.float64]:
    return np.array([[100 - accuracy(each), latency_ms(each)] for each in architectures])


def test_architectures_that_the_table_lacks_become_failed_rows(tmp_path: Path) -> None:
    """A missing row or an empty field fails a candidate. It counts in the budget, and never wins."""
    lacking, empty = ALL[::5], ALL[1::5]
    table = write_table(tmp_path / "t.csv.gz", without=lacking, empty=empty)
    front = search(tmp_path, table, trials=30, sampler="random", seed=3)
    trained = evaluations_of(tmp_path / "run", "train")
    assert len(trained) == 30
    failed = [row for row in trained if row.failure]
    assert failed
    assert {row.failure.kind for row in failed if row.failure} == {"table"}
    assert {row.architecture for row in failed} == {row.architecture for row in trained} & set(lacking)
    unmeasured = {row.architecture for row in evaluations_of(tmp_path / "run", "measure") if row.failed}
    assert unmeasured
    assert unmeasured <= {*lacking, *empty}
    assert {row.architecture for row in trained} & set(empty) <= unmeasured
    assert not {winner.architecture for winner in front} & {*lacking, *empty}
    assert len(front) > 0


@pytest.mark.slow
def test_all_candidates_are_looked_up_before_winners_are_chosen(tmp_path: Path) -> None:
    """So the winners are the true front of all of them, and no point of it is predicted."""
    front = search(tmp_path, write_table(tmp_path / "t.csv.gz"), retraining={"winners": 100}, trials=40)
    known = [row.architecture for row in evaluations_of(tmp_path / "run", "train")]
    measured = evaluations_of(tmp_path / "run", "measure")
    assert {*known} <= {row.architecture for row in measured}
    assert len(measured) == len({row.architecture for row in measured})
    kept = non_dominated(losses(known))
    assert {winner.architecture for winner in front} == {a for a, keep in zip(known, kept, strict=True) if keep}


@pytest.mark.slow
def test_many_empty_fields_end_no_run_that_has_a_front(tmp_path: Path) -> None:
    """Ten in a row are missing only once all candidates are looked up, when the search is over."""
    changes: dict[str, Any] = {"trials": 40, "sampler": "random"}
    search(tmp_path, write_table(tmp_path / "t.csv.gz"), **changes)
    asked = nas.load_run(tmp_path / "run").fits[-1].held_out.samples
    rest = [row.architecture for row in evaluations_of(tmp_path / "run", "measure")][asked:]
    (tmp_path / "sparse").mkdir()
    front = search(tmp_path / "sparse", write_table(tmp_path / "u.csv.gz", empty=rest), **changes)
    failed = [row.architecture for row in evaluations_of(tmp_path / "sparse" / "run", "measure") if row.failed]
    assert failed == rest
    assert len(rest) >= 10
    assert front.winners


def at_chance(path: Path, hopeless: list[Architecture]) -> Path:
    """Write the table with some architectures at the accuracy of one class of ten."""
    header, *lines = gzip.decompress(write_table(path).read_bytes()).decode().splitlines()
    names = header.split(",")
    changed = []
    for architecture, line in zip(ALL, lines, strict=True):
        cells = line.split(",")
        if architecture in hopeless:
            cells[names.index("val_acc")] = cells[names.index("test_acc")] = "10"
        changed.append(",".join(cells))
    path.write_bytes(gzip.compress("\n".join([header, *changed]).encode()))
    return path


@pytest.mark.slow
def test_models_at_chance_win_only_where_nothing_else_meets_the_limits(tmp_path: Path) -> None:
    """They would stretch the front; where they win all the same, a note says that they learned nothing."""
    cheapest = sorted(ALL, key=latency_ms)[:12]
    table = at_chance(tmp_path / "t.csv.gz", cheapest)
    front = search(tmp_path, table, trials=60, sampler="random")
    evaluated = {row.architecture for row in evaluations_of(tmp_path / "run", "train")}
    assert evaluated & {*cheapest}
    assert not {winner.architecture for winner in front} & {*cheapest}
    assert not any("chance" in note for notes in front.notes for note in notes)
    (tmp_path / "tight").mkdir()
    limit = f"latency_ms <= {latency_ms(cheapest[-1])}ms"
    hopeless = search(tmp_path / "tight", table, trials=60, limits=[limit])
    assert {winner.architecture for winner in hopeless} <= {*cheapest}
    assert hopeless.notes[0][0].startswith("Near chance: the accuracy is 10.00 %, and that of always answering ")
    assert hopeless.nothing_learned is not None
    assert "Train longer" not in hopeless.nothing_learned
    solved = nas.solve(tmp_path / "tight" / "run", progress=None)
    ids = {point.architecture.id for point in solved}
    (note,) = [note for note in solved.notes if note.startswith("Near chance, so of no use: ")]
    assert any(each in note for each in ids)


def test_exports_of_a_table_tell_of_no_training_and_no_interval(tmp_path: Path) -> None:
    """Also of a run that an earlier version wrote, whose rows do not tell how errors were found."""
    search(tmp_path, write_table(tmp_path / "t.csv.gz"))
    run = nas.load_run(tmp_path / "run")
    columns, rows = table_of(run, run.records)
    evaluated = [row for row in rows if row["validation_error"] is not None]
    assert {(row["evaluated_by"], row["epochs"], row["training_s"]) for row in evaluated} == {("table", None, 450)}
    meanings = " ".join(column.meaning for column in columns if column.name.startswith(("test_", "validation_")))
    assert "split" not in meanings
    entries = document_of(run, run.records)["architectures"]
    intervals = [entry["measured"]["latency_ms"]["interval_95"] for entry in entries if entry["measured"]]
    assert intervals
    assert {*intervals} == {None}
    assert {entry["test"]["error"]["interval_95"] for entry in entries if entry["test"]} == {None}
    old = [replace(row, details={k: v for k, v in row.details.items() if k != "by"}) for row in run.rows]
    with Journal.start(tmp_path / "old", run.recipe_text, clock=time.time) as journal:
        journal.append(RecipeText(run.recipe_text), *old)
    before = nas.load_run(tmp_path / "old")
    assert table_of(before, before.records)[1] == rows


@pytest.mark.slow
def test_a_winner_without_a_test_accuracy_makes_way_for_another(tmp_path: Path) -> None:
    """Its failed row says why, and the front has the number of failures."""
    table = write_table(tmp_path / "t.csv.gz")
    (tmp_path / "first").mkdir()
    first = search(tmp_path / "first", table, retraining={"winners": 1})
    untested = write_table(tmp_path / "u.csv.gz", untested=[first.winners[0].architecture])
    front = search(tmp_path, untested, retraining={"winners": 1})
    assert front.failed == 1
    assert len(front) == 1
    assert front.winners[0].architecture != first.winners[0].architecture
    (failure,) = [row.failure for row in evaluations_of(tmp_path / "run", "winner") if row.failure]
    assert (failure.kind, "test_acc is empty" in failure.reason) == ("table", True)


@pytest.mark.slow
@pytest.mark.parametrize("objectives", [["error", "latency_ms"], ["error", "macs"], ["error"]], ids=" ".join)
def test_the_report_says_that_nothing_was_measured(tmp_path: Path, objectives: list[str]) -> None:
    """It names the table, its device, its columns and what is simulated, and claims no measurement."""
    search(tmp_path, write_table(tmp_path / "t.csv.gz"), objectives=objectives, limits=["energy_mj<=8mJ"])
    html = (tmp_path / "run" / "report.html").read_text()
    body, _, _ = html.partition('<script type="application/json"')
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", body, flags=re.DOTALL)))
    table = str(tmp_path / "t.csv.gz")
    assert (
        f"Nothing was trained or measured in this run. Errors and measured metrics were read from the table {table}"
        in text
    )
    assert "winners in the table t.csv.gz, device toy" in text or "winner in the table t.csv.gz, device toy" in text
    assert "Energy, from the table" in text
    assert "2 h 00 min of simulated training" in text
    assert "accuracy of winners test_acc" in text
    assert "seconds of a training, simulated 7 min 30 s" in text
    recipe_begins = text.index("Recipe with all defaults")
    for claim in ("onnxruntime-cpu", ", measured", "measured on", "Retrained", "Exported", "Bundle", "Data set"):
        assert claim not in text[:recipe_begins], claim


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_says_where_values_come_from(tmp_path: Path, width: int) -> None:
    """Wide and narrow, it names the table, and shows neither intervals nor bundles."""
    front = search(tmp_path, write_table(tmp_path / "t.csv.gz"))
    console = Console(width=width, record=True, file=io.StringIO())
    print_front(front, console)
    text = console.export_text()
    assert "interval" not in text
    assert "from the table" in text
    assert "Nothing was trained or measured: values are from" in text
    for claim in ("measured\n", "Bundle", "bundle", "95 %"):
        assert claim not in text
    as_json = front.to_json()
    assert as_json["table"] == str(tmp_path / "t.csv.gz")
    assert as_json["winners"][0]["test_error_interval_95"] is None
    assert as_json["winners"][0]["measured"]["latency_ms"]["target"] == f"table:{DEVICE}"


@pytest.mark.slow
def test_a_run_goes_on_with_the_table_that_it_began_with(tmp_path: Path) -> None:
    """A table that has changed is refused, because its values do not compare with those before."""
    search(tmp_path, write_table(tmp_path / "t.csv.gz"))
    nas.resume(tmp_path / "run", space=Chain(), instruments=nas.Instruments(looks_apart=False))
    write_table(tmp_path / "t.csv.gz", without=ALL[:1])
    with pytest.raises(JournalError, match="goes on with the table that it began with, but the fingerprint was"):
        nas.resume(tmp_path / "run", space=Chain(), instruments=nas.Instruments(looks_apart=False))


def test_rows_of_one_architecture_that_differ_are_told(tmp_path: Path) -> None:
    """The first row counts, and nobody has to find that out from the results."""
    path = write_table(tmp_path / "t.csv.gz")
    header, first, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    cells = first.split(",")
    cells[header.split(",").index("val_acc")] = "1.5"
    path.write_bytes(gzip.compress("\n".join([header, first, *lines, ",".join(cells)]).encode()))
    diary = Diary()
    search(tmp_path, path, progress=diary)
    told = [text for text in diary.news if "several rows with different values" in text]
    assert len(told) == 1
    assert told[0].startswith(f"1 of {len(ALL)} architectures have several rows")


def test_a_data_set_beside_a_table_is_refused(tmp_path: Path, digits: nas.Images) -> None:
    """It would have no use."""
    table = {"path": str(write_table(tmp_path / "t.csv.gz")), "accuracy": "val_acc"}
    with pytest.raises(RecipeError, match="so data=… has no use: leave it out"):
        nas.search({"evaluate": "table", "table": table}, space=Chain(), data=digits, runs=tmp_path)
    assert not list(tmp_path.glob("*/journal.db"))


@pytest.mark.slow
def test_a_predictor_that_is_far_off_is_told_once_and_in_the_report(tmp_path: Path) -> None:
    """The table's latencies have nothing to do with its networks. The warning is not repeated with each fit."""
    rng = np.random.default_rng(0)
    names = [choice.name for choice in Chain.choices]
    lines = [",".join([*names, "acc", "latency_ms"])]
    for architecture in enumerate_space(Chain()):
        options = [str(OPERATIONS.index(str(architecture[name]))) for name in names]
        lines.append(",".join([*options, f"{accuracy(architecture)}", f"{10 ** rng.uniform(-3, 3):.6g}"]))
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = {"path": str(tmp_path / "t.csv"), "accuracy": "acc", "input_shape": [1, 8, 8]}
    recipe = {"name": "run", "evaluate": "table", "table": table, "trials": 6, "execution": {"executor": "inline"}}
    diary = Diary()
    nas.search(recipe, space=Chain(), runs=tmp_path, progress=diary)
    told = [text for text in diary.news if text.startswith("Do not use the latency predictor: on ")]
    fits = [text for text in diary.news if text.startswith("latency_ms predictor, ")]
    assert len(told) == 1 < len(fits)
    assert "Do not use the latency predictor: on " in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
