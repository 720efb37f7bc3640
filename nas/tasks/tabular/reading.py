"""Reading a table from a file into a DataFrame, with every check that tells what is broken and where."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.errors import DataError, did_you_mean
from nas.paths import why_no_file
from nas.tasks.deployed.csv_file import delimiter_of, lines_of, opened_text
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.tabular import MISSING

Frame = Any
"""A pandas DataFrame: pandas has no types that mypy may follow here."""

CSV_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".txt")
PARQUET_ENDINGS = (".parquet", ".pq")
LARGEST_BYTES = 4 * 2**30
"""The most text, or memory of decoded values, that one table may have: it is held in the memory of each process."""


def read_table(path: Path, as_text: Sequence[str] = ()) -> Frame:
    """Return the table in a CSV or Parquet file. Columns named in ``as_text`` keep their text, such as ``007``.

    Raises:
        DataError: the file is missing, empty, too large, no table, or broken, with the line where it is.
    """
    reason = why_no_file(path)
    if reason is not None:
        raise DataError(f"a table must be a CSV or Parquet file, but {path} {reason}.")
    lowered = path.name.lower()
    if lowered.endswith(PARQUET_ENDINGS):
        frame = _read_parquet(path)
    elif lowered.endswith(CSV_ENDINGS):
        frame = _read_csv(path, as_text)
    else:
        known = ", ".join((*CSV_ENDINGS, *PARQUET_ENDINGS))
        raise DataError(f"the file of a table must end in one of {known}, but got {path.name}.")
    return checked_frame(frame, str(path))


def checked_frame(frame: Frame, title: str) -> Frame:
    """Return a DataFrame called ``title`` with text as names of columns. Raises DataError if it cannot be learned."""
    names = [str(name).strip() for name in frame.columns]
    if not names or not len(frame):
        raise DataError(f"a table must have columns and rows, but {title} has {len(names)} and {len(frame)}.")
    (most, times), *_ = Counter(names).most_common(1)
    if times > 1:
        raise DataError(f"columns must have different names, but {title} has {most!r} {times} times.")
    if "" in names:
        raise DataError(f"each column must have a name in the first line, but column {names.index('') + 1} has none.")
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def check_has(frame: Frame, column: str, what: str, title: str) -> None:
    """Check that a table has a column, which is ``what``. Raises DataError with the nearest name."""
    if column not in frame.columns:
        raise DataError(
            f"{what} must be a column of {title}, but got {column!r}. {did_you_mean(column, list(frame.columns))}"
        )


def _read_csv(path: Path, as_text: Sequence[str]) -> Frame:
    import pandas

    size = _text_bytes(path)
    if size > LARGEST_BYTES:
        raise DataError(_too_large(path, size, "Convert it to Parquet without columns that are not needed, or"))
    try:
        lines = lines_of(path)
        _, header = next(lines)
        for _ in lines:  # names the line of a row that is broken or too short, which pandas would fill
            pass
        with opened_text(path) as stream:
            delimiter = delimiter_of(stream.readline())
    except InputError as error:
        raise DataError(str(error)) from error
    try:
        text = pandas.read_csv(
            path, sep=delimiter, header=0, names=range(len(header)), dtype=str, keep_default_na=False, index_col=False
        )
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV: {' '.join(str(error).split())}.") from error
    names = [name.strip() for name in header]
    read = [text[place] if name in as_text else _as_numbers(text[place]) for place, name in enumerate(names)]
    return pandas.concat(read, axis=1).set_axis(names, axis=1) if len(text) else text.set_axis(names, axis=1)


def _as_numbers(cells: Any) -> Any:
    """Return a column of text as numbers if each cell is one or is missing; as text otherwise."""
    import pandas

    texts = [cell.strip() for cell in cells]
    try:  # by Python's own conversion, as in a bundle, to the last bit
        return pandas.Series([math.nan if text in MISSING else _plain_number(text) for text in texts], dtype="float64")
    except ValueError:
        return pandas.Series([None if text in MISSING else text for text in texts], dtype=object)


def _plain_number(text: str) -> float:
    if "_" in text:  # which Python allows between digits
        raise ValueError(text)
    return float(text)


def _text_bytes(path: Path) -> int:
    """Return the size of a text file, unpacked; of a large packed one, more than LARGEST_BYTES."""
    if not path.name.lower().endswith(".gz"):
        return path.stat().st_size
    size = 0
    try:
        with gzip.open(path) as stream:
            while size <= LARGEST_BYTES and (part := stream.read(2**22)):
                size += len(part)
    except (OSError, EOFError) as error:
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
