"""Read a table of architectures: CSV, gzip or plain, one architecture a row, as ``measured_table`` writes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np

from nas.errors import RecipeError, did_you_mean
from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import HasCanonical, SearchSpace, is_active
from nas.tables.row_space import RowSpace
from nas.tables.table_file import numbers_in, read_cells
from nas.values.pareto import FloatArray

MOST_NAMED = 8
LEAST_VALUE, MOST_VALUE = 1e-12, 1e15
"""The bounds of measured values, in whatever unit they have. Beyond them a table is wrong, and sums overflow."""
MOST_SPREAD = 1e9
"""The largest ratio of two measured values of one metric."""
CHOICE = "choice."
"""The start of the column of a choice whose own name another column of a table has."""


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
        shown = ", ".join(self.names[:MOST_NAMED])
        shown += f" and {len(self.names) - MOST_NAMED} more" * (len(self.names) > MOST_NAMED)
        return f"Table {self.path}: {len(self):,} architectures, columns {shown or 'none'}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns apart from the choices."""
        return (*self.columns, *self._first_texts)

    def has_column(self, name: str) -> bool:
        """Return whether the table has a column of that name, with numbers or texts, apart from the choices."""
        return name in self.columns or name in self._first_texts

    def column(self, name: str, *, positive: bool = False) -> FloatArray:
        """Return the numbers of a column, shape (N,), NaN where it is empty.

        Raises:
            RecipeError: there is no such column; a value is no number; or, with ``positive``, a value is not above 0,
                or far beyond anything that can be measured, or far from the other values.
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
        if positive:
            self._check_measured(name, values)
            self._check_spread(name, values)
        return values

    def _check_measured(self, name: str, values: FloatArray) -> None:
        """Check that values are positive, and not far beyond anything that can be measured. Raises RecipeError."""
        if len(unfit := np.flatnonzero(values <= 0)):
            row = int(unfit[0])
            raise RecipeError(
                f"column {name!r} of {self.path} must be positive, but row {row + 1} holds {values[row]:g}."
            )
        if len(absurd := np.flatnonzero((values < LEAST_VALUE) | (values > MOST_VALUE))):
            row = int(absurd[0])
            raise RecipeError(
                f"column {name!r} of {self.path} must hold values from {LEAST_VALUE:g} to {MOST_VALUE:g}, but row "
                f"{row + 1} holds {values[row]:g}."
            )

    def _check_spread(self, name: str, values: FloatArray) -> None:
        """Check that the largest value is not so far from the smallest one that no predictor could learn both."""
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            return
        low, high = (int(known[place(values[known])]) for place in (np.argmin, np.argmax))
        if values[high] > MOST_SPREAD * values[low]:
            raise RecipeError(
                f"the values in column {name!r} of {self.path} must be within a factor of {MOST_SPREAD:g}, but row "
                f"{low + 1} holds {values[low]:g} and row {high + 1} holds {values[high]:g}. Do they have one unit?"
            )

    @cached_property
    def first_rows(self) -> Mapping[Architecture, int]:
        """The first row of each architecture, from 0."""
        rows: dict[Architecture, int] = {}
        for row, architecture in enumerate(self.architectures):
            rows.setdefault(architecture, row)
        return rows

    def values(self, name: str) -> dict[Architecture, float]:
        """Return the positive numbers of a column by architecture, without empty cells.

        Where an architecture has several rows, the first one that is not empty counts.

        Raises:
            RecipeError: as ``column`` with ``positive``.
        """
        found: dict[Architecture, float] = {}
        for architecture, value in zip(self.architectures, self.column(name, positive=True).tolist(), strict=True):
            if not math.isnan(value):
                found.setdefault(architecture, value)
        return found

    def doubts_about(self, names: Iterable[str]) -> list[str]:
        """Return a sentence if architectures have several rows with different values in columns of these names."""
        if len(self.first_rows) == len(self):
            return []
        columns = [self.columns[name] for name in dict.fromkeys(names) if name in self.columns]
        differing: dict[Architecture, int] = {}
        for row, architecture in enumerate(self.architectures):
            first = self.first_rows[architecture]
            if any(column[row] != column[first] for column in columns if not math.isnan(column[row])):
                differing.setdefault(architecture, row)
        if not differing:
            return []
        row = next(iter(differing.values()))
        first = self.first_rows[self.architectures[row]]
        return [
            f"{len(differing)} of {len(self.first_rows)} architectures have several rows with different values in "
            f"{self.path}, such as rows {first + 1} and {row + 1}: the first row of each is used."
        ]

    def targets(self, metric: str) -> tuple[str, ...]:
        """The devices with a column of this metric, in the order of the columns."""
        prefix = f"{metric}_"
        return tuple(name.removeprefix(prefix) for name in self.names if name.startswith(prefix))


def read_table(path: Path | str, space: SearchSpace) -> Table:
    """Read the table at ``path``. A column for each choice holds the numbers of its options; it is empty if inactive.

    With a ``RowSpace``, the columns of choices hold the options themselves. Architectures are not made canonical:
    duplicate networks that are written differently stay separate rows.

    Raises:
        RecipeError: the file cannot be read or has no rows; a row is longer or shorter than the header; a choice has no
            column; a number is no option of its choice; or a number is missing.
    """
    path = Path(path)
    header, rows = read_cells(path)
    cells = dict(zip(header, zip(*rows, strict=True), strict=True))
    # Where another column has the name of a choice, that choice's column has a longer one.
    longer = {name.removeprefix(CHOICE) for name in header if name.startswith(CHOICE)}
    column_of = {choice.name: f"{CHOICE * (choice.name in longer)}{choice.name}" for choice in space.choices}
    missing = [name for name, column in column_of.items() if column not in cells]
    if missing:
        raise RecipeError(
            f"a table must have a column for each choice of its space, but {path} has none for {missing[0]!r}: "
            "it is a table of another space."
        )
    columns: dict[str, FloatArray] = {}
    first_texts: dict[str, tuple[int, str]] = {}
    for name in header:
        if name not in column_of.values():
            values = numbers_in(cells[name])
            if isinstance(values, np.ndarray):
                columns[name] = values
            else:
                first_texts[name] = values
    options = {name: cells[column] for name, column in column_of.items()}
    found = space.rows_in(path, options) if isinstance(space, RowSpace) else _architectures(path, space, options)
    return Table(path, found, columns, first_texts)


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
