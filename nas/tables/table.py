"""Read a table of architectures: CSV, gzip or plain, one architecture a row, as ``measured_table`` writes it."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from nas.errors import RecipeError, did_you_mean
from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import HasCanonical, SearchSpace, is_active

MOST_NAMED = 8
FloatArray = npt.NDArray[np.float64]

_GZIP = b"\x1f\x8b"


@final
@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """N architectures in the order of the file, duplicate networks included, with their columns of numbers.

    Each of ``columns`` has shape (N,), the unit that ends its name, and NaN for an empty cell.
    """

    path: Path
    architectures: tuple[Architecture, ...]
    columns: Mapping[str, FloatArray]
    _first_texts: Mapping[str, tuple[int, str]] = field(repr=False)
    """For each column with a text: the first row with one, counted from 1, and that text."""

    def __len__(self) -> int:
        return len(self.architectures)

    def __repr__(self) -> str:
        names = [*self.columns, *self._first_texts]
        shown = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" * (len(names) > MOST_NAMED))
        return f"Table {self.path}: {len(self):,} architectures, columns {shown or 'none'}"

    def has_column(self, name: str) -> bool:
        """Return whether the table has a column of that name, with numbers or texts, apart from the choices."""
        return name in self.columns or name in self._first_texts

    def column(self, name: str, *, positive: bool = False) -> FloatArray:
        """Return the numbers of a column, shape (N,), NaN where it is empty.

        Raises:
            RecipeError: there is no such column; a value is no number; or, with ``positive``, a value is not above 0.
        """
        if name in self._first_texts:
            row, text = self._first_texts[name]
            raise RecipeError(f"column {name!r} of {self.path} must hold numbers, but row {row} holds {text!r}.")
        if name not in self.columns:
            raise RecipeError(
                f"a column must be one of {self.path}, but it has none named {name!r}. "
                f"{did_you_mean(name, self.columns)}"
            )
        values = self.columns[name]
        unfit = np.flatnonzero(values <= 0)
        if positive and len(unfit):
            row = int(unfit[0])
            raise RecipeError(
                f"column {name!r} of {self.path} must be positive, but row {row + 1} holds {values[row]:g}."
            )
        return values

    def targets(self, metric: str) -> tuple[str, ...]:
        """The devices with a column of this metric, in the order of the columns."""
        prefix = f"{metric}_"
        names = (*self.columns, *self._first_texts)
        return tuple(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def read_table(path: Path | str, space: SearchSpace) -> Table:
    """Read the table at ``path``. A column for each choice holds the numbers of its options; it is empty if inactive.

    Architectures are not made canonical: duplicate networks that are written differently stay separate rows.

    Raises:
        RecipeError: the file cannot be read or has no rows; a row is longer or shorter than the header; a choice has no
            column; a number is no option of its choice; or a number is missing.
    """
    path = Path(path)
    header, rows = _cells(path)
    cells = dict(zip(header, zip(*rows, strict=True), strict=True))
    missing = [choice.name for choice in space.choices if choice.name not in cells]
    if missing:
        raise RecipeError(
            f"a table must have a column for each choice of its space, but {path} has none for {missing[0]!r}: "
            "it is a table of another space."
        )
    columns: dict[str, FloatArray] = {}
    first_texts: dict[str, tuple[int, str]] = {}
    names = {choice.name for choice in space.choices}
    for name in header:
        if name not in names:
            values = _numbers(cells[name])
            if isinstance(values, np.ndarray):
                columns[name] = values
            else:
                first_texts[name] = values
    return Table(path, _architectures(path, space, cells), columns, first_texts)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read the header, and the rows of the same length."""
    rule = "a table is a CSV file, gzip or plain, with a header and a row for each architecture, but"
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{rule} {path} does not exist.") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecipeError(f"{rule} {path} cannot be read: {error}.") from error
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise RecipeError(f"{rule} {path} is no valid CSV: {error}.") from error
    if len(lines) < 2:
        raise RecipeError(f"{rule} {path} {'has no rows' if lines else 'is empty'}.")
    header, *rows = lines
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise RecipeError(f"the columns of a table must have different names, but {path} has {repeated[0]!r} twice.")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise RecipeError(
                f"each row of {path} must have the {len(header)} fields of its header, but row {number} has {len(row)}."
            )
    return header, rows


def _numbers(cells: Sequence[str]) -> FloatArray | tuple[int, str]:
    """Return the numbers, NaN for empty cells; or, if a cell is no number, the first such row from 1 and its text."""
    values = np.empty(len(cells))
    for index, cell in enumerate(cells):
        try:
            values[index] = float(cell) if cell else math.nan
        except ValueError:
            return index + 1, cell
        if cell and not math.isfinite(values[index]):
            return index + 1, cell
    return values


def _architectures(path: Path, space: SearchSpace, cells: Mapping[str, Sequence[str]]) -> tuple[Architecture, ...]:
    choices = tuple(space.choices)
    by_text = {choice.name: {str(n): option for n, option in enumerate(choice.options)} for choice in choices}
    rows: list[dict[str, Option]] = [{} for _ in cells[choices[0].name]]
    for choice in choices:
        options = by_text[choice.name]
        for number, (row, cell) in enumerate(zip(rows, cells[choice.name], strict=True), start=1):
            if cell in options:
                row[choice.name] = options[cell]
            elif cell:
                raise RecipeError(
                    f"column {choice.name!r} of {path} must hold numbers of options, 0 to {len(options) - 1}, "
                    f"but row {number} holds {cell!r}."
                )
    for number, row in enumerate(rows, start=1):
        if isinstance(space, HasCanonical):
            _check_network(path, space, choices, row, number)
        else:
            _check_active(path, choices, row, number)
    return tuple(Architecture(row) for row in rows)


def _check_network(
    path: Path, space: HasCanonical, choices: Sequence[Choice], row: Mapping[str, Option], number: int
) -> None:
    """Check that a row without some active choices, such as a canonical form, still determines its network."""
    if all(choice.name in row or not is_active(choice, row) for choice in choices):
        return
    try:
        space.canonical(row)
    except KeyError as error:
        raise RecipeError(
            f"column {error.args[0]!r} of {path} must hold an option's number where the network depends on it, but row "
            f"{number} is empty."
        ) from error


def _check_active(path: Path, choices: Sequence[Choice], row: Mapping[str, Option], number: int) -> None:
    for choice in choices:
        if is_active(choice, row) != (choice.name in row):
            rule = "hold an option's number where that choice is active and be empty elsewhere"
            held = "holds one" if choice.name in row else "is empty"
            raise RecipeError(f"column {choice.name!r} of {path} must {rule}, but row {number} {held}.")
