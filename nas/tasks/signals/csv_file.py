"""Signals in one CSV file: a column for each channel with labels beside them, or a row for each window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import CsvTable, Recording, read_csv
from nas.tasks.signals.gathering import Labelled
from nas.tasks.signals.targets import Kind

LABEL = "label"
"""The name of the column with labels, unless another is named."""


def read_columns(
    path: Path, label: str, group: str, columns: Sequence[str], kind: Kind
) -> tuple[list[Labelled], tuple[str, ...]]:
    """Return a recording for each run of rows with one label and group, and the names of the columns of channels.

    Labels that are numbers with a fraction are values: they may change from row to row, and windows get their mean.
    Raises DataError, with the line and the column, if the file cannot be used.
    """
    table, labels, groups, places = _read(path, label, group, columns)
    try:
        samples = np.ascontiguousarray(table.numbers(places).T)
        values = _values(table, label or LABEL, labels, kind)
    except InputError as error:
        raise DataError(str(error)) from error
    keys = np.array(
        [f"{a}\0{b}" for a, b in zip(labels if values is None else [""] * len(labels), groups, strict=True)]
    )
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    found = []
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        target = labels[start] if values is None else values[start:end]
        recording = Recording(samples[:, start:end], None)
        found.append(Labelled(recording, target, path, group=groups[start] if group else None))
    return found, tuple(table.names[place] for place in places) if table.names else ()


def read_rows(
    path: Path, label: str, group: str, columns: Sequence[str], channels: int, kind: Kind
) -> tuple[list[Labelled], tuple[str, ...]]:
    """Return the window in each row as a recording of ``channels``, one after the other, and the names of columns.

    Raises DataError, with the line and the column, if the file cannot be used.
    """
    table, labels, groups, places = _read(path, label, group, columns)
    if len(places) % channels:
        raise DataError(f"rows must hold {channels} channels of the same length, but {path} has {len(places)} columns.")
    try:
        rows = table.numbers(places).reshape(len(table.rows), channels, -1)
        values = _values(table, label or LABEL, labels, kind)
    except InputError as error:
        raise DataError(str(error)) from error
    found = [
        Labelled(Recording(row, None), labels[n] if values is None else float(values[n]), path, group=groups[n] or None)
        for n, row in enumerate(rows)
    ]
    return found, tuple(table.names[place] for place in places) if table.names else ()


def _read(
    path: Path, label: str, group: str, columns: Sequence[str]
) -> tuple[CsvTable, list[str], list[str], list[int]]:
    """Return a table, its labels and groups, and the places of its numbers."""
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
        others = (name, group) if group else (name,)
        places = table.places(columns, without=others)
        labels = table.texts(table.names.index(name))
        groups = table.texts(table.names.index(group)) if group else [""] * len(labels)
    except InputError as error:
        raise DataError(str(error)) from error
    if not places:
        raise DataError(
            f"a CSV file of signals needs columns of numbers, but {path} has only {', '.join(table.names)}."
        )
    if "" in labels:
        raise DataError(f"each row must have a label, but line {table.lines[labels.index('')]} of {path} has none.")
    return table, labels, groups, places


def _values(
    table: CsvTable, name: str, labels: list[str], kind: Kind
) -> np.ndarray[tuple[int], np.dtype[np.float32]] | None:
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
