"""The file of a table: CSV, gzip or plain. Its cells are read within the memory that is free, and written whole."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from nas.errors import RecipeError
from nas.hardware.machine import free_memory_bytes
from nas.storage.output_files import write_whole
from nas.values.pareto import FloatArray

RULE = "a table is a CSV file, gzip or plain, with a header and a row for each architecture, but"
SUFFIX = ".csv.gz"
BYTES_PER_CHARACTER = 16
"""The memory that a table takes while it is read, for each character of its text: cells are Python texts."""
MOST_BYTES = 2**30
"""The most text that is read, however much memory is free."""
_CHUNK = 2**20
_WITH_THOUSANDS = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+\.[0-9]+")
"""A number such as 1,012.56, in which a comma cannot be the decimal one."""
_GZIP = b"\x1f\x8b"


def read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header of the table at ``path``, and its rows, which have the same length. Empty lines are left out.

    Raises:
        RecipeError: the file cannot be read, is too large for the memory, has no rows, has a column twice, or a row is
            longer or shorter than the header.
    """
    lines = io.TextIOWrapper(io.BytesIO(_text_of(path)), encoding="utf-8-sig", newline="")
    try:
        cells = [line for line in csv.reader(lines, strict=True) if line]
    except UnicodeDecodeError as error:
        raise RecipeError(f"{RULE} {path} cannot be read: {error}.") from error
    except csv.Error as error:
        raise RecipeError(f"{RULE} {path} is no valid CSV: {error}.") from error
    if len(cells) < 2:
        raise RecipeError(f"{RULE} {path} {'has no rows' if cells else 'is empty'}.")
    header, *rows = cells
    repeated = next((name for name in header if header.count(name) > 1), None)
    if repeated is not None:
        raise RecipeError(f"the columns of a table must have different names, but {path} has {repeated!r} twice.")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise RecipeError(
                f"each row of {path} must have the {len(header)} fields of its header, but row {number} has {len(row)}."
            )
    return header, rows


def numbers_in(cells: Sequence[str]) -> FloatArray | tuple[int, str]:
    """Return the numbers, NaN for empty cells; or, if a cell is no number, the first such row from 1 and its text.

    Thousands may be separated by commas where a decimal point shows that they are.
    """
    values = np.empty(len(cells))
    for index, cell in enumerate(cells):
        if "," in cell and _WITH_THOUSANDS.fullmatch(cell):
            cell = cell.replace(",", "")
        try:
            values[index] = float(cell) if cell else math.nan
        except ValueError:
            return index + 1, cell
        if "_" in cell:  # Python reads 1_0 as 10
            return index + 1, cell
        if cell and not math.isfinite(values[index]):
            return index + 1, cell
    return values


def has_header(path: Path, header: Sequence[str]) -> bool:
    """Return True if ``path`` holds a table with exactly these columns."""
    try:
        with gzip.open(path, "rb") as stream:
            line = stream.readline(_CHUNK).decode("utf-8-sig")
        return next(csv.reader([line]), []) == list(header)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error):
        return False


def check_name(path: Path) -> None:
    """Check that ``path`` has the name of a table. Raises RecipeError if not."""
    if not path.name.endswith(SUFFIX):
        raise RecipeError(f"a table is written as gzip CSV, to a file named like table.csv.gz, but got {path.name!r}.")


def write_cells(path: Path, header: Iterable[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to ``path``, whole or not at all. The same cells always give the same bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(list(header))
    writer.writerows(rows)
    write_whole(path, gzip.compress(text.getvalue().encode(), mtime=0))


def _text_of(path: Path) -> bytearray:
    """Return the bytes of the unpacked file. One that would not fit into the memory is refused before it is held."""
    free = free_memory_bytes()
    most = MOST_BYTES if free is None else min(MOST_BYTES, free // BYTES_PER_CHARACTER)
    try:
        if path.exists() and not path.is_file():
            raise RecipeError(f"{RULE} {path} is no regular file.")
        with path.open("rb") as file:
            is_packed = file.read(len(_GZIP)) == _GZIP
        text = bytearray()
        with gzip.open(path, "rb") if is_packed else path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                text += chunk
                if len(text) > most:
                    raise RecipeError(
                        f"a table must fit into memory, but {path} holds more than {most // 2**20} MiB of text, "
                        f"and {'an unknown amount' if free is None else f'{free // 2**20} MiB'} of memory is free. "
                        "Leave out rows or columns, or free some memory."
                    )
    except FileNotFoundError:
        raise RecipeError(f"{RULE} {path} does not exist.") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise RecipeError(f"{RULE} {path} cannot be read: {error}.") from error
    return text
