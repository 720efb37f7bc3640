"""A table of the test is read as the training table is, also if one of them is CSV and the other has types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from nas.errors import DataError, RecipeError
from nas.tasks.loading import Loading
from nas.tasks.tabular.loading import load_tables
from nas.tasks.tabular.tabular import Tabular

ROWS = 90


def rows(**columns: object) -> pandas.DataFrame:
    """Rows with a number, a text of digits, a text of dates, and a target."""
    places = np.arange(ROWS)
    days = pandas.Series(pandas.date_range("2024-01-01", periods=7)).dt.strftime("%Y-%m-%d")
    return pandas.DataFrame(
        {
            "x": places % 8 + 0.5,
            "code": np.array(["001", "002", "013"], dtype=object)[places % 3],
            "day": days.to_numpy()[places % 7],
            "y": np.array(["no", "yes"], dtype=object)[places % 2],
            **columns,
        }
    )


def loaded(folder: Path, data: Any, test: str, frame: pandas.DataFrame | None = None, **options: Any) -> Tabular:
    """Return the task of a table with a test table, of which the latter is written first."""
    frame = rows() if frame is None else frame
    if test.endswith(".csv"):
        frame.to_csv(folder / test, index=False)
    else:
        frame.to_parquet(folder / test)
    return load_tables(data, Loading(folder=folder), target="y", test=test, **options)


def raw_of(task: Tabular) -> tuple[list[list[float]], list[list[float]]]:
    """Return the different raw rows of the training and of the test, as lists."""
    splits = [task.train.raw, task.test.raw]
    train, test = (np.unique(np.concatenate(raw, axis=1), axis=0).tolist() for raw in splits)
    return train, test


@pytest.mark.parametrize("train", ["frame", "t.parquet", "t.csv"])
@pytest.mark.parametrize("test", ["test.csv", "test.parquet"])
def test_the_same_rows_are_the_same(tmp_path: Path, train: str, test: str) -> None:
    """Text codes and text dates of the test mean what they mean in training, in each pair of forms."""
    rows().to_csv(tmp_path / "t.csv", index=False)
    rows().to_parquet(tmp_path / "t.parquet")
    task = loaded(tmp_path, rows() if train == "frame" else train, test)
    known, found = raw_of(task)
    assert all(row in known or row in found for row in known)
    assert set(map(tuple, known)) <= set(map(tuple, found))
    texts = {each.name: each.values for each in task.preparation.categories}
    assert texts.get("code", ("001", "002", "013")) == ("001", "002", "013")
    assert ("code" in texts) == (train != "t.csv")


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("is_date", [False, True])
def test_dates_with_types_meet_those_of_a_csv_file(tmp_path: Path, zone: str | None, is_date: bool) -> None:
    """Dates of pandas and of Python are those that a CSV file tells, as the clock shows them."""
    days = pandas.Series(pandas.date_range("2024-01-01", periods=ROWS, tz=zone))
    given = rows(day=days.dt.date if is_date else days)
    task = loaded(tmp_path, given, "test.csv", rows(day=days.dt.tz_localize(None)))
    known, found = raw_of(task)
    assert {each.source for each in task.preparation.numbers} == {"", "day"}
    assert set(map(tuple, known)) <= set(map(tuple, found))


def test_numbers_of_a_csv_file_keep_their_signs(tmp_path: Path) -> None:
    """Decimal commas beside a DataFrame of numbers are read, also as categories, and empty columns are missing."""
    text = "\n".join(f'"{row % 8},5";{row % 3};;{("no", "yes")[row % 2]}' for row in range(ROWS))
    (tmp_path / "comma.csv").write_text(f"x;code;day;y\n{text}\n")
    given = rows(code=np.arange(ROWS) % 3, day=pandas.Timestamp(2024, 1, 1) + pandas.to_timedelta(np.arange(ROWS), "D"))
    task = load_tables(given, Loading(folder=tmp_path), target="y", test="comma.csv", categories=["code"], decimal=",")
    assert sorted(set(task.test.raw[0][:, 0].tolist())) == [each + 0.5 for each in range(8)]
    assert set(task.test.raw[1][:, 0].tolist()) == {2, 3, 4}
    assert np.isnan(task.test.raw[0][:, 1]).all()


def test_a_test_table_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    """One strange cell would make categories of the numbers of all rows."""
    strange = rows(x=["high", *map(str, range(1, ROWS))])
    for test in ("test.csv", "test.parquet"):
        with pytest.raises(
            DataError, match=r"column x of the test table of given must hold numbers, .* such as 'high'"
        ):
            loaded(tmp_path, rows(), test, strange)
    with pytest.raises(DataError, match=r"column x of the test table of custom must hold numbers, .* such as 'high'"):
        Tabular.from_frame(rows(), target="y", test=strange)
    dates = rows(day=pandas.Timestamp(2024, 1, 1) + pandas.to_timedelta(np.arange(ROWS), "D"))
    with pytest.raises(DataError, match=r"column day of the test table of given must hold dates, .* such as '2024"):
        loaded(tmp_path, dates, "test.csv", dates="text")


def test_categories_that_training_lacks_are_told(tmp_path: Path) -> None:
    """Codes that are text in training and numbers in the test, for example."""
    told = "none of the categories of column code in the test, such as '1' beside '001'"
    task = loaded(tmp_path, rows(), "test.parquet", rows(code=np.arange(ROWS) % 3 + 1))
    assert any(told in each and "data.drop=['code']" in each for each in task.warnings)
    some = loaded(tmp_path, rows(), "test.parquet", rows(code=["001", *["x"] * (ROWS - 1)]))
    assert not any("none of the categories" in each for each in some.warnings)


@pytest.mark.parametrize(
    "options", [{"decimal": ","}, {"dates": "dmy"}, {"dates": "text"}, {"delimiter": ";"}, {"encoding": "cp1250"}]
)
@pytest.mark.parametrize("data", ["frame", "t.parquet", "wine"])
def test_options_of_csv_files_are_refused_without_one(tmp_path: Path, data: str, options: dict[str, str]) -> None:
    """They would do nothing to a table whose columns have types."""
    rows().to_parquet(tmp_path / "t.parquet")
    given = rows() if data == "frame" else data
    with pytest.raises(RecipeError, match=f"only CSV files can be read with data.{next(iter(options))}="):
        load_tables(given, Loading(folder=tmp_path), target="target" if data == "wine" else "y", **options)


def test_texts_for_missing_values_are_for_csv_files_alone(tmp_path: Path) -> None:
    """Else numbers of the training would stay, and those of the test be missing."""
    with pytest.raises(RecipeError, match=r"only CSV files can have texts for missing values, but got .*\['-9'\]"):
        loaded(tmp_path, rows(), "test.csv", missing=["-9"])
    rows().to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(RecipeError, match="only CSV files can have texts for missing values"):
        loaded(tmp_path, "t.csv", "test.parquet", missing=["-9"])
    assert loaded(tmp_path, "t.csv", "test.csv", missing=["-9"]).preparation.missing == ("-9",)


def test_named_tables_have_no_other_test(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"wine has no other table for its test, but got data\.test='nope\.csv'"):
        load_tables("wine", Loading(folder=tmp_path), test="nope.csv")
