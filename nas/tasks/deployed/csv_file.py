"""Reading the rows of a CSV file, with the line of each. Its encoding and its delimiter are found by looking at it."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from nas.tasks.deployed.inputs import InputError

DELIMITERS = "\t;|, "
"""What may stand between cells, a comma last, because it is a decimal sign too. Spaces do where nothing else does."""
LATIN = "cp1252"
"""The usual encoding of spreadsheets in Western Europe, when they do not write UTF-8; a superset of latin-1."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 2**16
"""So many characters at the beginning of a file tell its delimiter."""
_PART = 2**20
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""A first line by which some spreadsheets tell the delimiter."""


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written. What is empty is found by looking at the file.

    Attributes:
        delimiter: the character between cells.
        encoding: the name of the encoding, if the file is not UTF-8.
        example: a word of a file that was taken for Windows-1252, for people to look at; or empty.
    """

    delimiter: str = ""
    encoding: str = ""
    example: str = ""


UNKNOWN = CsvForm()
"""The form of a file of which nothing is known beforehand."""


def form_of(path: Path, given: CsvForm = UNKNOWN) -> CsvForm:
    """Return how a file is written, with no empty delimiter or encoding. What is ``given`` is taken.

    Raises InputError if the file cannot be read, or is text in an encoding that cannot be told.
    """
    try:
        encoding, example = _encoding_of(path, given.encoding)
        found = replace(given, encoding=encoding, example=example)
        if found.delimiter:
            return found
        with _opened(path, found.encoding) as stream:
            return replace(found, delimiter=_delimiter_of(stream.read(_LOOKED_AT)))
    except UnicodeError as error:
        raise InputError(f"{path} must be text in {encoding}, but it is not: {error}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}.") from error


def lines_of(path: Path, given: CsvForm = UNKNOWN) -> Iterator[tuple[int, list[str]]]:
    """Yield each row of a CSV file as its line in the file and its cells. The first row names the columns.

    Empty rows are left out. Raises InputError, with the line, if the file cannot be read or a row has another number
    of cells.
    """
    form = form_of(path, given)
    line = width = 0
    try:
        with _opened(path, form.encoding) as stream:
            for line, cells in _rows(stream, form.delimiter):
                width = width or len(cells)
                if len(cells) > width and not any(cells[width:]):
                    del cells[width:]
                if len(cells) != width:
                    raise InputError(
                        f"{path}, line {line}: a row must have {width} cells, but it has {len(cells)}."
                        f"{_INDEX if len(cells) == width + 1 else ''}"
                    )
                if width == 1 or any(cells):
                    yield line, cells
    except UnicodeError as error:
        raise InputError(
            f"{path} must be text in {form.encoding}, but after line {line} it is not: {error}."
        ) from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV after line {line}: {error}.") from error
    if not width:
        raise InputError(f"{path} must begin with a line that names the columns, but it is empty.")


_INDEX = " If the first cell is the number of the row, write the file without it: row.names=FALSE in R."


def _rows(stream: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the last line of each row that is not blank, and its cells."""
    first = stream.readline()
    skipped = 1 if _SEPARATOR_LINE.fullmatch(first) else 0
    lines: Iterator[str] = stream if skipped else _with_first(first, stream)
    if delimiter == " ":
        lines = (f"{line.rstrip()}\n" for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    for cells in reader:
        if cells:
            yield reader.line_num + skipped, cells


def _with_first(first: str, rest: TextIO) -> Iterator[str]:
    yield first
    yield from rest


# The encoding


def _opened(path: Path, encoding: str) -> TextIO:
    """Open a text file, which may be packed by gzip."""
    if _is_packed(path):
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _bytes_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked, in parts."""
    with cast(BinaryIO, gzip.open(path)) if _is_packed(path) else path.open("rb") as stream:
        while part := stream.read(_PART):
            yield part


def _encoding_of(path: Path, given: str) -> tuple[str, str]:
    """Return the encoding, and a word to look at if it was guessed. A file with a byte-order mark tells its own."""
    start = next(_bytes_of(path), b"")
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    encoding = marked or _wide_encoding(start)
    if encoding is not None:
        return encoding, ""
    if b"\0" in start and not given:
        raise InputError(f"{path} must be text in UTF-8, but it has zero bytes. Save the table as CSV.")
    line = _first_line_not_utf8(path)
    if line is None:
        return "utf-8-sig", ""
    if given:
        return given, ""
    word = _western_word(path)
    if word is None:
        raise InputError(
            f"{path} must be text in UTF-8, but line {line} is not. Save it as UTF-8, as spreadsheets do by the form "
            '"CSV UTF-8".'
        )
    return LATIN, word


def _wide_encoding(start: bytes) -> str | None:
    """Return UTF-16 for text without a byte-order mark: of its first letters, every other byte is zero."""
    even, odd = start[:100:2].count(0), start[1:100:2].count(0)
    if max(even, odd) * 4 < len(start[:100]) or min(even, odd):
        return None
    return ("utf-16-be" if even else "utf-16-le") if even or odd else None


def _first_line_not_utf8(path: Path) -> int | None:
    """Return the first line of a file that is not UTF-8, or None if all are."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    for part in _bytes_of(path):
        try:
            line += decoder.decode(part).count("\n")
        except UnicodeDecodeError as error:
            return line + error.object[: error.start].count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return line
    return None


_BEYOND = re.compile(rb"[\x80-\xff]+")
_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_LETTER = "[^\\W\\d_]"
_STRANGE = re.compile(f"{_LETTER}[^\\w\\s\\x00-\\x7f’‘–—·´…]{_LETTER}|{_LETTER}[¹²³]{_LETTER}")
"""A sign within a word, which Windows-1252 shows where Polish or Czech letters are meant."""
_LONG_RUN = 3
"""Western words have an accented letter here and there; Greek or Russian ones have many in a row."""


def _western_word(path: Path) -> str | None:
    """Return a word with a letter beyond ASCII if a file looks like Windows-1252; None if it looks like another."""
    total = in_runs = in_utf8 = strange = 0
    word = ""
    for part in _bytes_of(path):
        runs = _BEYOND.findall(part)
        total += sum(map(len, runs))
        in_runs += sum(len(run) for run in runs if len(run) >= _LONG_RUN)
        in_utf8 += sum(len(sequence) for run in runs for sequence in _UTF8.findall(run))
        try:
            text = part.decode(LATIN)
        except UnicodeDecodeError:
            return None
        strange += len(_STRANGE.findall(text))
        if not word and (found := re.search(r"\w*[^\x00-\x7f]\w*", text)):
            word = found.group()
    return word if max(in_runs, in_utf8, 10 * strange) * 2 <= total else None


# The delimiter


def _delimiter_of(start: str) -> str:
    """Return the character between cells: the most frequent in the first line that gives all rows as many cells."""
    first = io.StringIO(start, newline="").readline()
    if told := _SEPARATOR_LINE.fullmatch(first):
        return told[1]
    there = sorted((each for each in DELIMITERS[:-1] if each in first), key=first.count, reverse=True)
    is_cut = len(start) == _LOOKED_AT
    found = next((each for each in there or " " if _divides(start, each, is_cut)), None)
    return found or (there or [","])[0]


def _divides(start: str, delimiter: str, is_cut: bool) -> bool:
    """Return True if a delimiter gives all rows of text as many cells, two or more. The last row may be cut off."""
    rows: list[Sequence[str]] = []
    try:
        for _, cells in _rows(io.StringIO(start, newline=""), delimiter):
            rows.append(cells)
    except csv.Error:
        if not is_cut:
            return False
    rows = rows[:-1] if is_cut and len(rows) > 1 else rows
    width = len(rows[0]) if rows else 0
    return width > 1 and all(len(row) == width or (len(row) > width and not any(row[width:])) for row in rows)
