"""The times of items: read from numbers or text, and recognised where nobody names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
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


def is_name_of_time(name: str) -> bool:
    """Return True if a column's name says that it holds times."""
    return _NAME.search(name.strip().lower()) is not None


def moments_of(values: Any, option: str, title: str, place: str = "row") -> IntArray:
    """Return a whole number for each value, which grows with time: equal times have equal ones.

    Values are numbers, dates, or text that holds numbers or dates such as 2024-05-31. ``option`` names them, and
    ``title`` is where they lie.

    Raises:
        DataError: a value is missing or no time; the message counts from 1, by ``place``.
    """
    import pandas
    from pandas.api import types

    series = pandas.Series(values).reset_index(drop=True)
    rule = f"{option} must name numbers or times such as 2024-05-31"
    if not types.is_numeric_dtype(series.dtype) and not types.is_datetime64_any_dtype(series.dtype):
        series = series.where(series.notna() & (series.astype(str).str.strip() != ""))
        read = pandas.to_numeric(series, errors="coerce")
        if read.notna().sum() < series.notna().sum():
            read = pandas.to_datetime(series, format="ISO8601", errors="coerce", utc=True)
        strange = np.flatnonzero((read.isna() & series.notna()).to_numpy())
        if len(strange):
            at = int(strange[0])
            raise DataError(f"{rule}, but {place} {at + 1} of {title} has {str(series.iloc[at])!r:.40}.")
        series = read
    missing = np.flatnonzero(series.isna().to_numpy())
    if len(missing):
        raise DataError(f"{rule}, but {place} {int(missing[0]) + 1} of {title} has none.")
    found: IntArray = np.unique(series.to_numpy(), return_inverse=True)[1].astype(np.int64)
    return found


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
