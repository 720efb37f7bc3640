"""Reading recordings from WAV and CSV files."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nas.tasks.deployed.csv_file import form_of, lines_of
from nas.tasks.deployed.inputs import Array, InputError

Float32Array = npt.NDArray[np.float32]

MOST_NAMED = 20
MOST_BYTES = 2**31
"""The largest file that is read."""


class Recording(NamedTuple):
    """Samples of shape (channels, samples), and how many there are in a second, if that is known."""

    samples: Float32Array
    rate: int | None


def read_recording(path: Path, columns: Sequence[str] = ()) -> Recording:
    """Return the recording in a WAV file, or in a CSV file with a column for each channel.

    ``columns`` names those of a CSV file; without, it has no others. Raises InputError, with the place, if the file
    cannot be used.
    """
    check_file(path)
    if path.suffix.lower() == ".csv":
        table = read_csv(path, columns)
        return Recording(np.ascontiguousarray(table.numbers(table.places(columns)).T), None)
    return read_wav(path)


def check_file(path: Path) -> None:
    """Raise InputError for what is no file, is empty or is too large to be read."""
    if not path.is_file():  # opening a named pipe would wait for ever
        raise InputError(f"{path} is no file, or a broken link.")
    size = path.stat().st_size
    if not size:
        raise InputError(f"{path} is empty.")
    if size > MOST_BYTES:
        raise InputError(
            f"{path} must have at most 2 GiB, but it has {size / 2**30:.1f}. Cut it into shorter recordings."
        )


def read_wav(path: Path) -> Recording:
    """Return the recording in a WAV file of 8, 16, 24 or 32 bits or of floats, as numbers from -1 to 1."""
    from scipy.io import wavfile

    _check_complete(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs
            warnings.filterwarnings("error", ".*EOF prematurely.*")
            rate, found = wavfile.read(path)
    except Exception as error:  # damaged headers raise struct.error, ValueError, UnboundLocalError and others
        raise InputError(
            f"{path} cannot be read as WAV: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    scale = {np.dtype(np.uint8): 2**7, np.dtype(np.int16): 2**15, np.dtype(np.int32): 2**31}.get(found.dtype)
    if scale is None and found.dtype.kind != "f":
        raise InputError(f"{path} must have samples of 8, 16, 24 or 32 bits or floats, but they are {found.dtype}.")
    middle = 2**7 if found.dtype == np.uint8 else 0
    samples = (found.astype(np.float64) - middle) / (scale or 1)
    samples = samples[None] if samples.ndim == 1 else samples.T
    if not samples.size:
        raise InputError(f"{path} holds no samples.")
    recording = Recording(np.ascontiguousarray(samples, dtype=np.float32), int(rate))
    bad = np.argwhere(~np.isfinite(recording.samples))
    if len(bad):
        channel, place = bad[0]
        value = recording.samples[channel, place]
        raise InputError(
            f"{path} must hold finite samples, but has {value} at {place / rate:.3f} s in channel {channel}."
        )
    return recording


def _check_complete(path: Path) -> None:
    """Raise InputError if a WAV file is shorter than its header says: scipy reads what is there."""
    with path.open("rb") as file:
        head = file.read(8)
    declared = int.from_bytes(head[4:8], "little") + 8
    size = path.stat().st_size
    if head[:4] == b"RIFF" and size + 1 < declared < 0xFFFFFFFF:  # programs that write into pipes leave the largest
        raise InputError(f"{path} breaks off: its header says {declared:,} bytes, and it has {size:,}.")


@dataclass(frozen=True)
class CsvTable:
    """A CSV file: the names of its columns, () if it has none, its rows of text, and the line of each in the file.

    ``has_comma`` is True if a comma in a cell can only be the decimal sign.
    """

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    has_comma: bool = False

    def places(self, columns: Sequence[str], without: Sequence[str] = ()) -> list[int]:
        """Return the places of ``columns``, or of all but ``without``. Raises InputError if one is missing."""
        if not self.names:
            return list(range(len(self.rows[0])))
        known = {name: place for place, name in enumerate(self.names)}
        missing = [name for name in (*columns, *without) if name not in known]
        if missing:
            more = ", …" if len(self.names) > MOST_NAMED else ""
            named = ", ".join(self.names[:MOST_NAMED]) + more
            raise InputError(f"{self.path} must have a column {missing[0]!r}, but has {named}.")
        counts = Counter(self.names)
        twice = [name for name in (*columns, *without) if counts[name] > 1]
        if twice:
            raise InputError(f"{self.path} has several columns called {twice[0]!r}. Give each a name of its own.")
        return [known[name] for name in columns] or [
            place for place, name in enumerate(self.names) if name not in without
        ]

    def texts(self, place: int) -> list[str]:
        """Return a column."""
        return [row[place].strip() for row in self.rows]

    def numbers(self, places: Sequence[int]) -> Float32Array:
        """Return columns as finite numbers, shape (rows, columns). Raises InputError with the line and the column."""
        found = np.empty((len(self.rows), len(places)), dtype=np.float32)
        for number, place in enumerate(places):
            column = [row[place] for row in self.rows]
            with np.errstate(over="ignore"):
                try:
                    found[:, number] = np.array(column, dtype=np.str_).astype(np.float64)
                except ValueError:
                    found[:, number] = np.array([number_in(each, self.has_comma) for each in column], dtype=np.float64)
            bad = np.flatnonzero(~np.isfinite(found[:, number]))
            if len(bad):
                text, title = column[bad[0]].strip(), repr(self.names[place]) if self.names else str(place + 1)
                where = f"{self.path}, line {self.lines[bad[0]]}, column {title}"
                got = f"has {text!r:.40}" if text else "is empty"
                raise InputError(f"signals must be finite numbers, but {where} {got}.")
        return found


def read_csv(path: Path, columns: Sequence[str] = ()) -> CsvTable:
    """Return a CSV file, separated by commas, semicolons, tabs or ``|``. A first row with other text names the columns.

    So does one that has all of ``columns``, which may be numbers. Raises InputError if it is no text or has rows of
    different lengths.
    """
    check_file(path)
    form = form_of(path)
    lines, rows = zip(*lines_of(path, form), strict=True)
    has_comma = form.delimiter != ","
    title = tuple(name.strip() for name in rows[0])
    is_known = bool(columns) and {*columns} <= {*title}
    names = title if is_known or any(text and number_in(text, has_comma) is None for text in title) else ()
    first = 1 if names else 0
    if len(rows) == first:
        raise InputError(f"{path} has no rows below the names of its columns.")
    return CsvTable(path, names, list(rows[first:]), list(lines[first:]), has_comma)


def number_in(text: str, has_comma: bool) -> float | None:
    """Return a cell as a number, whose decimal sign may be a comma; None if it is none."""
    try:
        return float(text.replace(",", ".") if has_comma else text)
    except ValueError:
        return None


def finite(values: Array, title: str) -> Float32Array:
    """Return numbers as float32. Raises InputError with the place of the first one that is not finite."""
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(found).all():
        place = tuple(int(each) for each in np.argwhere(~np.isfinite(found))[0])
        raise InputError(f"{title} must be finite, but {title}{list(place)} is {values[place]}.")
    return found
