"""Cells of text as numbers, dates and times, in the ways in which the spreadsheets of many countries write them."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

MISSING = frozenset(
    ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "null", "NULL", "None", "NaT")
)
"""Texts that stand for a missing value."""
_WORDS = "- -- --- – — n.a. k.a. n.d. #n/a #na #nv #n/d #nd (null) \\n"
_ERRORS = "#div/0! #value! #wert! #valeur! #¡valor! #ref! #bezug! #name? #num! #zahl!"
MARKS = frozenset(f"{_WORDS} {_ERRORS}".split())
"""Further texts that stand for a missing value, in small letters, unless training took one for a category."""
NUMBER_MARKS = MARKS | frozenset(
    (".", "..", "...", "na", "n/a", "n.a", "nan", "null", "nil", "none", "n/d", "nd", "s/d", "k. a.", "н/д")
)
"""Texts that stand for a missing number or date, in small letters."""
LONGEST = 40
"""Numbers and dates have at most so many characters."""
PARTS = ("year", "month", "day", "weekday", "hour", "days")
"""What models get of a date: Monday is weekday 0, and days count from 1970, with fractions."""
HOURS = "hours"
"""What models get of a time of day, or of a duration."""
_SIGNS = "€ $ £ ¥ ₹ ₽ ₺ ₩ ₪ ฿ ₫ ₴ r$ us$ a$ c$ hk$ nt$ kr kr. rs rs. fr fr. sfr sfr. zł kč ft lei rm rp"
_CODES = "eur usd gbp jpy cny inr rub try krw chf sek nok dkk pln czk huf ron bgn brl mxn cad aud nzd zar"
_CURRENCIES = frozenset(f"{_SIGNS} {_CODES}".split())
"""What may stand before a number, in small letters."""
_SPACES = "'’\u00a0\u202f\u2009 "
"""What separates thousands, beside a comma or a point."""
_CELL = re.compile(
    r"(?P<sign>[+-]?)(?P<before>(?:[^\d\s.,+()'’-]{1,4}\.?)?)\s*(?P<inner>[+-]?)"
    rf"(?P<digits>[.,]?\d(?:[\d.,{_SPACES}]*\d)?[.,]?)(?P<power>[eE][+-]?\d+)?\s*(?P<after>[^\d\s][^\d]*)?"
)
_UNIT = re.compile(r"[^\W\d_]|[%‰°$€£¥₹₽₺₩]")
_DIGITS = {
    sign: re.compile(
        rf"\d*{re.escape(sign)}?\d*"
        rf"|[1-9]\d{{0,2}}(?P<by>[{other}{_SPACES}])(?:\d{{2,3}}(?P=by))*\d{{3}}(?:{re.escape(sign)}\d*)?"
    )
    for sign, other in ((".", ","), (",", "."))
}
"""The digits of a number by its decimal sign. Groups have three digits; in India, all but the last have two."""
_UNCLEAR = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
"""One sign before three digits, which may be the decimal sign, or separate thousands."""


def plain_number(text: str) -> float:
    """Return a number as Python reads it. Raises ValueError."""
    if "_" in text:  # which Python allows between digits
        raise ValueError(text)
    return float(text)


def number_and_unit(text: str) -> tuple[str, str, str]:
    """Return the sign of a number, its digits, and the unit or currency around it. Raises ValueError if it is none."""
    text = text.replace("−", "-")
    is_bracketed = text.startswith("(") and text.endswith(")")  # as accountants write negative numbers
    found = _CELL.fullmatch(text[1:-1] if is_bracketed else text) if len(text) <= LONGEST else None
    if found is None:
        raise ValueError(text)
    before, after = found["before"], (found["after"] or "").strip()
    signs = [sign for sign in (found["sign"], found["inner"], "-" if is_bracketed else "") if sign]
    digits = found["digits"] + (found["power"] or "")
    if after in ("-", "–", "—"):  # "12,-" has no cents, and "12-" is negative
        signs += [] if found["digits"][-1] in ".," else ["-"]
        after = ""
    is_unit = not after or _UNIT.search(after) is not None
    if len(signs) > 1 or (before and (after or before.lower() not in _CURRENCIES)) or not is_unit:
        raise ValueError(text)
    return "".join(signs), digits, before or after


def digits_number(digits: str, decimal: str) -> float:
    """Return digits as a number with this decimal sign. Raises ValueError if they cannot have it."""
    mantissa, *power = re.split("[eE]", digits, maxsplit=1)
    if not _DIGITS[decimal].fullmatch(mantissa):
        raise ValueError(digits)
    bare = re.sub(rf"[{',' if decimal == '.' else '.'}{_SPACES}]", "", mantissa).replace(decimal, ".")
    return float("e".join([bare, *power]))


def is_unclear(digits: str) -> bool:
    """Return True for digits such as 1.234, which may be a thousand or one."""
    return _UNCLEAR.fullmatch(digits) is not None


@dataclass(frozen=True)
class CellForm:
    """How the cells of a column are written. By default they are plain numbers.

    Attributes:
        decimal: the decimal sign; without it, numbers are written as in Python.
        unit: the unit or currency that stands at numbers.
        order: the order of day, month and year in dates: dmy, mdy or ymd.
        part: what is taken of a date or time, one of PARTS or HOURS; empty for numbers.
    """

    decimal: str = ""
    unit: str = ""
    order: str = ""
    part: str = ""

    def number(self, value: object) -> float:
        """Return a cell that is not missing as a number. Raises ValueError, which says what it must be."""
        try:
            found = self.read(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"must be {self.in_words}, but got {value!r:.60}") from None
        if math.isinf(found):
            raise ValueError(f"must be finite, but got {value!r:.60}")
        return found

    def read(self, value: object) -> float:
        """Return a cell that is not missing as a number, which may be infinite. Raises ValueError, or TypeError."""
        if self.part:
            return self._of_time(value)
        if not isinstance(value, str):
            return float(cast(Any, value))
        return self._signed(value.strip()) if self.decimal else plain_number(value.strip())

    def _signed(self, text: str) -> float:
        sign, digits, unit = number_and_unit(text)
        if unit not in ("", self.unit):
            raise ValueError(text)
        found = digits_number(digits, self.decimal)
        return -found if sign == "-" else found

    def _of_time(self, value: object) -> float:
        if self.part == HOURS:
            return hours_in(value) if isinstance(value, str) else float(cast(Any, value))
        return part_of(moment_in(value, self.order), self.part)

    @property
    def in_words(self) -> str:
        """What a cell must be."""
        if self.part:
            return "a time such as 14:30" if self.part == HOURS else f"a date such as {example_of(self.order)}"
        how = [f"with {self.decimal} as decimal sign"] if self.decimal else []
        how += [f"in {self.unit}"] if self.unit else []
        return " ".join(["a number", *how])


PLAIN = CellForm()
"""Plain numbers."""


# Dates and times

_MONTHS = tuple(
    tuple(line.split())
    for line in (
        "january february march april may june july august september october november december",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "januari februari maart april mei juni juli augustus september oktober november december",
    )
)
_NAME = r"[^\W\d_]{3,10}\.?"
_DATES = tuple(
    re.compile(each)
    for each in (
        r"(?P<first>\d{1,4})(?P<by>[./-]|\. |年)(?P<second>\d{1,2})(?:(?P=by)|月)(?P<third>\d{1,4})[.日]?",
        rf"(?P<day>\d{{1,2}})\.?[ /-](?P<name>{_NAME}),?[ /-](?P<year>\d{{4}}|\d{{2}})",
        rf"(?P<name>{_NAME}) (?P<day>\d{{1,2}}),? (?P<year>\d{{4}})",
        r"(?P<year>\d{4})[./-](?P<month>\d{1,2})",
        r"(?P<month>\d{1,2})[./-](?P<year>\d{4})",
        rf"(?P<name>{_NAME})[ -](?P<year>\d{{4}}|(?<=-)\d{{2}})",
    )
)
_TIME = (
    r"(?P<hour>\d{1,3}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d(?:[.,]\d{1,9})?))?"
    r"(?:\s?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_TIME_ALONE = re.compile(_TIME)
_TIME_AFTER = re.compile(rf"(?:T|,?\s+){_TIME}\s?(?:Z|UTC|[+-]\d\d:?\d\d)?$")
_EPOCH = datetime.datetime(1970, 1, 1)
_CENTURY_FROM = 70
"""Years of two digits from here on are those of 1900."""


def moment_in(value: object, order: str) -> datetime.datetime:
    """Return a date, with its time if it has one, as its clock shows it. Raises ValueError if there is none."""
    if isinstance(value, datetime.datetime):
        plain = value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
        return cast(datetime.datetime, plain).replace(tzinfo=None)
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    if not isinstance(value, str) or len(value) > LONGEST:
        raise ValueError(value)
    text, hours = value.strip(), 0.0
    if after := _TIME_AFTER.search(text):
        text, hours = text[: after.start()], _hours(after)
        if hours >= 24:
            raise ValueError(value)
    found = next(filter(None, (each.fullmatch(text) for each in _DATES)), None)
    if found is None:
        raise ValueError(value)
    return datetime.datetime(*_year_month_day(found, order)) + datetime.timedelta(hours=hours)


def _year_month_day(found: re.Match[str], order: str) -> tuple[int, int, int]:
    parts = found.groupdict()
    if "first" in parts:
        first = parts["first"]
        order = "ymd" if len(first) == 4 else order
        if (len(first), len(parts["third"])) not in ((4, 1), (4, 2), (1, 2), (2, 2), (1, 4), (2, 4)):
            raise ValueError(found.string)
        by_sign = dict(zip(order, (first, parts["second"], parts["third"]), strict=True))
        year, month, day = by_sign["y"], int(by_sign["m"]), int(by_sign["d"])
    else:
        year, day = parts["year"], int(parts.get("day") or 1)
        month = int(parts["month"]) if "month" in parts else _month_named(parts["name"])
    number = int(year)
    if len(year) <= 2:
        number += 1900 if number >= _CENTURY_FROM else 2000
    return number, month, day


def _month_named(name: str) -> int:
    start = name.lower().rstrip(".")
    (month,) = {place for names in _MONTHS for place, each in enumerate(names, 1) if each.startswith(start)}
    return month


def _hours(found: re.Match[str]) -> float:
    hour = int(found["hour"])
    if half := found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(found.string)
        hour = hour % 12 + (12 if half in "Pp" else 0)
    return hour + int(found["minute"]) / 60 + float((found["second"] or "0").replace(",", ".")) / 3600


def hours_in(text: str) -> float:
    """Return a time of day, or a duration, in hours. Raises ValueError if there is none."""
    found = _TIME_ALONE.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    return _hours(found)


def part_of(moment: datetime.datetime, part: str) -> float:
    """Return one of PARTS."""
    if part == "hour":
        return moment.hour + moment.minute / 60 + moment.second / 3600
    if part == "days":
        return (moment - _EPOCH) / datetime.timedelta(days=1)
    return float(moment.weekday() if part == "weekday" else getattr(moment, part))


def example_of(order: str) -> str:
    """Return the last day of 2023, written in an order."""
    by_sign = {"d": "31", "m": "12", "y": "2023"}
    return ("-" if order == "ymd" else "/").join(by_sign[sign] for sign in order)


# Missing values


def is_missing(text: str, marks: Collection[str] = ()) -> bool:
    """Return True for text that stands for a missing value, or is one of ``marks`` in small letters."""
    return text in MISSING or text.lower() in marks
