"""What the columns of CSV files are taken for, what is told about it, and which options decide."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from made_tables import people

from nas.errors import DataError
from nas.tasks.carrying import preparation_in, recorded
from nas.tasks.deployed.inputs import InputError
from nas.tasks.loading import Loading
from nas.tasks.tabular.loading import load_tables
from nas.tasks.tabular.tabular import Tabular


def loaded(folder: Path, text: str | bytes, target: str = "y", name: str = "t.csv", **options: Any) -> Tabular:
    """Return the task of a table with this text."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return load_tables(name, Loading(folder=folder), target=target, **options)


def table(cells: Sequence[str], delimiter: str = ";", more: Sequence[str] = ("1",)) -> str:
    """Return a CSV file with a column x of these cells, a column z of others, and a target of two classes."""
    rows = 12 * len(cells)
    lines = [(cells[row % len(cells)], more[row % len(more)], "ab"[row % 2]) for row in range(rows)]
    return "\n".join(delimiter.join(line) for line in [("x", "z", "y"), *lines]) + "\n"


def numbers_of(task: Tabular, column: str = "x") -> list[float]:
    """Return the different numbers of a column in all splits, in order; missing ones last."""
    place = task.preparation.names.index(column)
    every = np.concatenate([split.raw[0][:, place] for split in (task.train, task.validation, task.test)])
    return [float(each) for each in np.unique(every)]


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1,5", "2,25", "3"], [1.5, 2.25, 3]),
        (["1.234,5", "2.000,0", "7,1"], [7.1, 1234.5, 2000]),
        (["1 234,5", "2 000", "7,1"], [7.1, 1234.5, 2000]),
        (["1'234.5", "2’000", "7.1"], [7.1, 1234.5, 2000]),
        (["12,34,567.8", "1,00,000", "7.5"], [7.5, 100_000, 1_234_567.8]),
        (["(1,234.50)", "12.00", "$3.25"], [-1234.5, 3.25, 12]),
        (["5-", "−7", "+3", "12,-"], [-7, -5, 3, 12]),
        (["1,5E+03", "2,5e-1", "4"], [0.25, 1500, 4]),
        (["12 %", "7,5%", "100 %"], [7.5, 12, 100]),
        (["1248 CC", "998 CC", "1.498 CC", "1.500,5 CC"], [998, 1248, 1498, 1500.5]),
        (["3,5 km/h", "4 km/h", "12 km/h"], [3.5, 4, 12]),
        (["1e39", "2", "3"], [2, 3, 1e39]),
        (["7,5", "n.d.", "#DIV/0!", "8"], [7.5, 8, np.nan]),
        (["14:30", "2:15 PM", "00:45:36"], [0.76, 14.25, 14.5]),
    ],
)
def test_numbers(tmp_path: Path, cells: list[str], numbers: list[float]) -> None:
    """Numbers are read with their decimal sign, thousands, unit, sign and power, and times as hours."""
    task = loaded(tmp_path, table(cells))
    np.testing.assert_allclose(numbers_of(task), sorted(numbers), rtol=1e-12)
    raw = task.preparation.read(tmp_path / "t.csv")
    assert np.array_equal(np.unique(raw[0]), numbers_of(task), equal_nan=True)


@pytest.mark.parametrize(
    "cells",
    [
        ["2WD", "4WD"],
        ["A1", "A2", "B7"],
        ["5 kg", "300 g", "2 kg"],
        ["10-20", "20-30", "30-40"],
        ["1.2.3", "1.2.4", "2.0.1"],
        ["1/2", "3/4", "1/8"],
        ["<5", "7", "9"],
        ["18+", "21+", "65+"],
        ["12:61", "3:00", "4:00"],
        ["1,5", "2.5", "7"],
    ],
)
def test_what_is_no_number_stays_a_category(tmp_path: Path, cells: list[str]) -> None:
    """Codes, ranges, versions, fractions and amounts in different units keep their text."""
    task = loaded(tmp_path, table(cells))
    (column,) = task.preparation.categories
    assert sorted(column.values) == sorted(cells)


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        (["2024-01-31", "2024-02-01"], [19753, 19754]),
        (["2024-01-31T12:00:00Z", "2024-02-01 00:00"], [19753.5, 19754]),
        (["31.01.2024", "1.2.2024"], [19753, 19754]),
        (["31/01/24", "01/02/24"], [19753, 19754]),
        (["1/31/2024 6:00 PM", "2/1/2024 12:00 AM"], [19753.75, 19754]),
        (["31 Jan 2024", "1 Feb 2024"], [19753, 19754]),
        (["Jan 31, 2024", "February 1, 2024"], [19753, 19754]),
        (["31. Januar 2024", "1. Feb. 2024"], [19753, 19754]),
        (["31 janv. 2024", "1 février 2024"], [19753, 19754]),
        (["2024-02", "2024-03"], [19754, 19783]),
        (["Feb-24", "Mar-24"], [19754, 19783]),
    ],
)
def test_dates(tmp_path: Path, cells: list[str], days: list[float]) -> None:
    """Dates become the days since 1970, and their parts."""
    task = loaded(tmp_path, table(cells))
    assert numbers_of(task, "x (days)") == days
    assert task.preparation.columns == ("x",)
    raw = task.preparation.read(tmp_path / "t.csv")
    assert np.unique(raw[0][:, task.preparation.names.index("x (days)")]).tolist() == days
    assert any("read as dates and times: x (" in each and "data.dates" in each for each in task.readings)


@pytest.mark.parametrize(
    ("delimiter", "other", "options", "wanted"),
    [
        (";", "0,5", {}, [1234, 2500]),  # the other column tells the sign
        (";", "0.5", {}, [1.234, 2.5]),
        (";", "7", {}, [1.234, 2.5]),  # as Python reads it, with a warning
        (";", "7", {"decimal": ","}, [1234, 2500]),
    ],
)
def test_other_columns_and_options_tell_the_decimal_sign(
    tmp_path: Path, delimiter: str, other: str, options: dict[str, Any], wanted: list[float]
) -> None:
    """1.234 is a thousand or one: other columns tell, or the option, else there is a warning."""
    task = loaded(tmp_path, table(["1.234", "2.500"], delimiter, [other, "3", "12"]), **options)
    assert numbers_of(task) == wanted
    is_told = any("column x is read with . as its decimal sign" in each for each in task.warnings)
    assert is_told == (other == "7" and not options)


def test_thousands_are_seen_beside_smaller_numbers(tmp_path: Path) -> None:
    """Between semicolons, 1.234 beside 999 is a thousand, but not beside 1000 or where all have three decimals."""
    assert numbers_of(loaded(tmp_path, table(["999", "1.234", "12.500"], ";", ["7"]))) == [999, 1234, 12500]
    assert numbers_of(loaded(tmp_path, table(["1000", "1.234", "12.500"], ";", ["7"]))) == [1.234, 12.5, 1000]
    assert numbers_of(loaded(tmp_path, table(["2.999", "1.234"], ";", ["7"]))) == [1.234, 2.999]
    assert numbers_of(loaded(tmp_path, table(["999", "1.234", "12.500"], ",", ["7"]))) == [1.234, 12.5, 999]


def test_a_number_of_many_digits(tmp_path: Path) -> None:
    """Whole numbers of any length are read, also where other columns have decimal commas."""
    task = loaded(tmp_path, table(["1" * 60, "2", "3"], ";", ["0,5", "2"]))
    assert numbers_of(task) == [2, 3, float("1" * 60)]


def test_thousands_between_commas(tmp_path: Path) -> None:
    """Where commas are between cells, one in a cell is between thousands; with semicolons it is the decimal sign."""
    task = loaded(tmp_path, table(['"1,234"', '"12,500"', "7"], ","))
    assert numbers_of(task) == [7, 1234, 12500]
    assert any("so 1,234 is 1234" in each and "data.decimal=','" in each for each in task.warnings)
    task = loaded(tmp_path, table(["1,234", "12,500", "7"], ";"))
    assert numbers_of(task) == [1.234, 7, 12.5]


@pytest.mark.parametrize(
    ("options", "other", "day"),
    [({}, "1", 2), ({}, "31/12/2023", 1), ({"dates": "dmy"}, "1", 1), ({"dates": "mdy"}, "1", 2)],
)
def test_the_order_of_dates(tmp_path: Path, options: dict[str, Any], other: str, day: int) -> None:
    """Days up to 12 may be months: other columns of dates tell, or the option, else there is a warning."""
    task = loaded(tmp_path, table(["01/02/2024", "01/02/2023"], ",", [other, "30/12/2023" if len(other) > 1 else "2"]))
    assert any("may" in each or "data.dates=dmy" in each for each in task.warnings) == (other == "1")
    task = loaded(
        tmp_path, table(["01/02/2024", "01/02/2023"], ",", [other, "30/12/2023" if len(other) > 1 else "2"]), **options
    )
    (column,) = {each.column for each in task.preparation.numbers} & {"x"}
    days = numbers_of(task, f"{column} (days)")
    assert days[-1] == (pandas.Timestamp(2024, 1, 2) if day == 2 else pandas.Timestamp(2024, 2, 1)).value / 86400e9


def test_dates_can_stay_text(tmp_path: Path) -> None:
    """The option keeps dates as categories."""
    task = loaded(tmp_path, table(["31.01.2024", "01.02.2024"]), dates="text")
    assert task.preparation.categories[0].values == ("01.02.2024", "31.01.2024")


def test_dates_of_a_data_frame_are_those_of_its_file(tmp_path: Path) -> None:
    """Dates in a DataFrame, in Parquet and in CSV give the same numbers, in training as in a bundle."""
    frame = people(120).assign(born=pandas.date_range("1990-03-01 10:20:30", periods=120, freq="37h").as_unit("us"))
    frame.loc[::5, "born"] = pandas.NaT
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    task = Tabular.from_frame(frame, target="pay")
    for name in ("t.csv", "t.parquet"):
        assert load_tables(name, Loading(folder=tmp_path), target="pay").fingerprint == task.fingerprint
    rows = [task.preparation.read(frame)[0], task.preparation.read(tmp_path / "t.csv")[0]]
    assert np.array_equal(*rows, equal_nan=True)
    assert sum(each.has_missing for each in task.preparation.numbers if each.source == "born") == 1


def test_marks_of_missing_values(tmp_path: Path) -> None:
    """A dash is missing, but not beside a plus, and not as a class; the option names others."""
    task = loaded(tmp_path, table(["red", "-", "blue"]))
    assert task.preparation.categories[0].values == ("blue", "red")
    assert any("'-' in x" in each and "data.missing" in each for each in task.readings)
    assert loaded(tmp_path, table(["+", "-"])).preparation.categories[0].values == ("+", "-")
    assert loaded(tmp_path, table(["red", "blue"]).replace(";a\n", ";+\n").replace(";b\n", ";-\n")).classes == (
        "+",
        "-",
    )
    task = loaded(tmp_path, table(["3", "old", "4"]))
    assert any("because of 'old'" in each and "data.missing=['old']" in each for each in task.warnings)
    task = loaded(tmp_path, table(["3", "old", "4"]), missing=["old"])
    assert numbers_of(task)[:2] == [3, 4]
    stored = preparation_in({"preparation": json.loads(json.dumps(recorded(task.preparation)))})
    assert np.isnan(stored.read({"x": "old", "z": "1"})[0]).all()


def test_classes_keep_their_text(tmp_path: Path) -> None:
    """A target with a unit that is classes is called as in the file, also in a test table."""
    rows = "\n".join(f"{row % 7};{1 + row % 3} stars" for row in range(60))
    task = loaded(tmp_path, f"x;y\n{rows}\n")
    assert task.classes == ("1 stars", "2 stars", "3 stars")
    (tmp_path / "test.csv").write_text(f"x,y\n{rows.replace(';', ',')}\n")
    again = load_tables("t.csv", Loading(folder=tmp_path), target="y", test="test.csv")
    assert again.classes == task.classes
    assert len(again.test) == 60


def test_a_test_table_in_another_form_is_read_alike(tmp_path: Path) -> None:
    """Tables to train and to test on may have other delimiters, but are read with one decimal sign."""
    (tmp_path / "test.csv").write_text(table(['"1,5"', '"2,5"'], ","))
    task = loaded(tmp_path, table(["1,5", "2,5", "3"]), test="test.csv")
    assert np.unique(task.test.raw[0]).tolist() == [1.5, 2.5]


def test_a_bundle_is_strict_about_the_decimal_sign(tmp_path: Path) -> None:
    """A bundle refuses a point where training saw commas, because 1.234 would be a thousand there."""
    preparation = loaded(tmp_path, table(["1,5", "2,25", "3"])).preparation
    assert preparation.read({"x": "1.234,5", "z": 1})[0][0, 0] == 1234.5
    assert preparation.read({"x": 1.5, "z": 1})[0][0, 0] == 1.5
    with pytest.raises(InputError, match=r"column x must be a number with , as decimal sign, but got '1.5'"):
        preparation.read({"x": "1.5", "z": 1})
    preparation = loaded(tmp_path, table(["31.01.2024", "01.02.2024"])).preparation
    with pytest.raises(InputError, match="column x must be a date such as 31/12/2023, but got 'soon'"):
        preparation.read({"x": "soon", "z": 1})


def test_plain_tables_are_recorded_as_before(tmp_path: Path) -> None:
    """A table without commas, units and dates has the preparation and the fingerprint of older versions."""
    people(120).to_csv(tmp_path / "t.csv", index=False)
    task = load_tables("t.csv", Loading(folder=tmp_path), target="pay")
    assert task.fingerprint == "31282a430a42"
    assert set(task.preparation.to_json()) == {"numbers", "categories", "deviates", "unused", "in_words"}
    assert set(task.preparation.to_json()["numbers"][0]) == {
        "name",
        "middle",
        "mean",
        "std",
        "has_missing",
        "quantiles",
    }
    assert not task.readings


def test_copies_are_counted_by_their_cells(tmp_path: Path) -> None:
    """Rows that differ in a rare category are no copies, though coding gives rare categories one number."""
    rows = "\n".join(f"{7919 * row % 10007},{row * row},n{row:03},{'ab'[row % 2]}" for row in range(200))
    task = loaded(tmp_path, f"x,z,name,y\n{rows}\n0,0,n001,a\n7919,1,n000,b\n")
    assert not any("depend on" in each for each in task.warnings), task.warnings
    task = loaded(tmp_path, f"x,z,name,y\n{rows}\n{rows}\n")
    assert any("depend on" in each for each in task.warnings)


def test_a_dry_run_shows_each_column(tmp_path: Path) -> None:
    """A table of the columns has their type, their role, their missing cells and examples, as the file has them."""
    rows = [
        f"k{row};1.{row:03},50 €;{1 + row % 28}.03.2024;{('', 'Ulm', 'Bonn', 'Ulm')[row % 4]};x;{'ab'[row % 2]}"
        for row in range(100, 200)
    ]
    text = "\n".join(["id;Preis;wann;Stadt;weg;y", *rows])
    lines = loaded(tmp_path, text, drop=["weg"]).overview
    assert [line.split("  ")[0].strip() for line in lines] == ["column", "id", "Preis", "wann", "Stadt", "weg", "y"]
    found = {line.split()[0]: [cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines}
    assert found["Preis"][1:] == ["number, decimal comma, €", "input", "0", "1.100,50 € | 1.101,50 € | 1.102,50 €"]
    assert found["wann"][1:4] == ["date, dmy", "input", "0"]
    assert found["Stadt"][1:4] == ["category, 2 different", "input", "25 (25.0 %)"]
    assert found["id"][2] == "left out"
    assert found["weg"][2] == "dropped"
    assert found["y"][2] == "target, 2 classes"


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_many_columns_and_rows_take_seconds(tmp_path: Path) -> None:
    """A table of 20,000 columns, and one of 100,000 rows of European numbers and dates, are read in seconds."""
    wide = ",".join(f"g{n}" for n in range(20_000)) + ",y\n"
    wide += "".join(",".join([str(row)] * 20_000) + f",{'ab'[row % 2]}\n" for row in range(12))
    task = loaded(tmp_path, wide)
    assert len(task.overview) == 42
    rows = [
        f"{row // 100},{row % 9}7;{1 + row % 28}.{1 + row % 12}.2019 {row % 24:02}:{row % 60:02};{'ab'[row % 2]}"
        for row in range(100_000)
    ]
    long = "\n".join(["x;when;y", *rows])
    assert len(loaded(tmp_path, long).train) > 50_000


def test_too_few_cells_are_told(tmp_path: Path) -> None:
    """A file of another delimiter than the option says is refused by the name of the column."""
    with pytest.raises(DataError, match="target must be a column of"):
        loaded(tmp_path, table(["1", "2"]), delimiter=",")


def test_a_damaged_packed_file_is_refused(tmp_path: Path) -> None:
    """Wherever a bit is wrong, or the file ends."""
    packed = gzip.compress(table(["1", "2"]).encode())
    for place in range(10, len(packed), 3):
        for damaged in (packed[:place], packed[:place] + bytes([packed[place] ^ 255]) + packed[place + 1 :]):
            with pytest.raises(DataError, match=r"t\.csv\.gz cannot be unpacked"):
                loaded(tmp_path, damaged, name="t.csv.gz")


def test_a_text_named_as_missing_is_so_in_columns_of_categories_too(tmp_path: Path) -> None:
    """Training took it for a category of its own there, and a bundle for a missing one."""
    task = loaded(tmp_path, table(["1", "2", "old"]), categories=["x"], missing=["old"])
    read = list(task.preparation.file_items(tmp_path / "t.csv"))
    codes = {int(arrays[-1][0]) for _, arrays in read}
    trained = np.concatenate([split.raw[-1][:, 0] for split in (task.train, task.validation, task.test)])
    assert codes == {*trained.astype(int).tolist()}
    (column,) = task.preparation.categories
    assert column.values == ("1", "2")


def test_a_class_called_like_a_missing_value_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has none in row 1, .* If a text such as None or NA is a class there"):
        loaded(tmp_path, "x,y\n1,NA\n2,a\n3,b\n" * 20)
