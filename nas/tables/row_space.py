"""A table as a search space: its rows are the architectures, and named columns are their choices and numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from nas.errors import RecipeError, SpaceError, did_you_mean
from nas.space.architecture import MOST_NAMES, MOST_OPTIONS, Architecture, Choice, Option
from nas.space.layer import Layer
from nas.space.listing import Listing
from nas.tables.table_file import numbers_in, read_cells
from nas.values.pareto import FloatArray

if TYPE_CHECKING:
    import torch

TABLE = "table"
"""The registered name of this space."""
_EXAMPLE = 'choices=["family", "resolution"]'


@final
class RowSpace:
    """The rows of a table of yours: columns are the choices, and others are known features. It has no layers.

    ``table`` is the path of a CSV file, plain or gzip. ``choices`` name columns of texts or numbers that tell rows
    apart. ``features`` name columns of numbers that are known of every row before it is evaluated, such as counts of
    operations. Rows with the same choices are one architecture: the first of them counts.

    ``notes`` are sentences about what was left out.

    Example::

        space = nas.RowSpace("models.csv", choices=["family", "width", "resolution"], features=["mflops"])

    Raises:
        RecipeError: the file cannot be read; a column is missing or named twice, or is empty in a row; a feature is no
            number; or no choice has different values.
    """

    def __init__(self, table: str | Path, choices: Sequence[str], features: Sequence[str] = ()) -> None:
        self.table = Path(os.path.expanduser(table))
        header, rows = read_cells(self.table)
        self._cells = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
        self.notes: list[str] = []
        asked = {"choices": _names("choices", choices), "features": _names("features", features)}
        if not asked["choices"]:
            raise RecipeError(f"the space {TABLE!r} needs columns of choices, such as {_EXAMPLE}, but got none.")
        check_uses(self.table, header, asked)
        self._texts: dict[str, dict[str, Option]] = {}
        found = [self._choice(name) for name in asked["choices"]]
        self.choices = tuple(choice for choice in found if choice is not None)
        if not self.choices:
            raise RecipeError(
                f"a choice must have different values in {self.table}, but {', '.join(asked['choices'])} "
                f"{'are all' if len(asked['choices']) > 1 else 'is'} constant. Choose other columns."
            )
        self._columns = {choice.name: np.array(choice.options) for choice in self.choices if choice.is_numeric}
        named = {name: self._feature(name) for name in asked["features"]}
        self._features = {name: values for name, values in named.items() if values is not None}
        architectures = self.rows_in(self.table, self._cells)
        self.listing = Listing(self.choices, architectures)
        self._first: dict[Architecture, int] = {}
        for row, architecture in enumerate(architectures):
            self._first.setdefault(architecture, row)
        self._tell_duplicates(architectures)
        del self._cells  # processes that are sent this space need no texts

    @cached_property
    def number_names(self) -> tuple[str, ...]:
        """The choices that are numbers, and the features."""
        return (*self._columns, *self._features)

    def numbers(self, architecture: Architecture) -> list[float]:
        """Return the numbers of an architecture: those of its choices, and the features of its row."""
        row = self._first[architecture]
        own = [float(architecture[name]) for name in self._columns]
        return [*own, *(float(values[row]) for values in self._features.values())]

    def layers(self, architecture: Architecture) -> Sequence[Layer]:
        """Return no layers: a row of a table has none."""
        return ()

    def build(self, architecture: Architecture) -> torch.nn.Module:
        """Raise SpaceError: a row of a table cannot be built."""
        raise SpaceError(
            f"a row of {self.table} is looked up, and cannot be built: {architecture.short}. Search it with "
            'evaluate = "table".'
        )

    def rows_in(self, path: Path, cells: Mapping[str, Sequence[str]]) -> tuple[Architecture, ...]:
        """Return the architecture of each row of a table at ``path``, given the texts of its columns by name.

        Raises:
            RecipeError: a text that the columns of this space's own table do not have.
        """
        columns = []
        for choice in self.choices:
            options = self._texts[choice.name]
            for number, text in enumerate(cells[choice.name], start=1):
                if text not in options:
                    raise RecipeError(
                        f"column {choice.name!r} of {path} must hold what it holds in {self.table}, but row {number} "
                        f"has {text!r}. {did_you_mean(text, options)}"
                    )
            columns.append([options[text] for text in cells[choice.name]])
        names = [choice.name for choice in self.choices]
        return tuple(Architecture(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))

    def _choice(self, name: str) -> Choice | None:
        """Return the choice of a column, with ascending options; None, with a note, if the column is constant."""
        cells = self._cells[name]
        _check_filled(self.table, name, cells, "a choice")
        numbers = numbers_in(cells)
        options: dict[str, Option] = {text: text for text in cells}
        if isinstance(numbers, np.ndarray):
            are_whole = bool((numbers == np.round(numbers)).all() and (np.abs(numbers) < 2**53).all())
            options = {text: int(n) if are_whole else n for text, n in zip(cells, numbers.tolist(), strict=True)}
        elif 2 * sum(isinstance(numbers_in([cell]), np.ndarray) for cell in options) > len(options):
            row, text = numbers
            self.notes.append(
                f"the choice {name!r} counts as texts, which have no order: most of its values are numbers, but row "
                f"{row} of {self.table} has {text!r}."
            )
        different = sorted(set(options.values()))
        if len(different) == 1:
            self.notes.append(f"the choice {name!r} is left out: it is {different[0]!r} in every row of {self.table}.")
            return None
        most = MOST_OPTIONS if isinstance(numbers, np.ndarray) else MOST_NAMES
        if len(different) > most:
            raise RecipeError(
                f"a choice must have at most {most:,} different {'numbers' if most == MOST_OPTIONS else 'texts'}, but "
                f"column {name!r} of {self.table} has {len(different):,}. Take it as a feature, or leave it out."
            )
        self._texts[name] = options
        try:
            return Choice(name, tuple(different))
        except ValueError as error:
            raise RecipeError(f"column {name!r} of {self.table} cannot be a choice: {error}") from error

    def _feature(self, name: str) -> FloatArray | None:
        """Return the numbers of a column; None, with a note, if it is constant."""
        cells = self._cells[name]
        _check_filled(self.table, name, cells, "a feature")
        values = known_numbers(self.table, name, cells, "a feature")
        if values.min() == values.max():
            self.notes.append(f"the feature {name!r} is left out: it is {cells[0]} in every row of {self.table}.")
            return None
        return values

    def _tell_duplicates(self, architectures: Sequence[Architecture]) -> None:
        again = [row for row, each in enumerate(architectures) if self._first[each] != row]
        if not again:
            return
        first = self._first[architectures[again[0]]]
        telling = [name for name, cells in self._cells.items() if len(set(cells)) == len(cells)]
        hint = f" With {telling[0]!r} among the choices, each row is one." if telling else ""
        self.notes.append(
            f"{len(again)} of {len(architectures):,} rows of {self.table} have the choices of an earlier row, such as "
            f"rows {first + 1} and {again[0] + 1}: the first of each is used.{hint}"
        )


def with_table(name: str, options: Mapping[str, Any], path: Path | str | None) -> dict[str, Any]:
    """Return the options of the space called ``name``; rows as a space also get the path of their table."""
    return {"table": str(path), **options} if name == TABLE and path is not None else dict(options)


def check_uses(path: Path, header: Sequence[str], uses: Mapping[str, Sequence[str]]) -> None:
    """Check that all columns of each use are in the ``header`` of a table, and that each has one use.

    Raises:
        RecipeError: a column is missing (the nearest name is given), or named twice.
    """
    seen: dict[str, str] = {}
    for use, names in uses.items():
        for name in names:
            if name not in header:
                parts = [part.strip() for part in name.split(",")]
                several = json.dumps(parts) if len(parts) > 1 and set(parts) <= set(header) else ""
                hint = f"Write {several} for these columns." if several else did_you_mean(name, header)
                raise RecipeError(f"{use} must be columns of {path}, but it has none named {name!r}. {hint}")
            if name in seen:
                where = f"twice in {use}" if seen[name] == use else f"in {seen[name]} and in {use}"
                raise RecipeError(f"a column of {path} has one use, but {name!r} is {where}. Leave one out.")
            seen[name] = use


def known_numbers(path: Path, name: str, cells: Sequence[str], use: str) -> FloatArray:
    """Return the numbers of a column, NaN where a cell is empty. Raises RecipeError for a text."""
    values = numbers_in(cells)
    if not isinstance(values, np.ndarray):
        row, text = values
        raise RecipeError(
            f"{use} must be a number in every row, but row {row} of {path} has {text!r} in column {name!r}. "
            "A column of texts can be a choice."
        )
    return values


def _check_filled(path: Path, name: str, cells: Sequence[str], use: str) -> None:
    empty = [row for row, cell in enumerate(cells, start=1) if not cell.strip()]
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise RecipeError(
            f"{use} must be known of every row, but column {name!r} of {path} is empty in row {empty[0]}{more}. Fill "
            "the cells, leave the rows out, or choose another column."
        )


def _names(use: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns, given as a list or as one text."""
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise RecipeError(f"{use} are a list of columns, such as {_EXAMPLE}, but got {given!r}.")
    return tuple(names)
