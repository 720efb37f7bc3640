"""Signals in one CSV file: a column for each channel with labels beside them, or a row for each window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.tasks.batches import IntArray
from nas.tasks.criteria import Kind
from nas.tasks.dependence import NONE
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import CsvTable, Float32Array, Recording, number_in, read_csv
from nas.tasks.moments import ROWS, is_in_order, is_name_of_time, moments_of
from nas.tasks.signals.labelled import Labelled
from nas.tasks.target_kind import are_classes

LABEL = "label"
"""The name of the column with labels, unless another is named."""
FromTable = tuple[list[Labelled], tuple[str, ...], list[str]]
"""Recordings, the names of the columns that hold them, and notes."""


def read_table(
    path: Path,
    label: str,
    group: str,
    columns: Sequence[str],
    kind: Kind,
    rate: int | None,
    channels: int | None = None,
    order: str = "",
) -> FromTable:
    """Return the recordings in a file, the names of the columns that hold them, and notes.

    A column is a channel, and each run of rows with one label and group is a recording; with ``channels``, each row is
    a window with these one after the other. Labels that are values may change from row to row, and windows get their
    mean. Columns of times are no channels unless ``columns`` names them. ``order`` names the column that tells which
    rows are later, or is "rows". Raises DataError, with the line and the column, if the file cannot be used.
    """
    name, group = label or LABEL, "" if group == NONE else group
    try:
        table = read_csv(path)
        if not table.names:
            raise DataError(
                f"a CSV file of signals needs a first row with the names of its columns, but {path} has none."
            )
        if name not in table.names:
            raise DataError(
                f"the column of labels must be named, but {path} has no {name!r}, only "
                f"{', '.join(table.names[:8])}{' …' if len(table.names) > 8 else ''}. Set data.label=COLUMN."
            )
        apart = [each for each in (name, group, order) if each and (each != ROWS or each in table.names)]
        places, notes = _channels(table, columns, apart)
        labels = table.texts(table.names.index(name))
        groups = table.texts(table.names.index(group)) if group else [""] * len(labels)
        _check_cells(table, places, labels, groups if group else ["all"], channels)
        numbers, values = table.numbers(places), _values(table, name, labels, kind)
        moments = _moments(table, order)
    except InputError as error:
        raise DataError(str(error)) from error
    if channels is None:
        ends = _ends_of_runs(groups, labels if values is None else [""] * len(labels))
        shaped = [np.ascontiguousarray(numbers[start:end].T) for start, end in ends]
    else:
        ends = [(row, row + 1) for row in range(len(numbers))]
        shaped = [row.reshape(channels, -1) for row in numbers]
    found = []
    for (start, end), samples in zip(ends, shaped, strict=True):
        target = labels[start] if values is None else values[start:end] if channels is None else float(values[start])
        found.append(
            Labelled(
                Recording(samples, rate),
                target,
                path,
                group=groups[start] if group else None,
                moments=None if moments is None else moments[start:end] if channels is None else moments[start],
                place=f" from line {table.lines[start]}",
            )
        )
    return found, tuple(table.names[place] for place in places), notes


def _channels(table: CsvTable, columns: Sequence[str], apart: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the places of the channels, and a note about columns of times, which are none unless they are named."""
    times = [] if columns else time_columns(table, apart)
    places = table.places(columns, without=(*apart, *times))
    return (places, time_notes(times)) if places else (table.places(columns, without=apart), [])


def time_columns(table: CsvTable, apart: Sequence[str] = ()) -> list[str]:
    """Return the columns whose names say that they hold times, and a column ``t`` that grows; but none ``apart``."""
    names = [name for name in table.names if name not in apart]
    found = [name for name in names if is_name_of_time(name)]
    return [*found, *(name for name in names if name.lower() == "t" and _is_growing(table, name))]


def _is_growing(table: CsvTable, name: str) -> bool:
    """Return True if a column of numbers or times grows or falls from row to row."""
    place = table.names.index(name)
    try:
        return is_in_order(table.numbers([place])[:, 0])
    except InputError:  # dates are text
        pass
    try:
        return is_in_order(moments_of(table.texts(place), name, str(table.path)))
    except DataError:  # neither numbers nor times: a channel, which is refused with its line
        return False


def time_notes(times: Sequence[str]) -> list[str]:
    """Return a sentence about columns that are no channels, if there are some."""
    if not times:
        return []
    are = "holds times and is no channel" if len(times) == 1 else "hold times and are no channels"
    return [f"{', '.join(times)} {are}. To take such a column as one, name all channels in data.columns."]


def _moments(table: CsvTable, order: str) -> IntArray | None:
    if not order:
        return None
    if order == ROWS and order not in table.names:
        return np.arange(len(table.rows))
    return moments_of(table.texts(table.names.index(order)), "data.order", f"column {order} of {table.path}")


def _check_cells(
    table: CsvTable, places: Sequence[int], labels: Sequence[str], groups: Sequence[str], channels: int | None
) -> None:
    """Check that there are columns of numbers with names of their own, and labels and groups everywhere.

    Raises DataError.
    """
    if not places:
        listed = ", ".join(table.names)
        raise DataError(f"a CSV file of signals needs columns of numbers, but {table.path} has only {listed}.")
    if len(places) % (channels or 1):
        raise DataError(
            f"rows must hold {channels} channels of the same length, but {table.path} has {len(places)} columns."
        )
    table.places([table.names[place] for place in places])  # a bundle knows columns by their names
    for title, cells in (("label", labels), ("group", groups)):
        if "" in cells:
            line = table.lines[cells.index("")]
            raise DataError(f"each row must have a {title}, but line {line} of {table.path} has none.")


def _ends_of_runs(groups: Sequence[str], labels: Sequence[str]) -> list[tuple[int, int]]:
    """Return the first row of each run of rows with one group and label, and the row after its last."""
    changes = [row for row in range(1, len(groups)) if (groups[row], labels[row]) != (groups[row - 1], labels[row - 1])]
    return list(zip([0, *changes], [*changes, len(groups)], strict=True))


def _values(table: CsvTable, name: str, labels: list[str], kind: Kind) -> Float32Array | None:
    """Return labels as numbers if they are values: if ``kind`` says so, or by the rule for all tasks."""
    if kind == "classification":
        return None
    found = [number_in(label, table.has_comma) for label in labels]
    numbers = None if None in found else np.array(found, dtype=np.float64)
    if kind == "auto" and (numbers is None or are_classes(numbers)):
        return None
    return table.numbers([table.names.index(name)])[:, 0]
