"""Scaling images to squares of one size, once for all processes where they are many; and in other ways on request."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.errors import DataError, did_you_mean
from nas.progress import NullProgress, Progress
from nas.tasks.broken_items import named
from nas.tasks.deployed.pictures import BILINEAR, COLOURS, INTERPOLATIONS, Frame, pixels_of
from nas.tasks.images.arrays import ImageArray
from nas.tasks.images.decoded.decoding import Decoded, Header, Source, check_picture_bytes, decoded, reasons
from nas.tasks.images.decoded.stored_images import StoredImages
from nas.tasks.images.splits import Split

LARGEST_BYTES = 8 * 2**30
"""The most memory that the file of a well-known set may take."""
LARGEST_IN_MEMORY = 2**26
"""The most memory that scaled images may take in each process. Others lie in a file that all processes share."""


def resized(split: Split, size: int, progress: Progress, kept: float = 1.0, interpolation: str = BILINEAR) -> Split:
    """Return the largest centred square of each image, scaled to ``size`` × ``size`` pixels.

    ``kept`` and ``interpolation`` are those of a ``Frame``. Raises DataError if an image of that size is too large.
    """
    source = _Arrays(np.asarray(split.images))
    count, channels, height, width = source.images.shape
    if (height, width, kept) == (size, size, 1):
        return split
    frame = Frame(channels, size, size, kept, interpolation)
    check_picture_bytes((channels, size, size))
    if count * channels * size**2 > LARGEST_IN_MEMORY:
        return replace(split, images=decoded(source, size, progress, kept, interpolation).images)
    return replace(split, images=np.stack([source.pixels(index, frame) for index in range(count)]))


@final
@dataclass(frozen=True)
class PictureWishes:
    """What an architecture asks of the preparation of pictures.

    Attributes:
        image_size: the side of square images in pixels; None for images as they are.
        mean: the mean of each channel, on a scale from 0 to 1; None for that of the training images.
        std: the standard deviation of each channel; None for that of the training images.
        crop: of the largest square in the middle, the share of each side that is kept.
        interpolation: how the square is scaled, one of ``INTERPOLATIONS``.
    """

    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: float = 1.0
    interpolation: str = BILINEAR

    @classmethod
    def of(cls, wishes: Mapping[str, Any], shape: tuple[int, int, int]) -> PictureWishes:
        """Return what a space asks of pictures of this shape. Raises DataError for what cannot be done."""
        known, channels = [each.name for each in fields(cls)], shape[0]
        for name, value in wishes.items():
            if name not in known:
                raise DataError(f"pictures cannot be prepared by {name!r}. {did_you_mean(name, known)}")
            if not _is_fit(name, value, channels):
                raise DataError(f"{_RULES[name].format(channels=channels)}, but a space asks for {value!r:.80}.")
        if "image_size" not in wishes and (extra := [name for name in ("crop", "interpolation") if name in wishes]):
            raise DataError(f"pictures are scaled where image_size is given, but a space asks for {extra[0]} alone.")
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, (list, tuple)) else value for name, value in wishes.items()
        }
        found = cls(**given)
        if found.image_size is not None and (*shape[1:], found.crop) != (found.image_size, found.image_size, 1):
            _check_channels(channels)
        return found


def _check_channels(channels: int) -> None:
    if channels not in COLOURS:
        raise DataError(f"images are scaled in 1 or 3 channels, but these have {channels}.")


_RULES = {
    "image_size": "image_size must be a whole number of pixels, at least 1",
    "mean": "mean must hold a number from 0 to 1 for each of {channels} channels",
    "std": "std must hold a number above 0 for each of {channels} channels",
    "crop": "crop must be a share above 0 and up to 1",
    "interpolation": f"interpolation must be one of {', '.join(INTERPOLATIONS)}",
}


def _is_fit(name: str, value: object, channels: int) -> bool:
    if name == "image_size":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if name == "crop":
        return _is_number(value) and 0 < value <= 1  # type: ignore[operator]
    if name == "interpolation":
        return value in INTERPOLATIONS
    if not isinstance(value, (list, tuple)) or len(value) != channels or not all(map(_is_number, value)):
        return False
    return all(0 <= each <= 1 if name == "mean" else each > 0 for each in value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


Splits = tuple[Split, Split, Split]


@final
@dataclass(frozen=True, eq=False)
class Originals:
    """Images as they were before they were brought to one size: the source of pictures, or three splits of arrays."""

    source: Source | None = None
    splits: Splits | None = None

    def scaled(self, splits: Splits, wishes: PictureWishes) -> Splits:
        """Return the same images as in ``splits``, scaled as an architecture wishes them.

        Raises:
            DataError: a picture can no longer be read, or is too large in that size.
        """
        assert wishes.image_size is not None
        size, cut = wishes.image_size, (wishes.crop, wishes.interpolation)
        if self.source is None:
            train, validation, test = (resized(each, size, NullProgress(), *cut) for each in self.splits or splits)
            return train, validation, test
        _check_there(self.source)
        pictures = decoded(self.source, size, NullProgress(), *cut)
        train, validation, test = (_taken(each, pictures, self.source) for each in splits)
        return train, validation, test


def _check_there(source: Source) -> None:
    if source.files and not any(map(Path.exists, source.files)):
        raise DataError(
            f"architectures of this space have image sizes of their own, so the pictures are read again, but none is "
            f"at its place, such as {source.files[0]}. Put them into a folder that all machines share."
        )


def _taken(split: Split, pictures: Decoded, source: Source) -> Split:
    assert isinstance(split.images, StoredImages)
    numbers = split.images.numbers
    known = set(numbers.tolist())
    broken = {number: why for number, why in pictures.broken.items() if number in known}
    if broken:
        raise DataError(f"pictures could be read before, but no longer: {named(reasons(source, broken))}.")
    return replace(split, images=pictures.images.take(numbers))


@final
@dataclass(frozen=True, eq=False)
class _Arrays(Source):
    """Images in memory, shape (N, channels, height, width), as a source of decoded pictures."""

    images: ImageArray

    @property
    def identity(self) -> Any:
        """The shape and the checksum."""
        return ["arrays", self.images.shape, zlib.crc32(np.ascontiguousarray(self.images).data)]

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"image {index}"

    def header(self, index: int) -> Header:
        _, channels, height, width = self.images.shape
        return Header(width, height, channels == 1)

    def pixels(self, index: int, frame: Frame) -> ImageArray:
        from PIL import Image

        _check_channels(frame.channels)
        source = self.images[index]
        return pixels_of(Image.fromarray(source[0] if len(source) == 1 else source.transpose(1, 2, 0)), frame)
