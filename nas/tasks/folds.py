"""The folds of a task: its training and validation items, divided into parts of which each is left out once.

A validation split of a few items gives many candidates the same error. Cross-validation (Stone 1974) tests each on all.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.tasks.batches import IntArray, Joined, Part, groups_of, targets_of
from nas.tasks.task import Task
from nas.tasks.task_to_fit import WithSplits

SEED = 0  # fixed, so that all candidates are tested on the same parts


def folds_of(task: Task, count: int) -> list[WithSplits]:
    """Return ``count`` tasks, each of which trains on all parts but one, and validates by that.

    Classes are as frequent in each part where they are known, and items of one group, such as the windows of a
    recording, are in one part.

    Raises:
        DataError: the items cannot be divided so.
    """
    check_folds(task, count)
    whole = Joined((task.train, task.validation))
    everything = np.arange(len(whole))
    return [
        WithSplits(task, Part(whole, np.setdiff1d(everything, places)), Part(whole, places))
        for places in parts_of(task, count)
    ]


def check_folds(task: Task, count: int) -> None:
    """Check that a task can be divided into folds. Raises DataError if not."""
    if task.why_one_fold:
        raise DataError(f"training.folds must be 1, because {task.why_one_fold}, but got {count}.")
    items = most_folds(task)
    if count > items:
        what = task.noun if numbered_groups(task) is None else f"groups of {task.noun}"
        raise DataError(f"training.folds must be at most the number of {what}, {items}, but got {count}.")


def most_folds(task: Task) -> int:
    """Return the number of groups among the training and validation items, or of items if these have no groups."""
    groups = numbered_groups(task)
    return len(task.train) + len(task.validation) if groups is None else len(np.unique(groups))


def parts_of(task: Task, count: int) -> list[IntArray]:
    """Return the places of each part's items among the training items, followed by the validation items."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    labels, groups = _labels(task), numbered_groups(task)
    if labels is not None and np.unique(labels, return_counts=True)[1].max() < count:
        labels = None  # no class could be in each part
    if groups is None:
        kind = KFold if labels is None else StratifiedKFold
    else:
        kind = GroupKFold if labels is None else StratifiedGroupKFold
    places = np.zeros(len(task.train) + len(task.validation))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has fewer items than there are parts
        found = kind(count, shuffle=True, random_state=SEED).split(places, labels, groups)
        return [np.sort(held_out).astype(np.int64) for _, held_out in found]


def _labels(task: Task) -> npt.NDArray[Any] | None:
    """Return the class of each item, if classes are known without reading the items."""
    known = [targets_of(split) for split in (task.train, task.validation)]
    if any(each is None or each.ndim != 1 or each.dtype.kind not in "iu" for each in known):
        return None
    labels: npt.NDArray[Any] = np.concatenate([each for each in known if each is not None])
    return labels


def numbered_groups(task: Task) -> IntArray | None:
    """Return the number of each item's group; None if each item is a group of its own."""
    return groups_of(Joined((task.train, task.validation)))
