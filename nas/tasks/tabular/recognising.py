"""Finding how the columns of CSV files are written: decimal signs, thousands, units, dates, and missing values."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.errors import first_few
from nas.tasks.deployed.cells import (
    HOURS,
    LONGEST,
    MARKS,
    MISSING,
    NUMBER_MARKS,
    PARTS,
    PLAIN,
    CellForm,
    digits_number,
    is_missing,
    is_unclear,
    moment_in,
    number_and_unit,
    plain_number,
)
from nas.tasks.deployed.csv_file import UNKNOWN, CsvForm

Frame = Any
DATES = ("auto", "dmy", "mdy", "ymd", "text")
"""What a user may say of dates: the order of day, month and year, or that they are text."""
DECIMALS = ("auto", ".", ",")
DATE = "date"
"""The part of the form of a column of dates, of which models get several parts."""
FEWEST_WITH_UNIT = 3
"""Codes such as 2WD and 4WD are no numbers: a column with a unit has at least so many different ones."""


@dataclass(frozen=True)
class Wished:
    """What a user says of how a table is written; the rest is found by looking.

    Attributes:
        csv_form: the delimiter and the encoding.
        decimal: one of DECIMALS.
        dates: one of DATES.
        missing: further texts that stand for a missing value.
    """

    csv_form: CsvForm = UNKNOWN
    decimal: str = "auto"
    dates: str = "auto"
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recognised:
    """How the text of files became columns of numbers, dates and categories.

    Attributes:
        wished: what the user says of it.
        forms: by column, how its cells are written; a column of plain numbers or of categories has none.
        cells: by column that has a form, its text in each table.
        told: sentences about what was taken, and the options that decide.
        doubts: sentences about what could as well be something else.
    """

    wished: Wished = Wished()
    forms: Mapping[str, CellForm] = field(default_factory=dict)
    cells: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def with_text(self, name: str, frame: Frame, place: int) -> Frame:
        """Return a table with the text of a column that has a form; ``place`` is that of the table among others."""
        return frame.assign(**{name: list(self.cells[name][place])})


@dataclass
class _Column:
    """A column: its different texts but for missing values, and how they are read, if they are no categories."""

    name: str
    texts: list[str]
    marks: list[str]
    named: Collection[str]
    """Texts that the user named as missing."""
    may_have_marks: bool = True
    digits: list[str] = field(default_factory=list)
    unit: str = ""
    is_plain: bool = False
    decimals: str = ""
    """The decimal signs that all numbers may have; none if some text is no number."""
    form: CellForm = PLAIN
    values: dict[str, Any] | None = None

    @property
    def is_whole(self) -> bool:
        """True for numbers without any sign in them."""
        return not any("." in each or "," in each for each in self.digits)

    @property
    def looks_grouped(self) -> bool:
        """True if numbers below a thousand have no sign, and larger ones have: 999 beside 1.234."""
        whole = [each for each in self.digits if each.isdigit()]
        return bool(whole) and len(whole) < len(self.digits) and max(map(len, whole)) <= 3

    def read_as(self, form: CellForm, read: Callable[[str], Any]) -> None:
        """Take a form for the column."""
        self.form, self.values = form, {text: read(text) for text in self.texts}


def recognised(
    frames: Sequence[Frame], as_text: Collection[str], target: str, wished: Wished, delimiter: str
) -> tuple[list[Frame], Recognised]:
    """Return tables of text with numbers, dates and categories in its place, and how they were recognised.

    Columns ``as_text`` keep their text. The target is no date, and a class may be called "-".
    """
    import pandas

    names = dict.fromkeys(name for frame in frames for name in frame.columns if name not in as_text)
    columns = {name: _column(name, frames, wished.missing) for name in names}
    found = list(columns.values())
    if target in columns:
        columns[target].may_have_marks = False
    for column in found:
        _look_for_numbers(column)
    usual, doubts = _decide_numbers(found, wished.decimal, delimiter)
    if wished.dates != "text":
        undecided = [each for each in found if each.values is None and each.name != target]
        doubts += _decide_dates(undecided, wished.dates, is_european=usual == "," or delimiter == ";")
    forms = {each.name: each.form for each in found if each.form != PLAIN}
    cells = {name: [frame[name].tolist() if name in frame.columns else [] for frame in frames] for name in forms}
    made = [
        pandas.DataFrame({name: _typed(frame[name], columns.get(name), wished.missing) for name in frame.columns})
        for frame in frames
    ]
    return made, Recognised(wished, forms, cells, tuple(_told(found)), tuple(doubts))


def _column(name: str, frames: Sequence[Frame], missing: Collection[str]) -> _Column:
    every = dict.fromkeys(text for frame in frames if name in frame.columns for text in frame[name].unique().tolist())
    marks = {text: None for text in every if text in missing or is_missing(text, NUMBER_MARKS)}
    return _Column(name, [text for text in every if text not in marks], list(marks), missing)


def _typed(cells: Any, column: _Column | None, named: Collection[str]) -> Any:
    """Return a column of a table as numbers, dates, or categories with None for missing ones.

    One that keeps its text misses the texts alone that are ``named`` as missing.
    """
    import pandas

    texts = cells.tolist()
    if column is None:
        kept = [None if isinstance(text, str) and text.strip() in named else text for text in texts]
        return pandas.Series(kept, index=cells.index, dtype=object) if named else cells
    if column.values is None:
        stays = {text for text in column.marks if not _is_missing_category(text, column)}
        missing = set(column.marks) - stays
        return pandas.Series([None if text in missing else text for text in texts], index=cells.index, dtype=object)
    kind = "datetime64[us]" if column.form.part == DATE else "float64"
    nothing = None if column.form.part == DATE else math.nan
    return pandas.Series([column.values.get(text, nothing) for text in texts], index=cells.index, dtype=kind)


def _is_missing_category(text: str, column: _Column) -> bool:
    """Return True unless a mark is a category: a word such as "none", or the minus beside a plus."""
    is_mark = text.lower() in MARKS and column.may_have_marks and "+" not in column.texts
    return is_mark or text in MISSING or text in column.named


# Numbers


def _look_for_numbers(column: _Column) -> None:
    """Find out which decimal signs the texts of a column may have."""
    try:
        column.values = {text: plain_number(text) for text in column.texts}
        column.is_plain, column.decimals = True, "."
        bare = [text.lstrip("+-") for text in column.texts]
        column.digits = list(itertools.takewhile(lambda each: is_unclear(each) or _is_whole(each), bare))
        if len(column.digits) == len(bare):
            column.decimals = ".,"
        else:
            column.digits = ["."] if any("." in each for each in bare) else []
        return
    except ValueError:
        column.values = None
    try:
        parts = [number_and_unit(text) for text in column.texts]
    except ValueError:
        return
    column.digits = [digits for _, digits, _ in parts]
    units = {unit for _, _, unit in parts if unit}
    if len(units) > 1 or (units and len(set(column.digits)) < FEWEST_WITH_UNIT):
        return
    column.unit = next(iter(units), "")
    column.decimals = "".join(sign for sign in ".," if _all_have(sign, column.digits))


def _is_whole(text: str) -> bool:
    return text.isdigit() and len(text) <= LONGEST


def _all_have(sign: str, digits: Iterable[str]) -> bool:
    try:
        for each in digits:
            digits_number(each, sign)
    except ValueError:
        return False
    return True


def _decide_numbers(columns: Sequence[_Column], wish: str, delimiter: str) -> tuple[str, list[str]]:
    """Take the decimal sign of each column of numbers, by the other columns where its own cells do not tell it.

    Return the sign of most columns, empty if they do not tell it or contradict, and sentences about doubts.
    """
    signs = {each.decimals for each in columns if len(each.decimals) == 1 and not each.is_whole}
    usual = wish if wish != "auto" else signs.pop() if len(signs) == 1 else ""
    doubts = []
    for each in columns:
        if not each.decimals:
            continue
        sign = usual if usual in each.decimals else ""
        if not sign and len(each.decimals) == 1:
            sign = each.decimals
        elif not sign and each.is_whole:
            sign = "."
        elif not sign:
            sign = "," if delimiter == ";" and (not each.is_plain or each.looks_grouped) else "."
            doubts += _doubt_of_thousands(each, sign)
        if each.is_plain and sign == ".":
            continue
        form = CellForm(sign, each.unit)
        each.read_as(form, form.read)
    return usual, doubts


def _doubt_of_thousands(column: _Column, sign: str) -> list[str]:
    unclear = next((each for each in column.digits if is_unclear(each)), None)
    if unclear is None:
        return []
    return [
        f"column {column.name} is read with {sign} as its decimal sign, so {unclear} is "
        f"{digits_number(unclear, sign):.10g}. If that is wrong, set data.decimal='{'.' if sign == ',' else ','}'."
    ]


# Dates and times


def _decide_dates(columns: Iterable[_Column], wish: str, is_european: bool) -> list[str]:
    """Find the columns of dates and times, and take the order of day, month and year. Return doubts."""
    unclear: list[tuple[_Column, dict[str, _Dates]]] = []
    seen = set()
    for column in columns:
        if not column.texts or _are_hours(column):
            continue
        fitting = _dates_by_order(column.texts, wish)
        if len(fitting) > 1:
            unclear.append((column, fitting))
        for order, values in fitting.items() if len(fitting) == 1 else ():
            seen.add(order)
            column.form, column.values = CellForm(order=order, part=DATE), values
    doubts = []
    for column, fitting in unclear:
        order = next((each for each in fitting if seen - {"ymd"} == {each}), "")
        if not order:
            order, other = ("mdy", "dmy") if "/" in column.texts[0] and not is_european else ("dmy", "mdy")
            doubts.append(
                f"{column.texts[0]} in column {column.name} is read as {fitting[order][column.texts[0]]:%d %B %Y}. "
                f"If that is wrong, set data.dates={other}."
            )
        column.form, column.values = CellForm(order=order, part=DATE), fitting[order]
    return doubts


_Dates = dict[str, datetime.datetime]


def _dates_by_order(texts: Sequence[str], wish: str) -> dict[str, _Dates]:
    """Return dates by text, by each order of day, month and year that suits all texts and gives other dates."""
    is_year_first = all(text[:4].isdigit() for text in texts)
    orders = ["ymd"] if is_year_first else ["dmy", "mdy"] if wish == "auto" else [wish]
    found = {order: dates for order in orders if (dates := _dates(texts, order)) is not None}
    if len(found) > 1 and found["dmy"] == found["mdy"]:
        del found["mdy"]
    if not found and wish == "auto" and (dates := _dates(texts, "ymd")) is not None:
        found["ymd"] = dates
    return found


def _dates(texts: Iterable[str], order: str) -> _Dates | None:
    try:
        return {text: moment_in(text, order) for text in texts}
    except (ValueError, OverflowError):
        return None


def _are_hours(column: _Column) -> bool:
    form = CellForm(part=HOURS)
    try:
        column.read_as(form, form.read)
    except ValueError:
        return False
    return True


# What is told


def _told(columns: Iterable[_Column]) -> list[str]:
    """Return sentences about the columns that are not written as Python writes numbers and text."""
    numbers, dates, marks = [], [], []
    for each in columns:
        values = each.values or {}
        if each.form.part:
            dates.append(f"{each.name} ({_shown(each.texts[0], values)})")
        elif each.form != PLAIN and (example := next((text for text in each.texts if not text.isdigit()), "")):
            numbers.append(f"{each.name} ({_shown(example, values)})")
        new = [text for text in each.marks if text not in MISSING]
        new = [text for text in new if each.values is not None or _is_missing_category(text, each)]
        marks += [f"{first_few([repr(text) for text in new])} in {each.name}"] if new else []
    found = []
    if numbers:
        found.append(f"read as numbers: {first_few(numbers)}. data.decimal=. or , sets the decimal sign.")
    if dates:
        found.append(
            f"read as dates and times: {first_few(dates)}. Models get the {', '.join(PARTS[:-1])} of a date, and the "
            "days since 1970. data.dates sets the order of day, month and year."
        )
    if marks:
        found.append(f"taken for missing values: {first_few(marks)}. data.missing names others.")
    return found


def _shown(text: str, values: Mapping[str, Any]) -> str:
    value = values[text]
    if isinstance(value, float):
        return f"{text} is {value:.10g}"
    return f"{text} is {value:%d %B %Y}{f' {value:%H:%M}' if value.hour or value.minute else ''}"
