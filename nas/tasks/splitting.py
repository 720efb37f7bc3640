"""Shares of the items of a data set, for a split of their own or to train on fewer: by class, by group or by time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.batches import Examples, IntArray, Part, targets_of

TEST_SHARE = 0.2
GROUPS_STAY = "all items of a group stay in one split, and further ones may be of a group in the test"
"""Why items of other data cannot be added to those with groups, whose names are not kept."""
ENOUGH = 1000
"""The items that validate by default, if they are a tenth to a fifth of all: fewer tell good models from bad by chance.

With 509 of 5,092 rows, the best of 130 candidates seemed better than a tuned simple model by 3 %, and was worse by 1 %.
"""
TEST_SEED = 0  # fixed, so that test errors of runs with different seeds can be compared


def share_of(examples: Examples, share: float, seed: int = 0) -> Examples:
    """Return a share of each class, or of all items where classes are unknown, in the original order.

    At least one item of each class is kept. With the same seed, a larger share contains every smaller one. Raises
    ValueError unless 0 < share <= 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, but got {share}.")
    if share == 1:
        return examples
    rng = np.random.default_rng(seed)
    known = targets_of(examples)
    has_classes = known is not None and known.ndim == 1 and known.dtype.kind in "iu"
    classes = shuffled_classes(known, rng) if known is not None and has_classes else [rng.permutation(len(examples))]
    chosen = np.concatenate([members[: max(1, int(share * len(members) + 0.5))] for members in classes])
    return Part(examples, np.sort(chosen))


def shuffled_classes(labels: npt.NDArray[Any], rng: np.random.Generator) -> list[IntArray]:
    """Return the places of each label's items, in random order."""
    return [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]


def usual_validation_share(count: int) -> float:
    """Return the share of ``count`` items that validates by default: a tenth to a fifth.

    >>> [usual_validation_share(count) for count in (500, 5_000, 8_000, 50_000)]
    [0.2, 0.2, 0.125, 0.1]
    """
    return min(0.2, max(0.1, ENOUGH / max(1, count)))


def check_share(share: float, title: str) -> None:
    """Raise ValueError unless the share, called ``title``, lies between 0 and 1."""
    if not 0 < share < 1:
        raise ValueError(f"{title} must lie between 0 and 1, but got {share}.")


def taken_of_each(labels: npt.NDArray[Any], share: float, seed: int) -> IntArray:
    """Return the places of about ``share`` of each label's items: at least one, but never the last one."""
    return np.concatenate(
        [
            members[: min(len(members) - 1, max(1, math.floor(share * len(members) + 0.5)))]
            for members in shuffled_classes(labels, np.random.default_rng(seed))
        ]
    )


def groups_taken(labels: npt.NDArray[Any], groups: IntArray, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return which items are taken, shape (N,): all those of about ``share`` of the groups.

    Each class gives a share of its groups, at least one but never the last. A group belongs to its commonest class. If
    no class has two groups, some are taken that leave an item of each class. ``labels`` of shape (N, values) have no
    classes. All are False if there is no such division.
    """
    names, classes = classes_of_groups(labels, groups)
    taken = names[taken_of_each(classes, share, seed)]
    return np.isin(groups, taken if len(taken) else _groups_without_class(labels, groups, names, share, seed))


def classes_of_groups(targets: npt.NDArray[Any], groups: IntArray) -> tuple[IntArray, IntArray]:
    """Return the different groups, and the commonest class of each one's items; 0 for all if targets are values."""
    order = np.argsort(groups, kind="stable")
    names, starts = np.unique(groups[order], return_index=True)
    if targets.ndim == 2:
        return names, np.zeros_like(names)
    lowest = min(0, int(targets.min()))  # -1 marks images without any label
    parts = np.split(targets[order] - lowest, starts[1:])
    return names, np.array([np.bincount(part).argmax() for part in parts])


def _groups_without_class(
    labels: npt.NDArray[Any], groups: IntArray, names: IntArray, share: float, seed: int
) -> IntArray:
    known = np.unique(labels) if labels.ndim == 1 else np.zeros(1)
    wanted, taken = max(1, math.floor(share * len(names) + 0.5)), np.zeros(0, dtype=np.int64)
    for name in np.random.default_rng(seed).permutation(names):
        rest = ~np.isin(groups, [*taken, name])
        if rest.any() and (labels.ndim == 2 or len(np.unique(labels[rest])) == len(known)):
            taken = np.append(taken, name)
        if len(taken) == wanted:
            break
    return taken


def latest(times: npt.NDArray[Any], share: float) -> npt.NDArray[np.bool_]:
    """Return which items are the last by time, about ``share`` of them, shape (N,). Those of one moment stay together.

    Raises:
        ValueError: all have the same time.
    """
    moments = np.sort(times)
    if moments[0] == moments[-1]:
        raise ValueError(f"a split by time needs at least two different times, but all are {moments[0]}.")
    at = moments[min(len(moments) - 1, math.floor((1 - share) * len(moments) + 0.5))]
    masks = [mask for mask in (times >= at, times > at) if mask.any() and not mask.all()]
    return min(masks, key=lambda mask: abs(float(mask.mean()) - share))
