"""Images outside a process's memory, with what is kept of each so that nothing needs a pass over all pixels."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from numpy.lib.recfunctions import repack_fields

from nas.tasks.batches import IntArray, Places
from nas.tasks.images.arrays import ImageArray

DIGEST_BYTES = 16
THUMBNAIL = 16
"""The sides of thumbnails, by which pictures that show the same are found."""

Facts = npt.NDArray[Any]
"""What is kept of images, a record each, shape (N,); see ``facts_type``."""


def facts_type(channels: int) -> np.dtype[Any]:
    """Return the type of a record: digest, CRC-32, of each channel the sums of levels and of squares, and a thumbnail.

    The record of a broken image holds zeros.
    """
    return np.dtype(
        [
            ("digest", np.uint8, (DIGEST_BYTES,)),
            ("checksum", np.uint32),
            ("sums", np.int64, (channels, 2)),
            ("thumbnail", np.uint8, (channels, THUMBNAIL, THUMBNAIL)),
        ]
    )


def facts_of(image: ImageArray) -> Facts:
    """Return what is kept of an image of shape (channels, height, width), as an array of shape ()."""
    content = np.ascontiguousarray(image)
    levels = content.reshape(len(content), -1).astype(np.float64)  # whole numbers up to 2**53 are exact
    found = np.zeros((), facts_type(len(content)))
    found["digest"] = np.frombuffer(digest_of(content), dtype=np.uint8)
    found["checksum"] = zlib.crc32(content.data)
    found["sums"] = np.stack([levels.sum(axis=1), np.einsum("cp,cp->c", levels, levels)], axis=1)
    found["thumbnail"] = shrunk_to_thumbnails(content[None])[0]
    return found


def shrunk_to_thumbnails(images: ImageArray) -> ImageArray:
    """Return the mean levels in ``THUMBNAIL`` × ``THUMBNAIL`` fields of each image, shape (N, channels, 16, 16)."""
    means = F.adaptive_avg_pool2d(torch.from_numpy(images).float(), THUMBNAIL)
    thumbnails: ImageArray = means.round().to(torch.uint8).numpy()
    return thumbnails


def digest_of(image: ImageArray) -> bytes:
    """Return a digest of an image's pixels: equal for equal images, and in practice only for those."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=DIGEST_BYTES).digest()


class PixelReader(Protocol):
    """Reads images from where they lie."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read."""
        ...

    def __call__(self, indices: IntArray) -> ImageArray:
        """Return the images of these numbers, a new array of shape (N, channels, height, width).

        Raises DataError if they are no longer there.
        """
        ...


@final
class StoredImages:
    """Images of shape (N, channels, height, width) that are read when they are asked for, by index like an array."""

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self, reader: PixelReader, shape: tuple[int, int, int], facts: Facts, indices: IntArray | None = None
    ) -> None:
        self._reader = reader
        self._facts = facts
        self._image_shape = shape
        self._indices = np.arange(len(facts)) if indices is None else indices

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the thumbnails, by which groups are found when pictures are loaded: they are most of the facts."""
        kept = [name for name in self._facts.dtype.names or () if name != "thumbnail"]
        return {**vars(self), "_facts": repack_fields(self._facts[kept])}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The number of images, channels, height and width."""
        return (len(self._indices), *self._image_shape)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, places: Places | int | np.integer[Any]) -> ImageArray:
        if isinstance(places, (int, np.integer)):
            image: ImageArray = self._reader(self._indices[[int(places)]])[0]
            return image
        return self._reader(self._indices[places])

    def __iter__(self) -> Iterator[ImageArray]:
        return (self[place] for place in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, places: IntArray) -> StoredImages:
        """Return the images at ``places``, without reading them."""
        return StoredImages(self._reader, self._image_shape, self._facts, self._indices[places])

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the images are read from."""
        return self._reader.files

    @property
    def numbers(self) -> IntArray:
        """The number of each image in its source."""
        return self._indices

    @property
    def facts(self) -> Facts:
        """What is kept of each of these images."""
        return self._facts[self._indices]


SomeImages = ImageArray | StoredImages
"""Images in memory or outside it."""
