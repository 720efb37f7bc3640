"""Images outside a process's memory, with what is kept of each so that nothing needs a pass over all pixels."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, final

import numpy as np
import numpy.typing as npt

from nas.tasks.batches import IntArray, Places
from nas.tasks.images.arrays import ImageArray

DIGEST_BYTES = 16


class ImageFacts(NamedTuple):
    """What is kept of an image: a digest, the CRC-32, and of each channel the sum of the levels and of their squares.

    The sums have the shape (channels, 2).
    """

    digest: bytes
    checksum: int
    sums: npt.NDArray[np.int64]


def facts_of(image: ImageArray) -> ImageFacts:
    """Return what is kept of an image, shape (channels, height, width)."""
    content = np.ascontiguousarray(image)
    levels = content.reshape(len(content), -1).astype(np.float64)  # whole numbers up to 2**53 are exact
    sums = np.stack([levels.sum(axis=1), np.einsum("cp,cp->c", levels, levels)], axis=1)
    return ImageFacts(digest_of(content), zlib.crc32(content.data), sums.astype(np.int64))


def digest_of(image: ImageArray) -> bytes:
    """Return a digest of an image's pixels: equal for equal images, and in practice only for those."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=DIGEST_BYTES).digest()


@final
@dataclass(frozen=True, eq=False)
class AllFacts:
    """What is kept of each of N images.

    Attributes:
        digests: shape (N, DIGEST_BYTES).
        checksums: shape (N,).
        sums: shape (N, channels, 2).
    """

    digests: npt.NDArray[np.uint8]
    checksums: npt.NDArray[np.uint32]
    sums: npt.NDArray[np.int64]

    @classmethod
    def of(cls, found: Sequence[ImageFacts | None], channels: int) -> AllFacts:
        """Return the facts of several images; those of a broken one, None, are zeros."""
        nothing = ImageFacts(bytes(DIGEST_BYTES), 0, np.zeros((channels, 2), dtype=np.int64))
        each = [one or nothing for one in found]
        digests = np.frombuffer(b"".join(one.digest for one in each), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        checksums = np.array([one.checksum for one in each], dtype=np.uint32)
        return cls(digests, checksums, np.array([one.sums for one in each], dtype=np.int64).reshape(-1, channels, 2))

    @classmethod
    def from_table(cls, table: npt.NDArray[Any]) -> AllFacts:
        """Return the facts from what ``table`` gave. Raises ValueError or TypeError if it is none."""
        return cls(table["digest"].copy(), table["checksum"].copy(), table["sums"].copy())

    @property
    def table(self) -> npt.NDArray[Any]:
        """All facts in one array, with a record for each image."""
        columns: dict[str, npt.NDArray[Any]] = {
            "digest": self.digests,
            "checksum": self.checksums,
            "sums": self.sums,
        }
        table = np.empty(len(self.checksums), [(name, each.dtype, each.shape[1:]) for name, each in columns.items()])
        for name, each in columns.items():
            table[name] = each
        return table

    def at(self, indices: IntArray) -> AllFacts:
        """Return the facts of some of the images."""
        return AllFacts(self.digests[indices], self.checksums[indices], self.sums[indices])


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
        self, reader: PixelReader, shape: tuple[int, int, int], facts: AllFacts, indices: IntArray | None = None
    ) -> None:
        self._reader = reader
        self._facts = facts
        self._image_shape = shape
        self._indices = np.arange(len(facts.checksums)) if indices is None else indices

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
    def facts(self) -> AllFacts:
        """What is kept of each of these images."""
        return self._facts.at(self._indices)


SomeImages = ImageArray | StoredImages
"""Images in memory or outside it."""
