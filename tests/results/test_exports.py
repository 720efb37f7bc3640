"""A run as CSV, Parquet and JSON: every value is the journal's, and a bad place or an awkward run is told in words."""

from __future__ import annotations

import csv
import errno
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas
import pyarrow.parquet
import pytest
from exported_runs import HOSTILE, awkward_runs, whole

from nas.errors import RecipeError
from nas.results.exports.exporting import content_of, export
from nas.results.exports.tidy import table_of
from nas.results.run import Run
from nas.storage import output_files
from nas.values.metric import METRICS

AWKWARD = sorted(awkward_runs(Path("runs/x")))


def rows_of(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content_of(run, "csv").decode())))


def test_each_architecture_has_one_row_with_the_journals_values(tmp_path: Path) -> None:
    """Validation, test, measured and predicted values stand under names of their own."""
    run = whole(tmp_path)
    rows = {row["id"]: row for row in rows_of(run)}
    assert list(rows) == list(dict.fromkeys(row.architecture.id for row in run.rows))
    for row in run.rows:
        told = rows[row.architecture.id]
        if row.stage == "train" and not row.failed:
            assert float(told["validation_error"]) == row.values["error"]
            assert float(told["predicted_latency_ms"]) == row.predicted["latency_ms"].mean
            assert told["stopped_early"] == str(row.details["stopped_early"]).lower()
        if row.failure is not None:
            assert (told["failure_kind"], told["failure"]) == (row.failure.kind, row.failure.reason)
        if row.stage == "winner":
            measured = row.measurements["latency_ms"]
            assert float(told["latency_ms"]) == measured.median
            assert float(told["latency_ms_upper_95"]) == measured.interval.upper
            assert float(told["test_error"]) == row.details["test_error"]
            assert float(told["test_error_lower_95"]) == row.details["test_interval"][0]
            assert told["stage"] == "winner"
        for name, option in row.architecture.items():
            assert told[f"choice.{name}"] == str(option)


def test_a_winner_says_if_it_is_on_the_front_and_within_the_limits(tmp_path: Path) -> None:
    run = whole(tmp_path)
    rows = {row["id"]: row for row in rows_of(run)}
    for winner, on_front in zip(run.front, run.front.on_front, strict=True):
        told = rows[winner.architecture.id]
        assert told["on_front"] == str(on_front).lower()
        assert told["meets_limits"] == str(winner.meets(run.limits)).lower()


def test_columns_have_units_and_meanings(tmp_path: Path) -> None:
    """Names of measured values end in their unit; Parquet has unit and meaning of each column in its metadata."""
    run = whole(tmp_path)
    place = Path(run.export("parquet").place)
    assert place == tmp_path / "architectures.parquet"
    table = pyarrow.parquet.read_table(place)
    about = {field.name: field.metadata for field in table.schema}
    assert about["latency_ms"][b"unit"] == b"ms"
    assert about["test_error_upper_95"][b"unit"] == b"fraction"
    assert about["predicted_latency_ms"][b"meaning"] == b"latency, as predicted before it was measured"
    assert all(b"meaning" in each for each in about.values())
    names = [column.name for column in table_of(run, run.records)[0]]
    assert table.column_names == names == list(run.to_dataframe().columns)
    front = table.to_pandas()
    assert front["on_front"].dtype == object or front["on_front"].dropna().isin([True, False]).all()
    assert front["latency_ms"].max() == pytest.approx(run.to_dataframe()["latency_ms"].max())


def test_json_has_intervals_and_bounds(tmp_path: Path) -> None:
    run = whole(tmp_path)
    document = json.loads(content_of(run, "json"))
    assert document["units"]["latency_ms"] == "ms"
    assert len(document["architectures"]) == len(rows_of(run))
    best = run.front.best
    assert best is not None
    told = next(each for each in document["architectures"] if each["id"] == best.architecture.id)
    interval = best.measurements["latency_ms"].interval
    assert told["measured"]["latency_ms"]["interval_95"] == [interval.lower, interval.upper]
    assert told["measured"]["latency_ms"]["raw_median"] == best.measurements["latency_ms"].raw_median
    assert told["measured"]["latency_ms"]["clock"] == "wall"
    assert told["test"]["error"]["value"] == best.test_error
    assert told["architecture"] == dict(best.architecture)


@pytest.mark.parametrize("what", AWKWARD)
@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_awkward_runs_are_exported_too(what: str, form: str, tmp_path: Path) -> None:
    """What can be shown is shown: a file always comes out, and it reads back."""
    run = awkward_runs(tmp_path)[what]
    if what == "infinite prediction" and form == "json":
        document = json.loads(content_of(run, form), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
        assert document["architectures"][0]["predicted"]["latency_ms"]["bounds_90"] == [0.0, None]
        return
    place = Path(export(run, form, tmp_path / f"out.{form}").place)
    count = len({row.architecture for row in run.rows})
    read: dict[str, Callable[[], int]] = {
        "csv": lambda: len(pandas.read_csv(place)),
        "parquet": lambda: pyarrow.parquet.read_table(place).num_rows,
        "json": lambda: len(json.loads(place.read_text())["architectures"]),
    }
    assert read[form]() == count


def test_hostile_names_stay_as_they_are(tmp_path: Path) -> None:
    run = awkward_runs(tmp_path)["hostile names"]
    assert [row["choice.op"] for row in rows_of(run)] == [HOSTILE, HOSTILE]


def test_an_unfinished_or_empty_run_is_told(tmp_path: Path) -> None:
    runs = awkward_runs(tmp_path)
    assert "The run is not finished" in " ".join(export(runs["unfinished"], "csv", tmp_path / "a.csv").notes)
    assert "Nothing has been recorded yet" in " ".join(export(runs["empty"], "csv", tmp_path / "b.csv").notes)
    assert "row 14 is not what was written" in export(runs["damaged"], "csv", tmp_path / "c.csv").notes


def test_a_wrong_form_or_place_is_refused(tmp_path: Path) -> None:
    run = whole(tmp_path)
    with pytest.raises(RecipeError, match="unknown export 'xlsx'"):
        export(run, "xlsx")
    with pytest.raises(RecipeError, match=r"takes the name of a file, but .* is a folder"):
        export(run, "csv", tmp_path)
    with pytest.raises(RecipeError, match="only a table such as csv or json can go to standard output"):
        content_of(run, "optuna")
    for name in ("journal.db", "recipe.toml", "winners/abc/model.onnx", "retrained/1/abc/model.onnx", "seeds/a.csv"):
        with pytest.raises(RecipeError, match="must not take the place of a file of the run itself"):
            export(run, "csv", tmp_path / name)
    with pytest.raises(RecipeError, match="must not take the place of a file of the run itself"):
        export(run, "tensorboard", tmp_path / "winners")


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only file system")])
def test_a_full_disk_or_a_folder_for_reading_leaves_no_half_a_file(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence says what the system refuses and what to do, and the earlier file stays."""
    run = whole(tmp_path)
    place = tmp_path / "a.csv"
    place.write_text("earlier")

    def refuse(path: Path, content: bytes) -> None:
        raise OSError(number, words)

    monkeypatch.setattr(output_files, "write_aside", refuse)
    with pytest.raises(RecipeError, match=f"a.csv must be a file that can be written, but the system says: {words}"):
        export(run, "csv", place)
    assert place.read_text() == "earlier"


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for form in ("csv", "parquet", "json", "optuna"):
        with pytest.raises(RecipeError, match="must be a file that can be written"):
            export(whole(tmp_path), form, tmp_path / "file" / f"out.{'db' if form == 'optuna' else form}")


def test_every_metric_may_be_a_column(tmp_path: Path) -> None:
    """Columns have a unit whatever the metric, so that a new metric needs no change here."""
    run = whole(tmp_path)
    columns = {column.name: column for column in table_of(run, run.records)[0]}
    for name in set(columns) & set(METRICS):
        assert columns[name].unit == ("fraction" if METRICS[name].is_share else METRICS[name].unit)
