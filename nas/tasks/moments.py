"""The times of items: read from numbers or text, and recognised where nobody names them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.tasks.batches import IntArray

FEWEST = 40
"""Fewer items than this are not called a series."""
AUTOCORRELATION = 0.5
"""Targets of a series are at least so much like the one before."""
ROWS = "rows"
"""The order in which items lie in their file, where an option may name a column."""
_NAME = re.compile(r"(^|[^a-z])(time|date|datetime|timestamp|year|epoch|unixtime)([^a-z]|$)")

_ZONE = re.compile(r":\d\d.*?(?:Z|UTC|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)$")
"""The time zone after a time of day."""


def is_name_of_time(name: str) -> bool:
    """Return True if a column's name says that it holds times."""
    return _NAME.search(name.strip().lower()) is not None


def moments_of(values: Any, option: str, title: str, place: str = "row") -> IntArray:
    """Return a whole number for each value, which grows with time: equal times have equal ones.

    Values are numbers, dates, or text that holds numbers or dates such as 2024-05-31. Times with time zones are
    compared in UTC. ``option`` names values, and ``title`` is where they lie.

    Raises:
        DataError: a value is missing or no time, where the message counts from 1, by ``place``. Or only some have a
            time zone, or they are dates of eight digits that begin with the day or the month.
    """
    import pandas
    from pandas.api import types

    series = pandas.Series(values).reset_index(drop=True)
    rule = f"{option} must name numbers or times such as 2024-05-31"
    if not types.is_numeric_dtype(series.dtype) and not types.is_datetime64_any_dtype(series.dtype):
        series = series.where(series.notna() & (series.astype(str).str.strip() != ""))
        read = pandas.to_numeric(series, errors="coerce")
        if read.notna().sum() < series.notna().sum():
            zones_of(series.dropna().astype(str).unique(), option, title)
            read = pandas.to_datetime(series, format="ISO8601", errors="coerce", utc=True)
        strange = np.flatnonzero((read.isna() & series.notna()).to_numpy())
        if len(strange):
            at = int(strange[0])
            raise DataError(f"{rule}, but {place} {at + 1} of {title} has {str(series.iloc[at])!r:.40}.")
        series = read
    missing = np.flatnonzero(series.isna().to_numpy())
    if len(missing):
        raise DataError(f"{rule}, but {place} {int(missing[0]) + 1} of {title} has none.")
    values, places = np.unique(series.to_numpy(), return_inverse=True)
    if types.is_numeric_dtype(series.dtype):
        _check_digits(values.astype(np.float64), option, title)
    found: IntArray = places.astype(np.int64)
    return found


def in_utc(dates: Any, texts: Sequence[str], option: str, title: str) -> Any:
    """Return a column of pandas' dates in UTC, which were read from ``texts`` as the clock shows them.

    Raises:
        DataError: only some of the texts have a time zone.
    """
    import pandas

    zones = zones_of(
        dict.fromkeys(text for text, is_there in zip(texts, dates.notna(), strict=True) if is_there), option, title
    )
    return dates - pandas.Series([zones.get(text) or datetime.timedelta() for text in texts], index=dates.index)


def zones_of(texts: Iterable[str], option: str, title: str) -> dict[str, datetime.timedelta | None]:
    """Return how far the clock of each text is ahead of UTC, None without a time zone.

    Raises:
        DataError: some have a time zone, and others have none.
    """
    found = {text: _zone_of(text.strip()) for text in texts}
    with_zone = next((text for text, zone in found.items() if zone is not None), None)
    without = next((text for text, zone in found.items() if zone is None), None)
    if with_zone is not None and without is not None:
        raise DataError(
            f"{option} must name times that all have a time zone, or that all have none, but {title} has "
            f"{with_zone!r:.40} and {without!r:.40}. Write all of them in UTC."
        )
    return found


def _zone_of(text: str) -> datetime.timedelta | None:
    found = _ZONE.search(text)
    if found is None:
        return None
    ahead = datetime.timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    return -ahead if found["sign"] == "-" else ahead


def _check_digits(values: npt.NDArray[np.float64], option: str, title: str) -> None:
    """Check that sorted numbers are no dates such as 31122024, which as numbers are in another order."""
    if not ((values >= 1_01_1900) & (values <= 31_12_2100) & (values == np.rint(values))).all():
        return
    whole = values.astype(np.int64)
    year, parts = whole % 10_000, (whole // 1_000_000, whole // 10_000 % 100)
    for day, month in (parts, parts[::-1]):
        are_dates = (year >= 1900) & (year <= 2100) & (day >= 1) & (day <= 31) & (month >= 1) & (month <= 12)
        if are_dates.all() and (np.diff(year * 10_000 + month * 100 + day) < 0).any():
            raise DataError(
                f"{option} must name numbers or times such as 2024-05-31, but {title} has {whole[0]:08} and "
                f"{whole[-1]:08}, which look like days, months and years. Write the year first."
            )


def is_in_order(moments: npt.NDArray[Any]) -> bool:
    """Return True if numbers never fall, or never rise, and are not all the same."""
    steps = np.diff(moments)
    return bool(len(steps) and (steps != 0).any() and ((steps >= 0).all() or (steps <= 0).all()))


def autocorrelation(targets: npt.NDArray[Any], *, are_classes: bool) -> float:
    """Return how much targets, shape (N,), are like the one before: 0 by chance, 1 at most.

    Targets that are sorted, as in many files, are no series: they give 0.
    """
    if len(targets) < FEWEST or is_in_order(targets):
        return 0.0
    if not are_classes:
        before, after = targets[:-1].astype(np.float64), targets[1:].astype(np.float64)
        return float(np.corrcoef(before, after)[0, 1]) if before.std() and after.std() else 0.0
    changes = int((targets[1:] != targets[:-1]).sum())
    shares = np.unique(targets, return_counts=True)[1] / len(targets)
    by_chance = (1 - float((shares**2).sum())) * (len(targets) - 1)
    return 1 - changes / by_chance if changes >= len(shares) else 0.0


def series_warnings(
    targets: npt.NDArray[Any], noun: str, advice: str, *, are_classes: bool, sorted_by: Sequence[str] = ()
) -> list[str]:
    """Return a sentence if items look like a series, of which a random split shows models what comes next.

    ``targets``, shape (N,), are those of the items in the order of their file; ``sorted_by`` are columns of times by
    which it is sorted.
    """
    likeness = autocorrelation(targets, are_classes=are_classes)
    if sorted_by:
        why = f"they are sorted by {', '.join(sorted_by)}"
    elif likeness >= AUTOCORRELATION:
        why = f"each target is like the one before (autocorrelation {likeness:.2f})"
    else:
        return []
    return [
        f"{noun} look like a series, because {why}. They are split at random, so models are tested between {noun} that "
        f"they know, and test errors may look better than they will be later. {advice}"
    ]
