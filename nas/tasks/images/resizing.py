"""Scaling arrays of images to squares of one size: in memory, or once for all processes where they are many."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.progress import Progress
from nas.tasks.deployed.pictures import pixels_of
from nas.tasks.images.arrays import ImageArray
from nas.tasks.images.decoded.decoding import Header, check_picture_bytes, decoded
from nas.tasks.images.splits import Split

LARGEST_BYTES = 8 * 2**30
"""The most memory that the file of a well-known set may take."""
LARGEST_IN_MEMORY = 2**26
"""The most memory that scaled images may take in each process. Others lie in a file that all processes share."""


def resized(split: Split, size: int, progress: Progress) -> Split:
    """Return the largest centred square of each image, scaled to ``size`` × ``size`` pixels.

    Raises DataError if an image of that size is too large.
    """
    source = _Arrays(np.asarray(split.images))
    count, channels, height, width = source.images.shape
    if (height, width) == (size, size):
        return split
    shape = (channels, size, size)
    check_picture_bytes(shape)
    if count * channels * size**2 > LARGEST_IN_MEMORY:
        return Split(decoded(source, size, progress).images, split.labels)
    return Split(np.stack([source.pixels(index, shape) for index in range(count)]), split.labels)


@final
@dataclass(frozen=True, eq=False)
class _Arrays:
    """Images in memory, shape (N, channels, height, width), as a source of decoded pictures."""

    images: ImageArray

    @property
    def identity(self) -> Any:
        """The shape and the checksum."""
        return ["arrays", self.images.shape, zlib.crc32(np.ascontiguousarray(self.images).data)]

    @property
    def files(self) -> tuple[Path, ...]:
        """None: they lie in memory."""
        return ()

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"image {index}"

    def header(self, index: int) -> Header:
        _, channels, height, width = self.images.shape
        return Header(width, height, channels == 1)

    def pixels(self, index: int, shape: tuple[int, int, int]) -> ImageArray:
        from PIL import Image

        source = self.images[index]
        return pixels_of(Image.fromarray(source[0] if len(source) == 1 else source.transpose(1, 2, 0)), *shape)

    def again(self, index: int, shape: tuple[int, int, int]) -> ImageArray:
        return self.pixels(index, shape)
