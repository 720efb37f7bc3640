"""Pictures and labels from a table: a CSV or a Parquet file with a row for each picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nas.errors import DataError, RecipeError, did_you_mean
from nas.tasks.class_folders import SPLIT_NAMES, shown
from nas.tasks.dependence import NONE
from nas.tasks.images.arrays import check_class_count
from nas.tasks.images.decoded.picture_files import PictureFiles
from nas.tasks.images.images import Images
from nas.tasks.images.labelled import LabelledPictures, Reading
from nas.tasks.images.splits import SomeLabels
from nas.tasks.tabular.reading import check_has, read_table

TABLES = (".csv", ".tsv", ".parquet")
"""The endings of files that are tables of pictures."""
_LABELS_BETWEEN = (";", "|")
"""What stands between several labels of a picture."""
_YES_OR_NO = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}


@final
@dataclass(frozen=True)
class Columns:
    """The names of a table's columns.

    Attributes:
        path: the column of paths, which are taken from the folder of the table.
        label: the column of labels, or several columns, which hold 0 or 1 for the label that they are called by.
        split: the column that tells each picture's split, if there is one.
        multi_label: True if a picture may have several labels, with ; or | between them; None to find out.
    """

    path: str = "path"
    label: str | tuple[str, ...] = "label"
    split: str = "split"
    multi_label: bool | None = None

    @classmethod
    def of(cls, path: Any, label: Any, split: Any, multi_label: Any) -> Columns:
        """Return the names that a recipe gives. Raises RecipeError if one is no text."""
        label = tuple(label) if isinstance(label, list) else label
        several = label if isinstance(label, tuple) else (label,)
        for title, each in (
            ("path_column", path),
            ("split_column", split),
            *(("label_column", one) for one in several),
        ):
            if not isinstance(each, str) or not each:
                raise RecipeError(f"{title} must be the name of a column, but got {each!r}.")
        if isinstance(label, tuple) and len(set(label)) < max(2, len(label)):
            raise RecipeError(f"several columns of labels must have at least 2 different names, but got {list(label)}.")
        if multi_label not in (None, True, False):
            raise RecipeError(f"multi_label must be true or false, but got {multi_label!r}.")
        return cls(path, label, split, multi_label)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        return (self.path, *(self.label if isinstance(self.label, tuple) else (self.label,)))


def load_table(name: str, file: Path, columns: Columns, reading: Reading) -> Images:
    """Return the pictures that a table lists as a data set called ``name``.

    Raises:
        DataError: the table or too many pictures cannot be read, or labels are unfit.
    """
    group = "" if reading.group == NONE else reading.group
    table = _read(file, columns, group)
    paths = _paths(file, table[columns.path], columns.path)
    labels, classes = _labels(file, table, columns)
    splits = _splits(file, table.get(columns.split), columns.split, len(paths))
    source = PictureFiles.of(file.absolute().parent, paths)
    if not any(source.stamps):
        raise DataError(
            f"paths are taken from the folder of the table, but of {len(paths)} files in {file} none is there, such "
            f"as {shown(paths[0])}."
        )
    groups = [_text(cell) for cell in table[group]] if group else None
    if groups is not None and "" in groups:
        row = groups.index("") + 1
        raise DataError(f"each row must have a group, but in row {row} of {file} {group!r} is empty.")
    return LabelledPictures(name, source, labels, splits, classes, groups=groups).task(reading)


def _read(file: Path, columns: Columns, group: str) -> dict[str, list[Any]]:
    """Return the cells of the columns that are needed. Raises DataError if the file is no such table."""
    wanted = (*columns.names, columns.split, *([group] if group else []))
    found = read_table(file)
    for column in columns.names:
        if column not in found.columns:
            names = list(found.columns)
            raise DataError(
                f"a table of pictures must have the column {column!r}, but {file} has {', '.join(names[:20])}. "
                f"{did_you_mean(column, names)} Columns are named by data.path_column and data.label_column. "
                'Tables without pictures are for the task "tables".'
            )
    if group:
        check_has(found, group, "data.group", str(file))
    there = [column for column in wanted if column in found.columns]
    return {column: found[column].astype(object).where(found[column].notna(), None).tolist() for column in there}


def _text(cell: Any) -> str:
    """Return a cell as text: whole numbers without a decimal point, and nothing for a missing one."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _paths(file: Path, cells: Sequence[Any], column: str) -> list[Path]:
    folder = file.absolute().parent
    found: dict[str, int] = {}
    for row, cell in enumerate(cells, start=1):
        if not _text(cell):
            raise DataError(f"each row must have a path, but in row {row} of {file} the column {column!r} is empty.")
        path = os.path.normpath(folder / _text(cell))
        if path in found:
            raise DataError(
                f"each picture must have one row, but rows {found[path]} and {row} of {file} have {_text(cell)}. "
                "Write several labels into one cell, with ; between them."
            )
        found[path] = row
    return [Path(path) for path in found]


def _splits(file: Path, cells: Sequence[Any] | None, column: str, count: int) -> npt.NDArray[np.str_]:
    if cells is None:
        return np.full(count, "train")
    titles = {name: title for title, names in SPLIT_NAMES.items() for name in names}
    found = []
    for row, cell in enumerate(cells, start=1):
        if _text(cell).lower() not in titles:
            raise DataError(
                f"the column {column!r} must hold train, validation or test, but row {row} of {file} has "
                f"{_text(cell)!r}. To leave the column out, name another one by data.split_column."
            )
        found.append(titles[_text(cell).lower()])
    if "train" not in found:
        raise DataError(f"some pictures must be to train on, but the column {column!r} of {file} says train nowhere.")
    return np.array(found)


def _labels(file: Path, table: dict[str, list[Any]], columns: Columns) -> tuple[SomeLabels, tuple[str, ...]]:
    """Return the labels of all rows, and the names of the classes."""
    if isinstance(columns.label, tuple):
        return _from_columns(file, table, columns.label), columns.label
    cells = table[columns.label]
    is_multi = columns.multi_label
    if is_multi is None:
        is_multi = any(_is_list(cell) or any(mark in _text(cell) for mark in _LABELS_BETWEEN) for cell in cells)
    several = [_several(cell) if is_multi else [_text(cell)] for cell in cells]
    if not is_multi:
        for row, (label,) in enumerate(several, start=1):
            if not label:
                raise DataError(
                    f"each row must have a label, but in row {row} of {file} the column {columns.label!r} is empty."
                )
    classes = _in_order({label for each in several for label in each})
    if len(classes) < 2:
        raise DataError(
            f"labels must name at least 2 classes, but the column {columns.label!r} of {file} has only "
            f"{', '.join(classes) or 'empty cells'}."
        )
    if not is_multi:
        try:
            check_class_count(len(classes), len(cells), classes[-1])
        except ValueError as error:
            raise DataError(f"{file}: {error}") from error
    numbers = {label: number for number, label in enumerate(classes)}
    if not is_multi:
        return np.array([numbers[label] for (label,) in several], dtype=np.int64), classes
    given = np.zeros((len(cells), len(classes)), dtype=np.float32)
    for marks, each in zip(given, several, strict=True):
        marks[[numbers[label] for label in each]] = 1
    return given, classes


def _from_columns(file: Path, table: dict[str, list[Any]], columns: Sequence[str]) -> SomeLabels:
    given = np.zeros((len(table[columns[0]]), len(columns)), dtype=np.float32)
    for number, column in enumerate(columns):
        for row, cell in enumerate(table[column]):
            value = _YES_OR_NO.get(_text(cell).lower())
            if value is None:
                raise DataError(
                    f"several columns of labels must hold 0 or 1, but row {row + 1} of {file} has {_text(cell)!r} in "
                    f"the column {column!r}."
                )
            given[row, number] = value
    return given


def _is_list(cell: Any) -> bool:
    return isinstance(cell, (list, tuple, np.ndarray))


def _several(cell: Any) -> list[str]:
    """Return the labels in a cell."""
    if _is_list(cell):
        return [_text(each) for each in cell if _text(each)]
    text = _text(cell)
    for mark in _LABELS_BETWEEN:
        text = text.replace(mark, "\n")
    return [label.strip() for label in text.split("\n") if label.strip()]


def _in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels by their value if all are whole numbers, else in the order of the alphabet."""
    found = sorted(labels)
    is_whole = all(label.removeprefix("-").isdecimal() for label in found)
    return tuple(sorted(found, key=int) if is_whole else found)
