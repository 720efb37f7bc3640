"""Reading a table from a file into a DataFrame, with every check that tells what is broken and where."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import DataError, did_you_mean
from nas.paths import why_no_file
from nas.tasks.deployed.csv_file import UNKNOWN, CsvForm, form_of, lines_of
from nas.tasks.deployed.inputs import InputError

Frame = Any
"""A pandas DataFrame: pandas has no types that mypy may follow here."""

CSV_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".txt")
PARQUET_ENDINGS = (".parquet", ".pq")
LARGEST_BYTES = 4 * 2**30
"""The most text, or memory of decoded values, that one table may have: it is held in the memory of each process."""


def read_table(path: Path, given: CsvForm = UNKNOWN) -> Frame:
    """Return the table in a CSV or Parquet file. Columns of a CSV file keep their text.

    What is ``given`` of the form of a CSV file is taken.

    Raises:
        DataError: the file is missing, empty, too large, no table, or broken, with the line where it is.
    """
    return read_file(path, given).frame


@dataclass(frozen=True)
class TableFile:
    """A table in a file: a DataFrame, and how the file is written if it is CSV, whose columns are all text."""

    path: Path
    frame: Frame
    form: CsvForm | None


def read_file(path: Path, given: CsvForm = UNKNOWN) -> TableFile:
    """Return the table in a file, and how that is written. Raises as ``read_table`` does."""
    reason = why_no_file(path)
    if reason is not None:
        raise DataError(f"a table must be a CSV or Parquet file, but {path} {reason}.")
    lowered, form = path.name.lower(), None
    if lowered.endswith(PARQUET_ENDINGS):
        frame = _read_parquet(path)
    elif lowered.endswith(CSV_ENDINGS):
        frame, form = _read_csv(path, given)
    else:
        known = ", ".join((*CSV_ENDINGS, *PARQUET_ENDINGS))
        raise DataError(f"the file of a table must end in one of {known}, but got {path.name}.")
    return TableFile(path, checked_frame(frame, str(path)), form)


def checked_frame(frame: Frame, title: str) -> Frame:
    """Return a DataFrame called ``title`` with text as names of columns. Raises DataError if it cannot be learned."""
    names = [str(name).strip() for name in frame.columns]
    if not names or not len(frame):
        raise DataError(f"a table must have columns and rows, but {title} has {len(names)} and {len(frame)}.")
    (most, times), *_ = Counter(names).most_common(1)
    if times > 1:
        raise DataError(f"columns must have different names, but {title} has {most!r} {times} times.")
    if "" in names:
        place = names.index("")
        advice = " If it holds the numbers of rows, write the table without them: index=False in pandas."
        raise DataError(
            f"each column must have a name in the first line, but column {place + 1} of {title} has none."
            f"{'' if place else advice}"
        )
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def check_has(frame: Frame, column: str, what: str, title: str) -> None:
    """Check that a table has a column, which is ``what``. Raises DataError with the nearest name."""
    if column not in frame.columns:
        raise DataError(
            f"{what} must be a column of {title}, but got {column!r}. {did_you_mean(column, list(frame.columns))}"
        )


def _read_csv(path: Path, given: CsvForm) -> tuple[Frame, CsvForm]:
    import pandas

    size = _text_bytes(path)
    if size > LARGEST_BYTES:
        raise DataError(_too_large(path, size, "Convert it to Parquet without columns that are not needed, or"))
    try:
        form = form_of(path, given)
        rows = [[cell.strip() for cell in cells] for _, cells in lines_of(path, form)]
    except InputError as error:
        more = (
            " Or name its encoding, for example by --set data.encoding=cp1250."
            if "UTF-8, but line" in str(error)
            else ""
        )
        raise DataError(f"{error}{more}") from error
    names = rows[0]
    columns = dict(enumerate(zip(*rows[1:], strict=True))) if len(rows) > 1 else {}
    frame = pandas.DataFrame(columns or None, columns=range(len(names)), dtype=object)
    empty = [place for place, name in enumerate(names) if not name and not any(columns.get(place, ()))]
    return frame.set_axis(names, axis=1).iloc[:, [place for place in range(len(names)) if place not in empty]], form


def _text_bytes(path: Path) -> int:
    """Return the size of a text file, unpacked; of a large packed one, more than LARGEST_BYTES."""
    if not path.name.lower().endswith(".gz"):
        return path.stat().st_size
    size = 0
    try:
        with gzip.open(path) as stream:
            while size <= LARGEST_BYTES and (part := stream.read(2**22)):
                size += len(part)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked: {error}.") from error
    return size


def _read_parquet(path: Path) -> Frame:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            size = 8 * file.metadata.num_rows * file.metadata.num_columns
            if size > LARGEST_BYTES:
                raise DataError(_too_large(path, size, "Leave out columns that are not needed, or"))
            return file.read().to_pandas()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}.") from error


def _too_large(path: Path, size: int, advice: str) -> str:
    return (
        f"a table must fit into {LARGEST_BYTES / 2**30:.3g} GiB, but {path} has {size / 2**30:.3g} GiB or more. "
        f"{advice} take a part of the rows."
    )
