"""Tidy tables as files: CSV, Parquet and JSON, each written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import RecipeError
from nas.results.exports.tidy import Cell, document_of, table_of
from nas.storage.journal import JOURNAL, RECIPE, write_aside
from nas.storage.run_files import PARENT_WEIGHTS, SUPERNET_WEIGHTS

if TYPE_CHECKING:
    from nas.results.run import Run

OF_THE_RUN = (RECIPE, JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", ".writer", SUPERNET_WEIGHTS, PARENT_WEIGHTS)
"""Files of a run folder that nothing may take the place of."""
FOLDERS_OF_THE_RUN = ("winners", "retrained", "seeds", "checkpoints", "solved")
"""Folders of a run folder into which nothing else may be written."""


def csv_bytes(run: Run) -> bytes:
    """Return a run's table as CSV in UTF-8: ``true`` and ``false``, and empty cells for what is unknown."""
    columns, rows = table_of(run, run.records)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows([[_csv_cell(cell) for cell in row.values()] for row in rows])
    return text.getvalue().encode()


def _csv_cell(cell: Cell) -> object:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return "" if cell is None else cell


def json_bytes(run: Run) -> bytes:
    """Return a run as JSON: each architecture with its intervals, bounds and reasons."""
    return (json.dumps(document_of(run, run.records), indent=1, allow_nan=False) + "\n").encode()


def parquet_bytes(run: Run) -> bytes:
    """Return a run's table as Parquet. The metadata of each column has its ``unit`` and its ``meaning``."""
    import pyarrow
    from pyarrow import parquet

    columns, rows = table_of(run, run.records)
    arrays, fields = [], []
    for column in columns:
        array = pyarrow.array(*_parquet_cells([row[column.name] for row in rows]))
        about = {"unit": column.unit, "meaning": column.meaning}
        arrays.append(array)
        fields.append(pyarrow.field(column.name, array.type, metadata=about))
    about_run = {"run": run.name, "target": run.target}
    table = pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields, metadata=about_run))
    stream = io.BytesIO()
    parquet.write_table(table, stream)
    return stream.getvalue()


def _parquet_cells(cells: Sequence[Cell]) -> tuple[list[Any], Any]:
    """Return cells of one type, and the type. Options of several types, such as 3 and "auto", become texts."""
    import pyarrow

    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {bool} and kinds:
        return list(cells), pyarrow.bool_()
    if kinds <= {int} and kinds:
        return list(cells), pyarrow.int64()
    if kinds <= {int, float} and kinds:
        return [None if cell is None else float(cell) for cell in cells], pyarrow.float64()
    return [None if cell is None else str(cell) for cell in cells], pyarrow.string()


def check_place(run: Run, path: Path) -> None:
    """Check that a file may be written at ``path``: it is no folder, and no file that the run itself needs.

    Raises:
        RecipeError: it is one.
    """
    if path.is_dir() or not path.name:
        raise RecipeError(f"--out takes the name of a file, but {path} is a folder.")
    check_folder(run, path)
    if path.name in OF_THE_RUN and path.resolve().parent == run.run_folder.resolve():
        raise RecipeError(f"--out must not take the place of a file of the run itself, but got {path}.")


def check_folder(run: Run, path: Path) -> None:
    """Check that ``path`` lies in no folder that the run itself writes. Raises RecipeError."""
    if any(path.resolve().is_relative_to((run.run_folder / name).resolve()) for name in FOLDERS_OF_THE_RUN):
        raise RecipeError(f"--out must not take the place of a file of the run itself, but got {path}.")


def write_out(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        RecipeError: the folder cannot be made or written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, content)
    except OSError as error:
        raise RecipeError(
            f"{path} must be a file that can be written, but the system says: {error.strerror or error}. "
            "Free some space, or choose another place."
        ) from error
