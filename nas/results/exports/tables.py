"""Tidy tables of a run: CSV, Parquet and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from nas.results.exports.export import FileExport
from nas.results.exports.tidy import Cell, document_of, table_of

if TYPE_CHECKING:
    from nas.results.run import Run


@final
class CsvTable(FileExport):
    """A table as CSV, one architecture a row."""

    default_name = "architectures.csv"

    def content(self, run: Run) -> bytes:
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


@final
class JsonDocument(FileExport):
    """A JSON document, each architecture with its intervals, bounds and reasons."""

    default_name = "architectures.json"

    def content(self, run: Run) -> bytes:
        """Return a run as JSON: each architecture with its intervals, bounds and reasons."""
        return (json.dumps(document_of(run, run.records), indent=1, allow_nan=False) + "\n").encode()


@final
class ParquetTable(FileExport):
    """A table as Parquet, whose columns have their units and meanings."""

    default_name = "architectures.parquet"

    def content(self, run: Run) -> bytes:
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
