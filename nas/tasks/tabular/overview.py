"""A table of a table's columns for people: what each holds, what becomes of it, and some of its cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nas.tasks.deployed.cells import HOURS, PLAIN, CellForm
from nas.tasks.deployed.tabular import TabularPreparation
from nas.tasks.tabular.recognising import DATE, Recognised
from nas.tasks.tabular.targets import Target

MOST_COLUMNS, MOST_EXAMPLES, MOST_LETTERS = 40, 3, 16
TITLES = ("column", "type", "role", "missing", "examples")


def overview_of(frame: Any, roles: Mapping[str, str], recognised: Recognised) -> tuple[str, ...]:
    """Return a line for each column of a DataFrame, below a line of titles: type, role, missing cells and examples."""
    ordered = sorted(frame.columns, key=lambda name: roles[name] == "input")  # those that need a look come first
    shown = [*ordered] if len(ordered) <= MOST_COLUMNS else ordered[:MOST_COLUMNS]
    names = [name for name in frame.columns if name in set(shown)]
    lines = [TITLES, *(_cells_of(name, frame[name], roles[name], recognised) for name in names)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    found = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    left = len(frame.columns) - len(names)
    return (*found, *([f"and {left:,} more columns"] if left else []))


def roles_of(
    frame: Any,
    target: Target,
    preparation: TabularPreparation,
    unused: Iterable[str],
    group: str | None,
    order: str | None,
) -> dict[str, str]:
    """Return the role of each column of a DataFrame in a few words."""
    found = dict.fromkeys(frame.columns, "left out")
    found |= dict.fromkeys(preparation.columns, "input") | dict.fromkeys(unused, "dropped")
    found |= {group: "group"} if group is not None else {}
    found |= {order: "order"} if order is not None and order in found else {}
    kind = f"{len(target.classes)} classes" if target.is_classes else "values"
    return found | {target.name: f"target, {kind}"}


def _cells_of(name: str, series: Any, role: str, recognised: Recognised) -> tuple[str, ...]:
    missing = int(series.isna().sum())
    share = f" ({100 * missing / len(series):.1f} %)" if missing else ""
    form = recognised.forms.get(name, PLAIN)
    source = series if name not in recognised.cells else [cell for cells in recognised.cells[name] for cell in cells]
    return (_short(name), _type_of(series, form), role, f"{missing:,}{share}", _examples(series, source))


def _type_of(series: Any, form: CellForm) -> str:
    from pandas.api import types

    if form.part == HOURS:
        return "time"
    if form.part == DATE or types.is_datetime64_any_dtype(series.dtype):
        return f"date, {form.order}" if form.order else "date"
    if types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype):
        more = ["decimal comma"] if form.decimal == "," and bool((series.dropna() % 1 != 0).any()) else []
        return ", ".join(["number", *more, *([form.unit] if form.unit else [])])
    return f"category, {series.nunique():,} different"


def _examples(series: Any, source: Any) -> str:
    """Return a few different cells that are not missing, as the file has them."""
    found: dict[str, None] = {}
    for is_missing, cell in zip(series.isna(), source, strict=False):
        if not is_missing:
            found[_text(cell)] = None
        if len(found) == MOST_EXAMPLES:
            break
    return " | ".join(map(_short, found))


def _text(cell: Any) -> str:
    return f"{cell:.6g}" if isinstance(cell, float) else " ".join(str(cell).split())


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
