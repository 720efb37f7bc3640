"""Scaling arrays of images to squares of one size, and the largest decoded data set."""

from __future__ import annotations

import numpy as np

from nas.errors import DataError
from nas.tasks.deployed.pictures import pixels_of
from nas.tasks.images.splits import Split

LARGEST_BYTES = 8 * 2**30
"""The most memory that a decoded data set may take."""


def resized(split: Split, size: int) -> Split:
    """Return the largest centred square of each image, scaled to ``size`` × ``size`` pixels."""
    from PIL import Image

    count, channels, height, width = split.images.shape
    if (height, width) == (size, size):
        return split
    check_decoded_bytes(count, channels, size, size)
    images = np.empty((count, channels, size, size), dtype=np.uint8)
    for index, source in enumerate(split.images):
        picture = Image.fromarray(source[0] if channels == 1 else source.transpose(1, 2, 0))
        images[index] = pixels_of(picture, channels, size, size)
    return Split(images, split.labels)


def check_decoded_bytes(count: int, channels: int, height: int, width: int) -> None:
    """Raise DataError if ``count`` images of that shape take more than LARGEST_BYTES."""
    size = count * channels * height * width
    if size > LARGEST_BYTES:
        raise DataError(
            f"decoded images must fit into {LARGEST_BYTES / 2**30:.3g} GiB, but {count} of {width}×{height} pixels "
            f"take {size / 2**30:.3g} GiB. Set a lower image_size, for example by --set data.image_size=32."
        )
