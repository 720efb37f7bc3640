"""Images with their labels, and their division into splits that never overlap."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nas.tasks.batches import IntArray, Items, Places
from nas.tasks.images.arrays import LabelArray
from nas.tasks.images.decoded.stored_images import SomeImages, StoredImages
from nas.tasks.splitting import (
    TEST_SEED,
    check_share,
    groups_taken,
    shuffled_classes,
    taken_of_each,
    usual_validation_share,
)

SomeLabels = LabelArray | npt.NDArray[np.float32]
"""A class for each image, or 0 and 1 for each image and label."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images, shape (N, channels, height, width), values 0 to 255, and their labels.

    Labels are classes, int64 of shape (N,), or the given labels of each image, float32 of shape (N, labels), 0 or 1.
    ``groups`` number the group of each image; None if each is a group of its own.
    """

    images: SomeImages
    labels: SomeLabels
    groups: IntArray | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(
                "images of a split must be uint8 of shape (N, channels, height, width), "
                f"but got {self.images.dtype} of shape {self.images.shape}."
            )
        wanted = "float32 of shape ({}, labels)" if self.labels.ndim == 2 else "int64 of shape ({},)"
        is_fit = self.labels.ndim in (1, 2) and wanted.startswith(str(self.labels.dtype))
        if not is_fit or len(self.labels) != len(self.images):
            raise ValueError(
                f"labels of a split must be {wanted.format(len(self.images))}, "
                f"but got {self.labels.dtype} of shape {self.labels.shape}."
            )
        if self.groups is not None and self.groups.shape != (len(self.images),):
            raise ValueError(f"groups must name that of each of {len(self)} images, but got {self.groups.shape}.")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split of {len(self)} images of {'×'.join(map(str, self.images.shape[1:]))}"

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        label = self.labels[index]
        target = int(label) if self.labels.ndim == 1 else torch.from_numpy(label.copy())
        return torch.from_numpy(self.images[index].copy()), target

    @property
    def targets(self) -> SomeLabels:
        """The labels."""
        return self.labels

    @property
    def strata(self) -> LabelArray:
        """What a fair division keeps the shares of: the classes, or the rarest label of each image."""
        if self.labels.ndim == 1:
            return self.labels.astype(np.int64, copy=False)
        order = np.argsort(self.labels.sum(axis=0), kind="stable")
        ordered = self.labels[:, order]
        return np.where(ordered.any(axis=1), order[ordered.argmax(axis=1)], -1).astype(np.int64)

    def items_at(self, places: Places) -> Items:
        """Return the images at ``places``, uint8, with their labels."""
        return Items((torch.from_numpy(self.images[places]),), torch.from_numpy(self.labels[places]))

    def sample(self, count: int, seed: int = 0) -> Split:
        """Return ``count`` random images, or all if there are fewer, with each class's share, in random order."""
        rng = np.random.default_rng(seed)
        classes = shuffled_classes(self.strata, rng)
        # Each class is spread evenly over the order, so that any first part of it represents all classes.
        places = np.concatenate([(np.arange(len(members)) + rng.random()) / len(members) for members in classes])
        chosen = np.concatenate(classes)[np.argsort(places, kind="stable")[:count]]
        return self.take(rng.permutation(chosen))

    def take(self, indices: IntArray) -> Split:
        """Return the images at ``indices``. Those outside the memory stay there."""
        images = self.images.take(indices) if isinstance(self.images, StoredImages) else self.images[indices]
        return Split(images, self.labels[indices], None if self.groups is None else self.groups[indices])


def complete_splits(
    train: Split,
    validation: Split | None,
    test: Split | None,
    validation_share: float | None,
    test_share: float,
    seed: int,
) -> tuple[Split, Split, Split]:
    """Return the three splits. Missing ones are taken from ``train``, the test split first."""
    if test is None:
        check_share(test_share, "test_share")
        train, test = _carve(train, test_share, TEST_SEED, "test")
    if validation is None:
        validation_share = usual_validation_share(len(train)) if validation_share is None else validation_share
        check_share(validation_share, "validation_share")
        train, validation = _carve(train, validation_share, seed, "validation")
    return train, validation, test


def _carve(split: Split, share: float, seed: int, title: str) -> tuple[Split, Split]:
    """Return the remaining images, and ``share`` of each class: at least one image or group, but never the last."""
    if split.groups is not None:
        taken = np.flatnonzero(groups_taken(split.strata, split.groups, share, seed))
        if not len(taken):
            raise ValueError(
                f"a {title} split needs a class with images of at least two groups, because groups stay together, but "
                "no class has more than one. Give more groups, or smaller ones."
            )
    else:
        taken = taken_of_each(split.strata, share, seed)
    if not len(taken):
        raise ValueError(
            f"a {title} split needs a class with at least two images, but no class has more than one. Add images: "
            "three of a class give one to train, one to validate and one to test."
        )
    return split.take(np.setdiff1d(np.arange(len(split)), taken)), split.take(np.sort(taken))


def usual_shift(split: Split) -> int:
    """The usual shift in pixels: an eighth of the image, such as 4 of 32 pixels on CIFAR."""
    height, width = split.images.shape[2:]
    return max(1, min(int(height), int(width)) // 8)


_SIDES = re.compile("left|right", re.IGNORECASE)


def are_photos(channels: int, classes: Sequence[str]) -> bool:
    """Return True for pictures in colour whose classes are neither digits nor letters. Grey ones are often writing."""
    return channels == 3 and not any(len(name) == 1 or name.isdigit() for name in classes)


def keeps_label_mirrored(channels: int, classes: Sequence[str]) -> bool:
    """Return True if pictures that are mirrored left to right probably keep their label.

    Photos do, unless their classes tell left from right.
    """
    return are_photos(channels, classes) and not any(_SIDES.search(name) for name in classes)
