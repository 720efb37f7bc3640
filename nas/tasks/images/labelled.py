"""Pictures with labels as a task, wherever pictures and labels come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nas.errors import DataError, RecipeError
from nas.progress import Progress
from nas.tasks.broken_items import named
from nas.tasks.class_folders import SPLIT_NAMES
from nas.tasks.doubts import few_groups_warnings, group_warnings
from nas.tasks.images.decoded.decoding import Decoded, Source, decoded, reasons
from nas.tasks.images.images import Images
from nas.tasks.images.resizing import Originals
from nas.tasks.images.splits import SomeLabels, Split, are_photos, complete_splits, keeps_label_mirrored, usual_shift
from nas.tasks.splitting import TEST_SHARE


@final
@dataclass(frozen=True)
class Reading:
    """How pictures are read: the side to which they are cut and scaled, or None, and the images that validate.

    ``group`` says which pictures stay together: a column of a table, or a pattern of paths; empty if none do.
    """

    image_size: int | None
    validation_share: float | None
    seed: int
    progress: Progress
    group: str = ""

    def check_no_group(self, name: str) -> None:
        """Raise RecipeError if a group is asked for of a data set that has none."""
        if self.group:
            raise RecipeError(f"data.group is for pictures in folders or tables, but got {self.group!r} for {name}.")


@final
@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Pictures with labels, before they are decoded.

    Attributes:
        name: the data set's name, for people.
        source: the pictures.
        labels: their labels, as of a ``Split``.
        splits: the title of each picture's split, one of ``SPLIT_NAMES``. What is missing is taken from "train".
        classes: the names of the classes, by label.
        notes: what a user should know.
        groups: the name of each picture's group; None if each is of its own.
    """

    name: str
    source: Source
    labels: SomeLabels
    splits: npt.NDArray[np.str_]
    classes: tuple[str, ...]
    notes: Sequence[str] = ()
    groups: Sequence[str] | None = None

    def task(self, reading: Reading) -> Images:
        """Decode the pictures, unless they were, and return the task. Broken ones are left out, and noted.

        Raises:
            DataError: pictures are unfit, too many are broken, or a class or a split has none that is sound.
        """
        pictures = decoded(self.source, reading.image_size, reading.progress)
        splits = {title: self._split(title, pictures) for title in SPLIT_NAMES if (self.splits == title).any()}
        self._check_classes(splits["train"], pictures)
        try:
            train, validation, test = complete_splits(
                splits["train"],
                splits.get("validation"),
                splits.get("test"),
                reading.validation_share,
                TEST_SHARE,
                reading.seed,
            )
        except ValueError as error:
            raise DataError(f"{self.name.removeprefix('folder:')}: {error}") from error
        shared = group_warnings({title: each.groups for title, each in splits.items()})
        notes = (*pictures.notes, *self.notes, *shared, *few_groups_warnings(test.groups))
        crop, shift = pictures.is_scaled, usual_shift(train)
        channels, originals = pictures.images.shape[1], Originals(self.source)
        flip, random_parts = keeps_label_mirrored(channels, self.classes), are_photos(channels, self.classes)
        found = (self.name, train, validation, test, self.classes, flip, shift, crop, notes, originals)
        return Images(*found, random_parts=random_parts)

    def _split(self, title: str, pictures: Decoded) -> Split:
        chosen = np.flatnonzero((self.splits == title) & pictures.is_sound)
        if not len(chosen):
            broken = named(reasons(self.source, pictures.broken))
            raise DataError(f"the {title} split must have images, but all are broken: {broken}.")
        numbers = None if self.groups is None else np.unique(self.groups, return_inverse=True)[1][chosen]
        return Split(pictures.images.take(chosen), self.labels[chosen], numbers)

    def _check_classes(self, train: Split, pictures: Decoded) -> None:
        """Check that each class still has an image to train on. Raises DataError."""
        there: Any = (
            train.labels.any(axis=0) if train.labels.ndim == 2 else np.isin(np.arange(len(self.classes)), train.labels)
        )
        missing = np.flatnonzero(~there)
        if len(missing):
            title, broken = self.classes[missing[0]], named(reasons(self.source, pictures.broken))
            reason = f"all of {title!r} are broken: {broken}" if pictures.broken else f"{title!r} has none"
            raise DataError(f"each class must have an image to train on, but {reason}.")
