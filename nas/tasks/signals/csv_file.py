"""Signals in one CSV file: a column for each channel with labels beside them, or a row for each window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.tasks.criteria import Kind
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import CsvTable, Float32Array, Recording, read_csv
from nas.tasks.signals.gathering import Labelled

LABEL = "label"
"""The name of the column with labels, unless another is named."""
FromTable = tuple[list[Labelled], tuple[str, ...]]
"""Recordings, and the names of the columns that hold them."""


def read_table(
    path: Path,
    label: str,
    group: str,
    columns: Sequence[str],
    kind: Kind,
    rate: int | None,
    channels: int | None = None,
) -> FromTable:
    """Return the recordings in a file, and the names of the columns that hold them.

    A column is a channel, and each run of rows with one label and group is a recording; with ``channels``, each row is
    a window with these one after the other. Labels that are numbers with a fraction are values: they may change from
    row to row, and windows get their mean. Raises DataError, with the line and the column, if the file cannot be used.
    """
    name = label or LABEL
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
        places = table.places(columns, without=(name, group) if group else (name,))
        labels = table.texts(table.names.index(name))
        groups = table.texts(table.names.index(group)) if group else [""] * len(labels)
        _check_cells(table, places, labels, channels)
        numbers, values = table.numbers(places), _values(table, name, labels, kind)
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
        found.append(Labelled(Recording(samples, rate), target, path, group=groups[start] if group else None))
    return found, tuple(table.names[place] for place in places)


def _check_cells(table: CsvTable, places: Sequence[int], labels: Sequence[str], channels: int | None) -> None:
    """Check that there are columns of numbers, and labels everywhere. Raises DataError."""
    if not places:
        listed = ", ".join(table.names)
        raise DataError(f"a CSV file of signals needs columns of numbers, but {table.path} has only {listed}.")
    if len(places) % (channels or 1):
        raise DataError(
            f"rows must hold {channels} channels of the same length, but {table.path} has {len(places)} columns."
        )
    if "" in labels:
        line = table.lines[labels.index("")]
        raise DataError(f"each row must have a label, but line {line} of {table.path} has none.")


def _ends_of_runs(groups: Sequence[str], labels: Sequence[str]) -> list[tuple[int, int]]:
    """Return the first row of each run of rows with one group and label, and the row after its last."""
    changes = [row for row in range(1, len(groups)) if (groups[row], labels[row]) != (groups[row - 1], labels[row - 1])]
    return list(zip([0, *changes], [*changes, len(groups)], strict=True))


def _values(table: CsvTable, name: str, labels: list[str], kind: Kind) -> Float32Array | None:
    """Return labels as numbers if they are values: if ``kind`` says so, or all are numbers and some have a fraction."""
    if kind == "classification":
        return None
    try:
        numbers = np.array(labels, dtype=np.str_).astype(np.float64)
    except ValueError:
        numbers = None
    if kind == "auto" and (numbers is None or bool((numbers == np.rint(numbers)).all())):
        return None
    return table.numbers([table.names.index(name)])[:, 0]
