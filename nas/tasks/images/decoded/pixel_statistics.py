"""Digests, thumbnails, checksum and moments of images: counted in memory, else from what is kept of each."""

from __future__ import annotations

import math
import zlib

import numpy as np
import numpy.typing as npt

from nas.tasks.images.decoded.stored_images import SomeImages, StoredImages, digest_of, shrunk_to_thumbnails

LEAST_STD = 1 / 255
"""One grey level, so that division by a standard deviation is safe."""
_AT_ONCE = 1000
Thumbnails = npt.NDArray[np.uint8]


def digests_of(images: SomeImages) -> list[bytes]:
    """Return a digest of each image's pixels."""
    if isinstance(images, StoredImages):
        return [row.tobytes() for row in images.facts["digest"]]
    return [digest_of(image) for image in images]


def thumbnails_of(images: SomeImages) -> Thumbnails:
    """Return a thumbnail of each image, shape (N, channels, height, width)."""
    if isinstance(images, StoredImages):
        kept: Thumbnails = images.facts["thumbnail"]
        return kept
    parts = [shrunk_to_thumbnails(images[start : start + _AT_ONCE]) for start in range(0, len(images), _AT_ONCE)]
    return np.concatenate(parts)


def checksum_of(images: SomeImages) -> int:
    """Return the CRC-32 of all pixels, in order."""
    if not isinstance(images, StoredImages):
        return zlib.crc32(np.ascontiguousarray(images).data)
    # With an image's CRC c, crc32(image, before) = c ^ linear(before): linear is that of as many zeros.
    zeros = bytes(math.prod(images.shape[1:]))
    start = zlib.crc32(zeros)
    columns = [zlib.crc32(zeros, 1 << bit) ^ start for bit in range(32)]
    tables = [[_combined(columns[8 * byte : 8 * byte + 8], value) for value in range(256)] for byte in range(4)]
    total = 0
    for checksum in images.facts["checksum"].tolist():
        moved = tables[0][total & 255] ^ tables[1][total >> 8 & 255] ^ tables[2][total >> 16 & 255]
        total = moved ^ tables[3][total >> 24] ^ checksum
    return total


def _combined(columns: list[int], value: int) -> int:
    found = 0
    for bit, column in enumerate(columns):
        if value >> bit & 1:
            found ^= column
    return found


def moments_of(images: SomeImages) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the mean and the standard deviation of each channel on the scale from 0 to 1, shape (channels,)."""
    if isinstance(images, StoredImages):
        pixels = len(images) * math.prod(images.shape[2:])
        counted = [_of_sums(total, squares, pixels) for total, squares in images.facts["sums"].sum(axis=0).tolist()]
    else:
        counted = [_of_levels(images[:, channel]) for channel in range(images.shape[1])]
    means, stds = zip(*counted, strict=True)
    return np.array(means, dtype=np.float32), np.array(stds, dtype=np.float32)


def _of_sums(total: int, squares: int, count: int) -> tuple[float, float]:
    """Return mean and deviation from whole numbers, so that nothing is lost by rounding."""
    return total / count / 255, max(math.sqrt(count * squares - total**2) / count / 255, LEAST_STD)


def _of_levels(channel: npt.NDArray[np.uint8]) -> tuple[float, float]:
    levels = np.arange(256) / 255
    counts = np.zeros(256)
    for start in range(0, len(channel), 1000):  # bincount makes int64 of its input
        counts += np.bincount(channel[start : start + 1000].ravel(), minlength=256)
    share = counts / counts.sum()
    mean = float(share @ levels)
    return mean, max(math.sqrt(share @ (levels - mean) ** 2), LEAST_STD)
