"""The task of classifying images, by one label or several."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from nas.space.signature import Signature, image_signature
from nas.tasks.batches import Items, Tensors
from nas.tasks.criteria import Classification, Criterion, MultiLabel
from nas.tasks.dependence import NONE
from nas.tasks.deployed.pictures import PicturePreparation
from nas.tasks.images.arrays import checked_images, checked_label_matrix, checked_labels
from nas.tasks.images.decoded.pixel_statistics import checksum_of, moments_of
from nas.tasks.images.decoded.stored_images import StoredImages
from nas.tasks.images.grouping import NAMED_GROUPS, with_groups
from nas.tasks.images.picture_changes import PICTURE_CORRUPTIONS, corrupted_pictures, parts_of, randomly_augmented
from nas.tasks.images.picture_doubts import picture_warnings
from nas.tasks.images.resizing import Originals, PictureWishes
from nas.tasks.images.splits import SomeLabels, Split, complete_splits
from nas.tasks.splitting import GROUPS_STAY, TEST_SHARE
from nas.tasks.task import Task

Float32Array = npt.NDArray[np.float32]

MOST_VIEWS = 4
"""Images in other sizes that a process keeps."""
SMALL_SIDE = 32
"""Images up to this side stay whole in training: a part of them shows too little."""


@dataclass(frozen=True, eq=False, repr=False)
class Images(Task):
    """A classification task. The test split scores winners, once; nothing else may use it.

    Attributes:
        name: its name, for people.
        train: the images to train on.
        validation: the images that compare candidates.
        test: the images that score winners.
        classes: the names of the classes, by label.
        flip: an image mirrored left to right keeps its label.
        shift: the largest random translation in pixels.
        crop: images were cut to their shape and scaled to it when they were loaded, so new ones can be too.
        notes: what a user should know about the loading, such as files that were left out.
        originals: the images before they were brought to one size; None if they are the splits themselves.
        wishes: how an architecture wishes the images, if they are prepared for one.
        split_by: how images were split where that is not at random: by groups that were named or found; else empty.
        random_parts: training sees random parts of images above ``SMALL_SIDE``, instead of whole ones that are shifted.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    flip: bool = False
    shift: int = 0
    crop: bool = False
    notes: tuple[str, ...] = ()
    originals: Originals | None = None
    wishes: PictureWishes | None = None
    random_parts: bool = False
    split_by: str = ""

    noun: ClassVar[str] = "images"
    default_space: ClassVar[str | None] = "mobilenet"

    def __post_init__(self) -> None:
        for title, split in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if len(split) == 0:
                raise ValueError(f"each split must hold at least one image, but {title} is empty.")
            if split.images.shape[1:] != self.input_shape:
                raise ValueError(
                    f"images of all splits must have the same shape, {self.input_shape} as in train, "
                    f"but got {split.images.shape[1:]} in {title}."
                )
            if split.labels.ndim != self.train.labels.ndim:
                raise ValueError(f"all splits must have one label each or several, but {title} differs from train.")
            if self.is_multi_label:
                if split.labels.shape[1] != len(self.classes):
                    raise ValueError(
                        f"labels must have a column for each of {len(self.classes)} classes, "
                        f"but got {split.labels.shape[1]} in {title}."
                    )
            elif split.labels.min() < 0 or split.labels.max() >= len(self.classes):
                raise ValueError(
                    f"labels must be 0 to {len(self.classes) - 1} for {len(self.classes)} classes, "
                    f"but got {split.labels.min()} to {split.labels.max()} in {title}."
                )
        _check_count(len(self.classes))
        for title, value in (("flip", self.flip), ("random_parts", self.random_parts)):
            if not isinstance(value, bool):
                raise ValueError(f"{title} must be True or False, but got {value!r}.")
        if not isinstance(self.shift, int):
            raise ValueError(f"shift must be a whole number of pixels, but got {self.shift!r}.")
        if self.shift < 0:
            raise ValueError(f"shift must not be negative, but got {self.shift}.")
        _check_names(self.name, self.classes)

    def __repr__(self) -> str:
        counts = f"{len(self.train)} training, {len(self.validation)} validation and {len(self.test)} test images"
        return f"Images {self.name}: {counts} of {'×'.join(map(str, self.input_shape))}, {len(self.classes)} classes"

    @property
    def signature(self) -> Signature:
        """Images to logits."""
        return image_signature(self.input_shape, len(self.classes))

    @property
    def is_multi_label(self) -> bool:
        """True if an image may have several labels, or none."""
        return self.train.labels.ndim == 2

    @property
    def criterion(self) -> Criterion:
        """One class for each image, or several labels."""
        return (MultiLabel if self.is_multi_label else Classification)(len(self.classes))

    @property
    def answers(self) -> dict[str, Any]:
        """The names of the classes."""
        return {"kind": self.criterion.kind, "names": list(self.classes)}

    @property
    def in_words(self) -> str:
        """The number of classes, the shape of images, and how training changes them."""
        channels, height, width = self.input_shape
        pixels = f"{width}×{height} pixels in {channels} channel{'s' if channels > 1 else ''}"
        kind = "labels" if self.is_multi_label else "classes"
        changes = ["mirrored"] if self.flip else []
        changes += [f"cut to random parts above {SMALL_SIDE} pixels"] if self._is_cut else []
        told = f", in training {' and '.join(changes)}" if changes else ""
        return f"{len(self.classes)} {kind}, {pixels}{told}"

    @property
    def facts(self) -> dict[str, Any]:
        """The number of classes, the shape of images, and how training changes pictures of the user's own."""
        are_pictures = self.originals is not None and self.originals.source is not None
        changes = {"mirrored": self.flip, "random parts": self._is_cut} if are_pictures else {}
        told: dict[str, Any] = {name: True for name, is_done in changes.items() if is_done}
        told |= {"split by": self.split_by} if self.split_by else {}
        return {"classes": len(self.classes), "image shape": list(self.input_shape), **told}

    @property
    def why_closed(self) -> str:
        """Further pictures may be of groups of the test."""
        return GROUPS_STAY if self.split_by == NAMED_GROUPS else ""

    @property
    def _is_cut(self) -> bool:
        """True if training sees random parts of these pictures."""
        return self.random_parts and min(self.input_shape[1:]) > SMALL_SIDE

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def memory_bytes(self) -> int:
        """The memory that the images take. Those in a file are shared by all processes, and count as nothing."""
        if isinstance(self.train.images, StoredImages):
            return 0
        return (len(self.train) + len(self.validation) + len(self.test)) * math.prod(self.input_shape)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of images that are not in memory."""
        splits = (self.train, self.validation, self.test)
        stored = [each.images for each in splits if isinstance(each.images, StoredImages)]
        return tuple(dict.fromkeys(path for each in stored for path in each.files))

    @property
    def mean(self) -> Float32Array:
        """The mean of each channel over the training images, scaled to [0, 1], shape (channels,)."""
        return self._moments[0]

    @property
    def std(self) -> Float32Array:
        """The standard deviation of each channel; at least one grey level, so that division by it is safe."""
        return self._moments[1]

    @property
    def preparation(self) -> PicturePreparation:
        """The way from a picture to a model's input: the one that the images of this data set went."""
        mean, std = self._moments
        cut = () if self.wishes is None else (self.wishes.crop, self.wishes.interpolation)
        return PicturePreparation(*self.input_shape, self.crop, tuple(mean.tolist()), tuple(std.tolist()), *cut)

    def prepared_for(self, wishes: Mapping[str, Any]) -> Images:
        """Return the same images in another size, or scaled by another mean and standard deviation.

        They are made from the files or arrays that these images were made from, once in each process, and decoded once
        on a machine. Wishes are the attributes of ``PictureWishes``.
        """
        wanted = PictureWishes.of(wishes, self.input_shape)
        if wanted == PictureWishes():
            return self
        views = _VIEWS.setdefault(self, {})
        if wanted not in views:
            while len(views) >= MOST_VIEWS:
                views.pop(next(iter(views)))
            views[wanted] = self._view(wanted)
        return views[wanted]

    def check_wishes(self, wishes: Mapping[str, Any]) -> None:
        PictureWishes.of(wishes, self.input_shape)

    def _view(self, wanted: PictureWishes) -> Images:
        splits = self.train, self.validation, self.test
        originals = self.originals or Originals(splits=splits)
        changes: dict[str, Any] = {"originals": originals, "wishes": wanted}
        if wanted.image_size is not None:
            train, validation, test = originals.scaled(splits, wanted)
            grown = wanted.image_size / min(self.input_shape[1:])
            is_cut = self.crop or train.images is not self.train.images
            changes |= {"train": train, "validation": validation, "test": test, "crop": is_cut}
            changes |= {"shift": round(self.shift * grown)}
        return replace(self, **changes)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what makes results doubtful: notes of loading, and what lies in the splits."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return (*self.notes, *picture_warnings(splits, self.classes, self.noun))

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that depend on images, labels and classes of all splits, but not on the name."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        for split in (self.train, self.validation, self.test):
            checksum = checksum_of(split.images)
            digest.update(f"{split.images.shape} {checksum}".encode())
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()[:12]

    def sample(self, count: int, seed: int = 0) -> Items:
        """Return random training images, ``count`` or all if there are fewer, with each class's share."""
        return self.train.sample(count, seed).items_at(slice(None))

    @property
    def takes_strength(self) -> bool:
        """True for pictures in one or three channels, which RandAugment takes."""
        return self.input_shape[0] in (1, 3)

    def augmented_more(self, raw: Tensors, generator: torch.Generator, strength: float) -> Tensors:
        """Change each picture by two random operations of this strength, such as a turn or a change of contrast."""
        return (randomly_augmented(raw[0], generator, strength),)

    @property
    def corruptions(self) -> tuple[str, ...]:
        """What may spoil a picture; JPEG needs one or three channels."""
        return tuple(each for each in PICTURE_CORRUPTIONS if each != "jpeg" or self.input_shape[0] in (1, 3))

    def corrupted(self, raw: Tensors, name: str, strength: float, generator: torch.Generator) -> Tensors:
        """Return pictures under a corruption."""
        return (corrupted_pictures(raw[0], name, strength, generator),)

    def augmented(self, raw: Tensors, generator: torch.Generator) -> Tensors:
        """Take a random part of each image, or shift it by up to ``shift`` pixels; flip half if ``flip`` allows it."""
        (images,) = raw
        count, _, height, width = images.shape
        if self._is_cut:
            images = parts_of(images, generator)
        elif self.shift:
            reach = self.shift
            padded = F.pad(images, (reach, reach, reach, reach)).numpy()
            offsets = torch.randint(0, 2 * reach + 1, (count, 2), generator=generator)
            images = torch.empty_like(images)
            shifted = images.numpy()
            for place, (row, column) in enumerate(offsets.tolist()):  # 20 times faster than one index for all
                shifted[place] = padded[place, :, row : row + height, column : column + width]
        if self.flip:
            flipped = torch.rand(count, generator=generator) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        return (images,)

    def inputs_of(self, raw: Tensors) -> Tensors:
        """Return images scaled like deployed ones, in the memory format that is fastest on CPUs."""
        (images,) = raw
        mean = torch.from_numpy(self.mean).view(1, -1, 1, 1).to(images.device)
        std = torch.from_numpy(self.std).view(1, -1, 1, 1).to(images.device)
        scaled = images.to(torch.float32, copy=True).div_(255).sub_(mean).div_(std)
        return (scaled.contiguous(memory_format=torch.channels_last),)

    @cached_property
    def _moments(self) -> tuple[Float32Array, Float32Array]:
        wanted = self.wishes or PictureWishes()
        if wanted.mean is None or wanted.std is None:
            mean, std = moments_of(self.train.images)
        if wanted.mean is not None:
            mean = np.array(wanted.mean, dtype=np.float32)
        if wanted.std is not None:
            std = np.array(wanted.std, dtype=np.float32)
        return mean, std

    @classmethod
    def from_arrays(
        cls,
        images: npt.NDArray[Any],
        labels: npt.NDArray[Any],
        *,
        test_images: npt.NDArray[Any] | None = None,
        test_labels: npt.NDArray[Any] | None = None,
        groups: Any = None,
        classes: Sequence[str] | None = None,
        validation_share: float | None = None,
        test_share: float = TEST_SHARE,
        seed: int = 0,
        name: str = "custom",
        flip: bool = False,
        shift: int = 0,
        random_parts: bool = False,
    ) -> Images:
        """Build a data set from arrays, split by class.

        ``images`` are uint8, or floats within [0, 1], of shape (N, height, width) or (N, channels, height, width).
        Floats are rounded to 256 levels. ``labels`` are integers from 0 or text, shape (N,), or 0 and 1 for several
        labels of each image, shape (N, labels). Without ``classes``, each different label is a class. Without test
        images, ``test_share`` of each class becomes the test split, always with the same images. ``seed`` then picks
        ``validation_share`` of the other images for the validation split: by default a tenth, or up to a fifth, as far
        as a thousand need it. ``groups`` names the group of each image, such as a patient: no group is in two splits.
        Without it, images that show the same are such groups, unless it is "none".

        Raises:
            ValueError: the arrays are not plainly images and labels, a class has no image, or a share is outside
                (0, 1).
        """
        if (test_images is None) != (test_labels is None):
            raise ValueError("test_images and test_labels must be given together, but got only one of them.")
        if classes is not None:
            if isinstance(classes, str):
                raise ValueError(f"classes must be the names of several classes, but got the text {classes!r}.")
            _check_names(name, tuple(classes))
            _check_count(len(classes))
        pixels = checked_images(images, "images")
        test_pixels = None if test_images is None else checked_images(test_images, "test_images")
        found: SomeLabels
        tested: SomeLabels | None
        if np.ndim(labels) == 2:
            found = checked_label_matrix(labels, "labels", None if classes is None else len(classes))
            tested = None if test_labels is None else checked_label_matrix(test_labels, "test_labels", found.shape[1])
            names = tuple(map(str, range(found.shape[1]))) if classes is None else tuple(classes)
        else:
            found, tested, names = checked_labels(labels, test_labels, classes)
        given = {"train": Split(pixels, found)}
        if test_pixels is not None and tested is not None:
            given["test"] = Split(test_pixels, tested)
        is_named = groups is not None and not (isinstance(groups, str) and groups == NONE)
        splits, notes, split_by = with_groups(given, {"train": groups} if is_named else groups)
        three = complete_splits(splits["train"], None, splits.get("test"), validation_share, test_share, seed)
        told: dict[str, Any] = {"notes": notes, "split_by": split_by, "random_parts": random_parts}
        return cls(name, *three, names, flip=flip, shift=shift, **told)


_VIEWS: WeakKeyDictionary[Images, dict[PictureWishes, Images]] = WeakKeyDictionary()
"""Images as architectures wish them, by the images that they were made from. They are not pickled with those."""


def _check_count(classes: int) -> None:
    """Check that there is something to tell apart. Raises ValueError."""
    if classes < 2:
        raise ValueError(f"a data set must have at least 2 classes, but got {classes}.")


def _check_names(name: str, classes: tuple[str, ...]) -> None:
    """Check that names can be written down, and that those of classes differ. Raises ValueError."""
    for title, each in (("the name of a data set", name), *(("the name of a class", each) for each in classes)):
        if not isinstance(each, str) or not each:
            raise ValueError(f"{title} must be text, but got {each!r}.")
        try:
            each.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{title} must be text in UTF-8, but got {each!r}.") from None
    if len(set(classes)) < len(classes):
        twice = next(each for each in classes if classes.count(each) > 1)
        raise ValueError(f"classes must have different names, but {twice!r} is there {classes.count(twice)} times.")
