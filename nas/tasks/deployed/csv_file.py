"""Reading the rows of a CSV file, with the line of each."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from nas.tasks.deployed.inputs import InputError

DELIMITERS = ",;\t|"


def opened_text(path: Path) -> TextIO:
    """Open a text file, which may be packed by gzip. A byte order mark is skipped."""
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def delimiter_of(header: str) -> str:
    """Return the character that separates the names of columns: the most frequent of a comma, ``;``, tab and ``|``."""
    return max(DELIMITERS, key=header.count)


def lines_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV file as its line in the file and its cells. The first row names the columns.

    Raises InputError, with the line, if the file cannot be read or a row has another number of cells.
    """
    line = 0
    try:
        with opened_text(path) as stream:
            first = stream.readline()
            stream.seek(0)
            reader = csv.reader(stream, delimiter=delimiter_of(first), strict=True)
            width = 0
            for cells in reader:
                line = reader.line_num
                if not cells:  # an empty line
                    continue
                width = width or len(cells)
                if len(cells) != width:
                    raise InputError(f"{path}, line {line}: a row must have {width} cells, but it has {len(cells)}.")
                yield line, cells
    except UnicodeDecodeError as error:
        raise InputError(f"{path} must be text in UTF-8, but after line {line} it is not: {error}.") from error
    except (OSError, EOFError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV after line {line}: {error}.") from error
    if not width:
        raise InputError(f"{path} must begin with a line that names the columns, but it is empty.")
