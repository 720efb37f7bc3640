"""Shares of the items of a data set, with as much of each class: for a split of their own, or to train on fewer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.batches import Examples, IntArray, Part, targets_of

TEST_SHARE = 0.2
SMALL = 5000
"""Of fewer items than this, a fifth validates by default: a tenth would tell good models from bad ones by chance."""
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
    """Return the share of ``count`` items that validates by default."""
    return 0.2 if count < SMALL else 0.1


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
