"""Splitting rows: a share of each class, or of each range of values; whole groups that stay together; or by time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.errors import DataError
from nas.tasks.batches import IntArray
from nas.tasks.criteria import KINDS
from nas.tasks.dependence import NONE
from nas.tasks.moments import ROWS, in_utc, moments_of
from nas.tasks.splitting import check_share, groups_taken, latest, taken_of_each
from nas.tasks.tabular.columns import SCALINGS, place_of
from nas.tasks.tabular.reading import Frame, check_has
from nas.tasks.tabular.recognising import DATE, Recognised
from nas.tasks.tabular.targets import Target

MANY_GROUPS = 2000
BINS = 10
"""Values are split like classes: a share of each of so many ranges with equally many rows."""


def moments_in(
    frame: Frame, order: str | None, group: str | None, title: str, recognised: Recognised
) -> IntArray | None:
    """Return a number for each row, which grows with time; None without an ``order``.

    Models get times as the clock shows them, but rows are ordered in UTC.

    Raises:
        DataError: the column is missing, holds no times, or rows stay together by ``group`` already.
    """
    if order is None:
        return None
    if group is not None:
        raise DataError(
            f"rows are split by time or by group, but got the order {order!r} and the group {group!r}. Leave out one."
        )
    if order == ROWS and ROWS not in frame.columns:
        return np.arange(len(frame))
    check_has(frame, order, "order", title)
    times, where = frame[order], f"column {order}"
    if order in recognised.cells and recognised.forms[order].part == DATE:
        times = in_utc(times, recognised.cells[order][0], "data.order", where)
    return moments_of(times, "data.order", where)


def group_numbers(series: Any, title: str) -> IntArray:
    """Return the number of each row's group.

    Raises:
        DataError: a row has none. Such rows may have nothing in common.
    """
    import pandas

    missing = np.flatnonzero((series.isna() | (series.astype(str).str.strip() == "")).to_numpy())
    if len(missing):
        raise DataError(
            f"each row must have a group, but {title} has none in {place_of(int(missing[0]), str(series.name))}, and "
            f"in {len(missing)} of {len(series)} rows. Fill them in; a row that stands alone gets a name of its own."
        )
    numbers: IntArray = pandas.factorize(series)[0].astype(np.int64)
    return numbers


def split_rows(
    target: Target,
    rows: IntArray,
    share: float,
    seed: int,
    title: str,
    groups: IntArray | None = None,
    moments: IntArray | None = None,
) -> tuple[IntArray, IntArray]:
    """Return the rows that stay, and about ``share`` of them for the split called ``title``, each in order.

    Of each class at least one row is taken, but never the last one. Rows of a group, if ``groups`` gives a number for
    each row, stay together. With ``moments``, numbers that grow with time, the last rows are taken.

    Raises:
        DataError: there are too few rows, groups or moments.
    """
    if moments is not None:
        try:
            is_late = latest(moments[rows], share)
        except ValueError as error:
            why = "because data.order is the same in each row left"
            raise DataError(f"a {title} split cannot be taken by time, {why}. Leave data.order out.") from error
        return rows[~is_late], rows[is_late]
    labels = _labels(target, rows)
    if groups is not None:
        taken = _groups_taken(labels, groups[rows], share, seed, title)
    else:
        taken = taken_of_each(labels, share, seed)
    mask = np.zeros(len(rows), dtype=np.bool_)
    mask[taken] = True
    if mask.all() or not mask.any():
        raise DataError(f"a {title} split needs at least two rows of a class, but there are {len(rows)} rows in all.")
    return rows[~mask], rows[mask]


def _labels(target: Target, rows: IntArray) -> IntArray:
    values = target.values[rows]
    if target.is_classes:
        return values
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return (ranks * min(BINS, max(1, len(rows) // BINS)) // len(rows)).astype(np.int64)


def _groups_taken(labels: IntArray, groups: IntArray, share: float, seed: int, title: str) -> IntArray:
    """Return the rows of some groups, with about each class's share among them."""
    from sklearn.model_selection import StratifiedGroupKFold

    count = len(np.unique(groups))
    if count < 2:
        raise DataError(f"a {title} split needs at least 2 groups, because groups stay together, but got {count}.")
    is_single = np.bincount(groups)[groups] == 1
    if count > MANY_GROUPS and 2 * is_single.sum() > len(groups):  # scikit-learn would take seconds
        single, several = np.flatnonzero(is_single), np.flatnonzero(~is_single)
        taken = np.flatnonzero(groups_taken(labels[several], groups[several], share, seed)) if len(several) else several
        return np.concatenate([single[taken_of_each(labels[single], share, seed)], several[taken]])
    folds = min(count, max(2, round(1 / share)))
    if np.bincount(labels).max() < folds:  # which scikit-learn refuses, though groups are enough
        labels = np.zeros_like(labels)
    unused = np.zeros((len(labels), 1))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has fewer rows than there are folds
        found: IntArray = next(iter(splitter.split(unused, labels, groups)))[1]
    return found


def check_options(kind: str, scaling: str, validation_share: float | None, test_share: float) -> None:
    """Raise ValueError if an option has no such value."""
    for title, value, known in (("kind", kind, KINDS), ("scaling", scaling, SCALINGS)):
        if value not in known:
            raise ValueError(f"{title} must be one of {', '.join(known)}, but got {value!r}.")
    for title, share in (("validation_share", validation_share), ("test_share", test_share)):
        if share is not None:
            check_share(share, title)


def check_columns(
    frame: Frame, name: str, target: str, drop: Sequence[str], categories: Sequence[str], group: str | None
) -> None:
    """Raise DataError if a table called ``name`` lacks a column that is named."""
    named = [(target, "target"), *((each, "a dropped column") for each in drop)]
    named += [(each, "a column of categories") for each in categories]
    for column, what in [*named, *([(group, "group")] if group is not None and group != NONE else [])]:
        check_has(frame, column, what, name)
