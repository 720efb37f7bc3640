"""Tables of models as text and as HTML, given as columns; and choices in the room that is left beside them."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from nas.space.architecture import Architecture, choices_within
from nas.values.metric import bare_range

MOST_SHOWN = 12
"""The most models that a table shows, so that it fits on a screen."""
TEXT_WIDTH, MOST_CHOICES = 120, 80
"""The widths of a text, and of choices in a notebook's table."""
Column = Sequence[str]
"""The header of a column and its cells."""


def aligned(columns: Sequence[Column]) -> list[str]:
    """Return a line for each row, with columns of equal width."""
    padded = []
    for column in columns:
        width = column_width(column)
        padded.append([cell + " " * (width - cell_len(cell)) for cell in column])
    return ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]


def column_width(column: Column) -> int:
    """Return the cells that a column takes in a terminal."""
    return max(map(cell_len, column))


def total_width(columns: Iterable[Column]) -> int:
    """Return the cells that all columns take, each with two blanks after it."""
    return sum(column_width(column) + 2 for column in columns)


def html_table(caption: str, columns: Sequence[Column], below: Iterable[str]) -> str:
    """Return a table for a notebook, with paragraphs below it; everything in it is escaped."""
    head, *body = zip(*columns, strict=True) if columns else [()]
    rows = f"<thead>{_html_row(head, 'th')}</thead><tbody>{''.join(_html_row(row, 'td') for row in body)}</tbody>"
    table = f"<table><caption>{html.escape(caption)}</caption>{rows if columns else ''}</table>"
    return "".join([table, *(f"<p>{html.escape(text)}</p>" for text in below)])


def _html_row(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def within_bounds(told: tuple[str, str], *, ranges: bool = True) -> str:
    """Return a value and its bounds in one cell, ``0.21 ms (0.2088–0.2131)``, or the value alone."""
    value, bounds = told
    return f"{value} ({bare_range(value, bounds)})" if bounds and ranges else value


def choices_column(shown: Iterable[Architecture], reference: Architecture | None, width: int) -> list[str]:
    """Return the column of choices: those of ``reference``, and in what the others differ from it."""
    if reference is None:
        return ["choices"]
    title = f"choices beside {reference.id}"[:width]
    return [title, *(differing_choices(each, reference, width) for each in shown)]


def differing_choices(architecture: Architecture, reference: Architecture, width: int) -> str:
    """Return the choices in which an architecture differs from ``reference``, in at most ``width`` cells.

    The reference itself shows its own choices. What does not fit is counted: ``stem=24 and 7 more``.
    """
    if architecture == reference:
        return choices_within(architecture, width, length=cell_len)
    changed = architecture.changed_from(reference)
    gone = [name for name in reference if name not in architecture]
    return choices_within(changed, width, start="differs in ", gone=gone, length=cell_len)


def wrapped(text: str, width: int = TEXT_WIDTH, bullet: str = "") -> list[str]:
    """Return a text in lines of at most ``width`` characters, which do not break within words."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_on_hyphens=False,
        break_long_words=False,
    )
