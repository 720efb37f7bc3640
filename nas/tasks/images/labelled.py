"""Pictures with labels as a task, wherever pictures and labels come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nas.errors import DataError, RecipeError
from nas.progress import Progress
from nas.tasks.batches import IntArray
from nas.tasks.broken_items import named
from nas.tasks.class_folders import SPLIT_NAMES
from nas.tasks.dependence import NONE
from nas.tasks.doubts import few_groups_warnings
from nas.tasks.images.decoded.decoding import Decoded, Source, decoded, reasons
from nas.tasks.images.grouping import with_groups
from nas.tasks.images.images import Images
from nas.tasks.images.resizing import Originals
from nas.tasks.images.splits import SomeLabels, Split, are_photos, complete_splits, keeps_label_mirrored, usual_shift
from nas.tasks.splitting import TEST_SHARE


@final
@dataclass(frozen=True)
class Reading:
    """How pictures are read: the side to which they are cut and scaled, or None, and the images that validate.

    ``group`` says which pictures stay together: a column of a table, or a pattern of paths; empty to find out, and
    "none" if none do.
    """

    image_size: int | None
    validation_share: float | None
    seed: int
    progress: Progress
    group: str = ""

    def check_no_group(self, name: str) -> None:
        """Raise RecipeError if a group is asked for of a data set that has none."""
        if self.group and self.group != NONE:
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
        groups: the name of each picture's group; None to find out which pictures depend on each other.
        names: the path of each picture below the folder of its class; by default its name in the source.
    """

    name: str
    source: Source
    labels: SomeLabels
    splits: npt.NDArray[np.str_]
    classes: tuple[str, ...]
    notes: Sequence[str] = ()
    groups: Sequence[str] | None = None
    names: Sequence[str] = ()

    def task(self, reading: Reading) -> Images:
        """Decode the pictures, unless they were, and return the task. Broken ones are left out, and noted.

        Raises:
            DataError: pictures are unfit, too many are broken, or a class or a split has none that is sound.
        """
        pictures = decoded(self.source, reading.image_size, reading.progress)
        places = {title: self._places(title, pictures) for title in SPLIT_NAMES if (self.splits == title).any()}
        given = {title: Split(pictures.images.take(some), self.labels[some]) for title, some in places.items()}
        self._check_classes(given["train"], pictures)
        every = np.concatenate(list(places.values()))

        def said(item: int) -> str:
            return self.source.name(int(every[item]))

        groups: Any = NONE if reading.group == NONE else None
        if self.groups is not None:
            groups = {title: [self.groups[place] for place in some] for title, some in places.items()}
        names = [self.names[place] for place in every.tolist()] if self.names else list(map(said, range(len(every))))
        splits, told, split_by = with_groups(given, groups, names, said)
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
        notes = (*pictures.notes, *self.notes, *told, *few_groups_warnings(test.groups))
        crop, shift = pictures.is_scaled, usual_shift(train)
        channels, originals = pictures.images.shape[1], Originals(self.source)
        flip, random_parts = keeps_label_mirrored(channels, self.classes), are_photos(channels, self.classes)
        found = (self.name, train, validation, test, self.classes, flip, shift, crop, notes, originals)
        return Images(*found, random_parts=random_parts, split_by=split_by)

    def _places(self, title: str, pictures: Decoded) -> IntArray:
        chosen = np.flatnonzero((self.splits == title) & pictures.is_sound)
        if not len(chosen):
            broken = named(reasons(self.source, pictures.broken))
            raise DataError(f"the {title} split must have images, but all are broken: {broken}.")
        return chosen

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
