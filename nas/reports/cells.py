"""The parts of tables: cells with small print and a sort key, and columns, which say what is in the cells of a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from nas.space.architecture import Architecture

R = TypeVar("R")


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: the value for people.
        detail: small print below the value.
        sort: the key that the column is sorted by; None sorts last.
        kind: the CSS class.
        choices: an architecture's choices, which unfold on a click.
    """

    text: str
    detail: str = ""
    sort: float | str | None = None
    kind: str = ""
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def sort_text(self) -> str:
        """The sort key as text; an empty key sorts last."""
        if self.sort is None or (isinstance(self.sort, float) and not math.isfinite(self.sort)):
            return ""
        return f"{self.sort:.12g}" if isinstance(self.sort, float | int) else self.sort


NOTHING = Cell("–")


@dataclass(frozen=True)
class Column(Generic[R]):
    """A column: its header, and the cell of each row.

    Attributes:
        header: the header.
        cell: returns the cell of a row.
        is_numeric: True for a column of numbers, which stand below each other.
        small: the header of the small print, where that gets a column of its own, as in a terminal.
        on_page_alone: True for a column that a terminal has no room for.
    """

    header: str
    cell: Callable[[R], Cell]
    is_numeric: bool = False
    small: str = ""
    on_page_alone: bool = False


@dataclass(frozen=True)
class PageTable:
    """Headers, rows with one cell per header, and the headers of columns that hold numbers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rows: Iterable[R], columns: Sequence[Column[R]]) -> PageTable:
        """Return the table with these columns."""
        return cls(
            tuple(column.header for column in columns),
            tuple(tuple(column.cell(row) for column in columns) for row in rows),
            frozenset(column.header for column in columns if column.is_numeric),
        )


def architecture_cell(architecture: Architecture, of_training: Collection[str] = ()) -> Cell:
    """Return a cell with the architecture's short form, which unfolds into its choices.

    ``of_training`` names the choices that affect training only.
    """
    choices = tuple(
        (f"{name} (training)" if name in of_training else name, str(option)) for name, option in architecture.items()
    )
    short = architecture.short
    return Cell(short, sort=short, kind="architecture", choices=choices)
