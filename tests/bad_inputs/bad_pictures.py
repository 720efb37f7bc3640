"""Bad pictures: tables that list them wrongly, sets that are none, and what does not fit the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bad_inputs.bad_data_sets import LOOKED_AT, huge_header, one_becomes, photos, picture
from bad_inputs.bad_input import BadInput

TABLE = ("search", "--data", "labels.csv", "--set", "data.image_size=8")
LOOKED_AT_TABLE = (*TABLE, "--dry-run")


def table(rows: Sequence[str], header: str = "path,label", count: int = 12) -> Callable[[Path], Any]:
    """Return what writes pictures and a table with these rows, or with a row for each if there are none."""

    def prepare(folder: Path) -> None:
        for number in range(count):
            picture(folder / "photos" / f"{number}.png", (10 + number % 3, 9), number)
        (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")

    return prepare


def rows_of(labels: Sequence[str]) -> list[str]:
    """Return a row for each of 12 pictures, with the labels in turns."""
    return [f"photos/{number}.png,{labels[number % len(labels)]}" for number in range(12)]


GOOD = rows_of(["cat", "dog"])
BAD_INPUTS = {
    "a table without paths": BadInput(
        TABLE, ("must have the column 'path'", "has file, label", "data.path_column"), table(GOOD, "file,label")
    ),
    "a table without labels": BadInput(
        TABLE, ("must have the column 'label'", "Did you mean 'Label'"), table(GOOD, "path,Label")
    ),
    "a table of numbers": BadInput(
        TABLE, ('the task "tables"',), lambda at: (at / "labels.csv").write_text("width,height\n1,2\n3,4\n")
    ),
    "an empty table": BadInput(TABLE, ("names the columns, but it is empty",), lambda at: (at / "labels.csv").touch()),
    "a table that is missing": BadInput(TABLE, ("must be a CSV or Parquet file, but", "labels.csv does not exist")),
    "a table that is a folder": BadInput(TABLE, ("labels.csv is a folder",), lambda at: (at / "labels.csv").mkdir()),
    "a Parquet file that is none": BadInput(
        ("search", "--data", "a.parquet"),
        ("a.parquet cannot be read as Parquet",),
        lambda at: (at / "a.parquet").write_text("PAR1"),
    ),
    "a table in another encoding": BadInput(
        TABLE,
        ("labels.csv must be text in UTF-8",),
        lambda at: (at / "labels.csv").write_bytes("path,label\n大阪.png,a\n".encode("cp932")),
    ),
    "a row without a label": BadInput(
        TABLE, ("in row 12 of", "the column 'label' is empty"), table([*GOOD[:-1], "photos/11.png,"])
    ),
    "a picture in two rows": BadInput(
        TABLE, ("rows 2 and 13 of", "Write several labels into one cell"), table([*GOOD, "photos/1.png,cat"])
    ),
    "one label for all": BadInput(TABLE, ("at least 2 classes, but", "has only cat"), table(rows_of(["cat"]))),
    "paths from elsewhere": BadInput(
        TABLE,
        ("from the folder of the table", "none is there, such as"),
        table(["0.png,cat", "1.png,dog"]),
    ),
    "labels that are neither 0 nor 1": BadInput(
        (*TABLE, "--set", 'data.label_column=["cat", "dog"]'),
        ("must hold 0 or 1, but row 2 of", "'2' in the column 'dog'"),
        table(["photos/0.png,0,1", "photos/1.png,1,2"], "path,cat,dog"),
    ),
    "a split that nobody knows": BadInput(
        TABLE,
        ("row 1 of", "has 'holdout'"),
        table(["photos/0.png,a,holdout", "photos/1.png,b,train"], "path,label,split"),
    ),
    "a column that is no text": BadInput(
        (*TABLE, "--set", "data.path_column=3"), ("path_column must be the name of a column, but got 3",), table(GOOD)
    ),
    "columns of a folder": BadInput(
        ("search", "--data", "folder:photos", "--set", "data.label_column=kind"),
        ("columns belong to a table of pictures",),
        photos,
    ),
    "a table with a missing picture": BadInput(
        LOOKED_AT_TABLE,
        ("1 of 12 pictures was left out as unreadable: photos/gone.png (it is no file",),
        table([*GOOD[:-1], "photos/gone.png,dog"]),
        status=0,
    ),
    "a label that no test picture has": BadInput(
        LOOKED_AT_TABLE,
        ("no test picture is of rare",),
        table([*rows_of(["cat", "cat;dog", ""])[:-1], "photos/11.png,rare"]),
        status=0,
    ),
    "a picture of ten thousand million pixels": BadInput(
        LOOKED_AT, ("cat/3.png (it is too large an image",), one_becomes(huge_header()), status=0
    ),
    "no room for pixels": BadInput(
        LOOKED_AT,
        ("the limit NAS_CACHE_GIB is 0 GiB. So each batch is decoded anew",),
        photos,
        status=0,
        variables={"NAS_CACHE_GIB": "0"},
    ),
    "a limit in words": BadInput(
        LOOKED_AT,
        ("NAS_CACHE_GIB must be a number of GiB from 0, but got 'all'",),
        photos,
        variables={"NAS_CACHE_GIB": "all"},
    ),
    "a set that torchvision lacks": BadInput(
        ("search", "--data", "torchvision:FashionMnist"), ("Did you mean 'FashionMNIST'",)
    ),
    "a set of torchvision that is none for classification": BadInput(
        ("search", "--data", "torchvision:FakeData", "--set", "data.arguments.size=0"), ("FakeData gives no pictures",)
    ),
    "arguments that a set lacks": BadInput(
        ("search", "--data", "torchvision:SVHN", "--set", "data.arguments.part=1"), ("may be ", "but got part")
    ),
    "arguments of a folder": BadInput(
        ("search", "--data", "folder:photos", "--set", "data.arguments.split=a"),
        ("arguments belong to a set of torchvision",),
        photos,
    ),
}
