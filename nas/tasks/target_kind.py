"""The rule that tells classes from values in every file and array, where the user does not say which they are."""

# Torch data sets say it by their type, as torch's losses do: class numbers are whole, and values are floats.

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.criteria import Kind

MOST_WHOLE_CLASSES, ITEMS_FOR_EACH_CLASS = 20, 5
"""Whole numbers with at most so many different ones, and at least so many items of each on average, are classes."""
MOST_NUMBERED_CLASSES, ITEMS_FOR_EACH_NUMBER, UNEQUAL = 1000, 2, 3
"""So are numbers that count from 0 or 1, if each has between a third and three times the average of items."""
RULE = (
    f"Text is a class. Whole numbers are classes if there are at most {MOST_WHOLE_CLASSES} different ones, or if they "
    "count from 0 or 1 and each is about as frequent. All other numbers are values."
)


def are_classes(targets: npt.NDArray[Any], kind: Kind = "auto") -> bool:
    """Return True if targets are classes: by what the user says, else by ``RULE``. Their type does not matter."""
    if kind != "auto":
        return kind == "classification"
    if targets.ndim > 1 and targets.shape[1] > 1:
        return False
    if targets.dtype.kind not in "iuf":
        return True
    if not _are_whole(targets):
        return False
    distinct, counts = np.unique(targets, return_counts=True)
    if len(distinct) <= min(MOST_WHOLE_CLASSES, len(targets) // ITEMS_FOR_EACH_CLASS):
        return True
    counts_up = distinct[0] in (0, 1) and distinct[-1] - distinct[0] + 1 == len(distinct)
    is_even = UNEQUAL * counts.min() >= counts.mean() >= counts.max() / UNEQUAL
    most = min(MOST_NUMBERED_CLASSES, len(targets) // ITEMS_FOR_EACH_NUMBER)
    return bool(counts_up and is_even and len(distinct) <= most)


def told_kind(name: str, targets: npt.NDArray[Any], is_classes: bool) -> tuple[str, ...]:
    """Return a sentence that tells what whole numbers were taken for; nothing for other targets, which are clear."""
    if targets.dtype.kind not in "iuf" or not _are_whole(targets):
        return ()
    if targets.ndim > 1 and targets.shape[1] > 1:
        return (f"{name} has {targets.shape[1]} numbers for each item, so they are values to predict, not classes.",)
    found = f"{name}: {len(np.unique(targets)):,} different whole numbers"
    if is_classes:
        return (f"{found}, so each is a class. If they are amounts or counts, set data.kind=regression.",)
    return (f"{found}, so they are values to predict. If each is a class, set data.kind=classification.",)


def _are_whole(targets: npt.NDArray[Any]) -> bool:
    return targets.dtype.kind != "f" or bool((targets == np.rint(targets)).all())
