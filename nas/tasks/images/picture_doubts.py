"""Reasons to doubt results that lie in the splits of pictures: classes, and pictures of two classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.doubts import (
    contradiction_warnings,
    copy_warnings,
    few_warnings,
    group_warnings,
    imbalance_warnings,
    missing_warnings,
)
from nas.tasks.images.decoded.pixel_statistics import digests_of
from nas.tasks.images.splits import Split

PIXEL_BY_PIXEL = ", pixel by pixel"


def picture_warnings(splits: Mapping[str, Split], classes: Sequence[str], noun: str) -> tuple[str, ...]:
    """Return sentences about classes without a test, unequal classes, torn groups and contradicting labels.

    ``splits`` holds train, validation and test, in this order.
    """
    train = splits["train"]
    unequal: list[str] = []
    if train.labels.ndim == 1:
        counts = np.bincount(train.labels, minlength=len(classes))
        unequal = [*few_warnings(counts, classes, noun), *imbalance_warnings(counts, classes, noun)]
    digests = {title: digests_of(split.images) for title, split in splits.items()}
    groups = {title: each.groups for title, each in splits.items()}
    every = [digest for some in digests.values() for digest in some]
    labels = [label for split in splits.values() for label in _hashable(split.labels)]
    return (
        *_missing_warnings(splits, classes),
        *unequal,
        *(group_warnings(groups, "pictures") or copy_warnings(digests, "pictures")),
        *contradiction_warnings(every, labels, "picture", PIXEL_BY_PIXEL),
    )


_HARM = {
    "test": "a model that always answers it has no test error",
    "validation": "a candidate that always answers it seems best",
}


def _missing_warnings(splits: Mapping[str, Split], classes: Sequence[str]) -> list[str]:
    """Return a sentence for each split, but that to train on, that lacks pictures of some class, or has one class."""
    found = []
    for title, harm in _HARM.items():
        labels = splits[title].labels
        present = set(np.flatnonzero(labels.any(axis=0)) if labels.ndim == 2 else np.unique(labels).tolist())
        if labels.ndim == 1 and len(present) == 1:
            found.append(
                f"all {title} pictures are of {classes[present.pop()]}, so {harm}. Put pictures of each class there, "
                "or leave the split out: it is then taken from the training pictures."
            )
        else:
            found += missing_warnings({title: present}, classes, "picture")
    return found


def _hashable(labels: npt.NDArray[Any]) -> list[Any]:
    """Return each image's label, or a tuple of its labels."""
    return [tuple(each) if isinstance(each, list) else each for each in labels.tolist()]
