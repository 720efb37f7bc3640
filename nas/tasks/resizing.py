"""Square images of one size, and how large a decoded data set may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nas.errors import DataError
from nas.tasks.dataset import ImageArray, Split

if TYPE_CHECKING:
    from PIL import Image

LARGEST_BYTES = 8 * 2**30


def resized(split: Split, size: int) -> Split:
    """The images' largest centred squares, scaled to ``size`` × ``size`` pixels."""
    from PIL import Image

    count, channels, height, width = split.images.shape
    if (height, width) == (size, size):
        return split
    check_decoded_bytes(count, channels, size, size)
    images = np.empty((count, channels, size, size), dtype=np.uint8)
    for index, source in enumerate(split.images):
        picture = Image.fromarray(source[0] if channels == 1 else source.transpose(1, 2, 0))
        images[index] = channels_first(centred_square(picture, size))
    return Split(images, split.labels)


def centred_square(image: Image.Image, size: int) -> Image.Image:
    """The largest centred square, scaled to ``size``."""
    from PIL import Image, ImageOps

    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def channels_first(image: Image.Image) -> ImageArray:
    """The pixels of a grey or colour image, shape (channels, height, width)."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def check_decoded_bytes(count: int, channels: int, height: int, width: int) -> None:
    """Raises DataError when ``count`` images of that shape would take more than LARGEST_BYTES."""
    size = count * channels * height * width
    if size > LARGEST_BYTES:
        raise DataError(
            f"decoded images must fit into {LARGEST_BYTES / 2**30:.3g} GiB, but {count} of {width}×{height} pixels "
            f"take {size / 2**30:.3g} GiB. Set a lower image_size, for example by --set data.image_size=32."
        )
