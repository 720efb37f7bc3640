"""Bad tables of rows to learn from: broken files, targets that are none, and columns that make results doubtful."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from bad_inputs.bad_input import BadInput
from made_tables import people

Change = Callable[[pandas.DataFrame], pandas.DataFrame]
LEARN = ("search", "--task", "tables", "--data", "people.csv", "--dry-run", "--set")
PAY = (*LEARN, "data.target=pay")


def table(change: Change = lambda frame: frame, rows: int = 120) -> Callable[[Path], None]:
    """Return what writes a table of people, changed first."""

    def prepare(folder: Path) -> None:
        change(people(rows)).to_csv(folder / "people.csv", index=False)

    return prepare


def text(content: str) -> Callable[[Path], Any]:
    """Return what writes this text as the table."""
    return lambda folder: (folder / "people.csv").write_text(content, encoding="utf-8")


def with_cell(column: str, row: int, value: Any) -> Change:
    """Return what puts a value into a cell."""

    def change(frame: pandas.DataFrame) -> pandas.DataFrame:
        frame = frame.astype({column: object})
        frame.loc[row, column] = value
        return frame

    return change


def with_test(change: Change) -> Callable[[Path], None]:
    """Return what writes a good table, and a changed one to test on."""

    def prepare(folder: Path) -> None:
        table()(folder)
        change(people(40, seed=1)).to_csv(folder / "test.csv", index=False)

    return prepare


def encoded(more: str, encoding: str) -> Callable[[Path], Any]:
    """Return what writes a table with further lines in an encoding."""
    return lambda folder: (folder / "people.csv").write_bytes(f"{ROWS}{more}".encode(encoding))


ROWS = "age,pay\n" + "".join(f"{number % 7},{'high' if number % 3 else 'low'}\n" for number in range(40))

BAD_INPUTS = {
    "there is no file": BadInput(PAY, ("people.csv does not exist",)),
    "an unknown name": BadInput(
        ("search", "--task", "tables", "--data", "wines", "--dry-run"),
        ("unknown table 'wines'", "Did you mean 'wine'?"),
    ),
    "a folder": BadInput(
        PAY, ("a table must be a CSV or Parquet file", "is a folder"), lambda here: (here / "people.csv").mkdir()
    ),
    "a file of another kind": BadInput(
        ("search", "--task", "tables", "--data", "file:people.xlsx", "--dry-run", "--set", "data.target=pay"),
        ("must end in one of .csv",),
        lambda here: (here / "people.xlsx").write_bytes(b"PK"),
    ),
    "an empty file": BadInput(PAY, ("must begin with a line that names the columns", "it is empty"), text("")),
    "only the names of columns": BadInput(PAY, ("must have columns and rows", "has 2 and 0"), text("age,pay\n")),
    "a row that is too short": BadInput(
        PAY, ("line 42: a row must have 2 cells, but it has 1",), text(f"{ROWS}7\n{ROWS}")
    ),
    "a row that is too long": BadInput(
        PAY, ("line 42: a row must have 2 cells, but it has 3",), text(f"{ROWS}1,2,3\n")
    ),
    "a quote that never ends": BadInput(PAY, ("cannot be read as CSV after line",), text(f'{ROWS}7,"high\n{ROWS}')),
    "text that is nearly UTF-8": BadInput(
        PAY,
        ("must be text in UTF-8, but line 84 is not", "Save it as UTF-8", "data.encoding="),
        lambda here: (here / "people.csv").write_bytes(ROWS.encode() + f"{ROWS}7,größe\n".encode() + b"7,\xff\n"),
    ),
    "Russian letters of old": BadInput(
        PAY, ("must be text in UTF-8, but line 42 is not", "data.encoding=cp1250"), encoded("7,много", "cp1251")
    ),
    "Polish letters of old": BadInput(
        PAY, ("must be text in UTF-8, but line 42 is not",), encoded("7,dużo\n8,małżeństwo\n9,średnio\n", "cp1250")
    ),
    "Japanese letters of old": BadInput(PAY, ("must be text in UTF-8, but line 42",), encoded("7,大阪", "cp932")),
    "an encoding that does not exist": BadInput(
        (*PAY, "--set", "data.encoding=utf-9"),
        ("data.encoding must be the name of an encoding, such as cp1250, but got 'utf-9'",),
        table(),
    ),
    "an encoding that is none of text": BadInput(
        (*PAY, "--set", "data.encoding=base64"), ("data.encoding must be the name of an encoding",), table()
    ),
    "another encoding than the file's": BadInput(
        (*PAY, "--set", "data.encoding=ascii"), ("must be text in ascii, but",), encoded("7,Ärger", "cp1252")
    ),
    "a spreadsheet's own file": BadInput(
        PAY,
        ("must be text in UTF-8, but it has zero bytes", "Save the table as CSV"),
        lambda here: (here / "people.csv").write_bytes(b"PK\x03\x04\x14\0\0\0\x08\0" * 9),
    ),
    "a delimiter of two characters": BadInput(
        (*PAY, "--set", "data.delimiter=';;'"), ("data.delimiter must be one character, such as ; or tab",), table()
    ),
    "a delimiter that no row has": BadInput(
        (*PAY, "--set", "data.delimiter='|'"), ("target must be a column of", "but got 'pay'"), table()
    ),
    "an unknown decimal sign": BadInput(
        (*PAY, "--set", "data.decimal=comma"), ("data.decimal must be one of auto, ., ,, but got 'comma'",), table()
    ),
    "an unknown order of dates": BadInput(
        (*PAY, "--set", "data.dates=dd.mm.yyyy"), ("data.dates must be one of auto, dmy, mdy, ymd, text",), table()
    ),
    "a number as a mark of missing values": BadInput(
        (*PAY, "--set", "data.missing=[-999]"), ("data.missing must be a list of texts, but got [-999]",), table()
    ),
    "a named pipe": BadInput(PAY, ("people.csv is a named pipe",), lambda here: os.mkfifo(here / "people.csv")),
    "a damaged archive": BadInput(
        ("search", "--task", "tables", "--data", "people.csv.gz", "--dry-run", "--set", "data.target=pay"),
        ("cannot be unpacked",),
        lambda here: (here / "people.csv.gz").write_bytes(gzip.compress(ROWS.encode() * 99)[:60]),
    ),
    "a damaged Parquet file": BadInput(
        ("search", "--task", "tables", "--data", "people.parquet", "--dry-run", "--set", "data.target=pay"),
        ("cannot be read as Parquet",),
        lambda here: (here / "people.parquet").write_bytes(b"PAR1 and no more"),
    ),
    "a first column without a name": BadInput(
        PAY, ("column 1 of", "has none", "index=False in pandas"), lambda here: people(40).to_csv(here / "people.csv")
    ),
    "a column without a name": BadInput(
        PAY,
        ("column 2 of", "people.csv has none"),
        text(
            "\n".join(
                f"{line.split(',')[0]},{place or ''},{line.split(',')[1]}"
                for place, line in enumerate(ROWS.splitlines())
            )
        ),
    ),
    "row names without a name, as R writes them": BadInput(
        PAY,
        ("line 2: a row must have 2 cells, but it has 3", "row.names=FALSE in R"),
        text("age,pay\n" + "".join(f"{place},{line}\n" for place, line in enumerate(ROWS.splitlines()[1:]))),
    ),
    "a column named twice": BadInput(
        PAY, ("'pay' 2 times",), text("\n".join(f"{line},{line.split(',')[1]}" for line in ROWS.splitlines()))
    ),
    "no target": BadInput(
        (*LEARN[:-1],), ("a table needs a target, the column to predict", "data.target=COLUMN"), table()
    ),
    "a misspelt target": BadInput(
        (*LEARN, "data.target=pya"), ("target must be a column of", "'pya'", "Did you mean 'pay'?"), table()
    ),
    "a target that is a number": BadInput(
        (*LEARN, "data.target=3"), ("data.target must be text, but got 3", """--set 'data.target="3"'"""), table()
    ),
    "a test table that is a number": BadInput((*PAY, "--set", "data.test=5"), ("data.test must be text",), table()),
    "a misspelt column to drop": BadInput((*PAY, "--set", "data.drop=['hors']"), ("Did you mean 'hours'?",), table()),
    "an unknown option": BadInput((*PAY, "--set", "data.traget=pay"), ("traget", "Did you mean 'target'?"), table()),
    "an unknown kind": BadInput(
        (*PAY, "--set", "data.kind=ranking"), ("data.kind must be one of auto, classification, regression",), table()
    ),
    "regression of text": BadInput((*PAY, "--set", "data.kind=regression"), ("regression needs numbers",), table()),
    "a missing target": BadInput(
        PAY, ("each row must have a target", "row 8, column pay", "1 of 120 rows"), table(with_cell("pay", 7, None))
    ),
    "an infinite target": BadInput(
        (*LEARN, "data.target=age"),
        ("targets must be finite", "row 8, column age"),
        table(with_cell("age", 7, np.inf)),
    ),
    "an infinite number": BadInput(
        PAY, ("numbers must be finite", "row 8, column age"), table(with_cell("age", 7, -np.inf))
    ),
    "a number whose square is infinite": BadInput(
        PAY, ("numbers must lie between -1e+150 and 1e+150", "row 8, column age"), table(with_cell("age", 7, 1e200))
    ),
    "a target beyond single precision": BadInput(
        (*LEARN, "data.target=age"),
        ("targets must be numbers of single precision", "1e+39 in row 8, column age"),
        table(with_cell("age", 7, 1e39)),
    ),
    "a date as target": BadInput(
        (*LEARN, "data.target=born"),
        ("classes must have several rows each", "born"),
        table(
            lambda frame: frame.assign(born=pandas.date_range("2020-01-01", periods=len(frame)).strftime("%d.%m.%Y"))
        ),
    ),
    "one class only": BadInput(PAY, ("at least 2 classes", "'low'"), table(lambda frame: frame.assign(pay="low"))),
    "a constant number": BadInput(
        (*LEARN, "data.target=age", "--set", "data.kind=regression"),
        ("targets must differ", "are 3"),
        table(lambda frame: frame.assign(age=3)),
    ),
    "a target that names each row": BadInput(
        (*LEARN, "data.target=name"),
        ("classes must have several rows each", "120 different values"),
        table(lambda frame: frame.assign(name=frame.index.map("n{}".format))),
    ),
    "nothing to learn from": BadInput(
        PAY,
        ("must have a column to learn from beside the target",),
        table(lambda frame: frame[["pay"]].assign(planet="Earth")),
    ),
    "few groups": BadInput(
        (*PAY, "--set", "data.group=zone"),
        ("of the rows instead of 20 %, because groups stay together and there are 3", "has only 1 of the groups"),
        table(),
        status=0,
    ),
    "one group": BadInput(
        (*PAY, "--set", "data.group=zone"),
        ("a test split needs at least 2 groups, because groups stay together, but got 1",),
        table(lambda frame: frame.assign(zone="north")),
    ),
    "an order that is no column": BadInput(
        (*PAY, "--set", "data.order=ages"), ("order must be a column of people.csv", "Did you mean 'age'?"), table()
    ),
    "an order that is no time": BadInput(
        (*PAY, "--set", "data.order=zone"),
        ("data.order must name numbers or times such as 2024-05-31, but row 1 of column zone has",),
        table(),
    ),
    "an order with missing times": BadInput(
        (*PAY, "--set", "data.order=hours"),
        ("data.order must name numbers or times", "of column hours has none"),
        table(),
    ),
    "an order without differences": BadInput(
        (*PAY, "--set", "data.order=when"),
        ("cannot be taken by time, because data.order is the same in each row",),
        table(lambda frame: frame.assign(when="2024-01-01")),
    ),
    "an order beside groups": BadInput(
        (*PAY, "--set", "data.order=age", "--set", "data.group=zone"),
        ("split by time or by group, but got the order 'age' and the group 'zone'",),
        table(),
    ),
    "an order that is a number": BadInput((*PAY, "--set", "data.order=3"), ("data.order must be text",), table()),
    "rows that are a series": BadInput(
        PAY,
        ("rows look like a series, because they are sorted by when", "set data.order=when"),
        table(
            lambda frame: frame.assign(when=pandas.date_range("2024-01-01", periods=len(frame)).strftime("%Y-%m-%d"))
        ),
        status=0,
    ),
    "a test table that lacks a column": BadInput(
        (*PAY, "--set", "data.test=test.csv"),
        ("the column hours", "must be a column of the test table", "Did you mean 'hour'?"),
        with_test(lambda frame: frame.rename(columns={"hours": "hour"})),
    ),
    "a test table with a new class": BadInput(
        (*PAY, "--set", "data.test=test.csv"),
        ("only classes of the training rows", "'enormous'"),
        with_test(with_cell("pay", 3, "enormous")),
    ),
    "a space for pictures": BadInput(
        (*PAY, "--space", "mobilenet"), ("mobilenet takes images", "Spaces that take them: boosted, mlp"), table()
    ),
    "a column that leaks the target": BadInput(
        PAY,
        ("warning: column paid predicts pay on its own for 100.0 % of the rows", "data.drop=['paid']"),
        table(lambda frame: frame.assign(paid=frame["pay"].str.upper())),
        status=0,
    ),
    "an identifier": BadInput(
        PAY,
        ("warning: column number has another whole number in each row",),
        table(lambda frame: frame.assign(number=frame.index)),
        status=0,
    ),
    "copied rows": BadInput(
        PAY,
        ("rows depend on others and form 112 groups, each of which stays in one split",),
        table(lambda frame: pandas.concat([frame, frame])),
        status=0,
    ),
    "rare classes": BadInput(
        PAY,
        ("warning: classes are unequal: usual has 94.8 %",),
        table(lambda frame: frame.assign(pay=np.where(frame.index < 6, "rare", "usual"))),
        status=0,
    ),
    "numbers among words": BadInput(
        PAY,
        ("column age is read as categories because of 'old'",),
        table(with_cell("age", 7, "old")),
        status=0,
    ),
    "a number beyond single precision": BadInput(
        PAY, ("people.csv, 2 classes of pay",), table(with_cell("age", 7, 1e39)), status=0
    ),
    "letters of Western Europe": BadInput(
        PAY,
        ("is read as Windows-1252, for example 'Größe'", "data.encoding=cp1250"),
        encoded("7,Größe\n8,Größe\n", "cp1252"),
        status=0,
    ),
    "thousands or decimals": BadInput(
        PAY,
        ("column weight is read with . as its decimal sign, so 1.5", "set data.decimal=','"),
        table(lambda frame: frame[["pay"]].assign(weight=[f"1.{500 + row}" for row in frame.index])),
        status=0,
    ),
    "days or months": BadInput(
        PAY,
        ("01/02/2020 in column born is read as 02 January 2020", "set data.dates=dmy"),
        table(lambda frame: frame.assign(born=[f"01/{2 + row % 9:02}/2020" for row in frame.index])),
        status=0,
    ),
    "several units": BadInput(
        PAY,
        ("column weight is read as categories because of '5 g'", "most of it are numbers"),
        table(lambda frame: frame.assign(weight=["5 g" if row % 5 == 0 else f"{row % 7} kg" for row in frame.index])),
        status=0,
    ),
    "a date that does not exist": BadInput(
        PAY,
        ("column born is read as categories because of '30.02.2020'", "most of it are dates"),
        table(lambda frame: frame.assign(born=[f"{25 + row % 7}.0{1 + row % 2}.2020" for row in frame.index])),
        status=0,
    ),
    "classes or counts": BadInput(
        (*LEARN, "data.target=visits"),
        ("note: visits: 13 different whole numbers, so each is a class", "set data.kind=regression"),
        table(lambda frame: frame.assign(visits=frame.index % 13)),
        status=0,
    ),
}
