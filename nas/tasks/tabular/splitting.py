"""Splitting rows: a share of each class, or of each range of values, or whole groups that stay together."""

from __future__ import annotations

import warnings

import numpy as np

from nas.errors import DataError
from nas.tasks.batches import IntArray
from nas.tasks.splitting import taken_of_each
from nas.tasks.tabular.targets import Target

BINS = 10
"""Values are split like classes: a share of each of so many ranges with equally many rows."""


def split_rows(
    target: Target, rows: IntArray, share: float, seed: int, title: str, groups: IntArray | None = None
) -> tuple[IntArray, IntArray]:
    """Return the rows that stay, and about ``share`` of them for the split called ``title``, each in order.

    Of each class at least one row is taken, but never the last one. Rows of a group, if ``groups`` gives a number for
    each row, stay together.

    Raises:
        DataError: there are too few rows or groups.
    """
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

    folds = max(2, round(1 / share))
    count = len(np.unique(groups))
    if count < folds:
        raise DataError(f"a {title} split needs at least {folds} groups for a share of {share:g}, but got {count}.")
    if np.bincount(labels).max() < folds:  # which scikit-learn refuses, though groups are enough
        labels = np.zeros_like(labels)
    unused = np.zeros((len(labels), 1))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has fewer rows than there are folds
        found: IntArray = next(iter(splitter.split(unused, labels, groups)))[1]
    return found
