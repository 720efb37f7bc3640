"""The kinds of inputs that spaces take. Each space refuses others in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from nas.space.signature import Accepts, TensorType, image_signature

IMAGES = Accepts("images", ("channels", "height", "width"))
SIGNALS = Accepts("signals", ("channels", "samples"))
TABLES = Accepts("tables", ("columns",), dtype=None, several=True)
TEXTS = Accepts("texts", ("tokens",), "int64", output_axes=2)


def image_shape(space: object, shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the channels, the height and the width that a space of images is given. Raises ValueError for others."""
    IMAGES.check(type(space).__name__, image_signature(shape, 1))
    channels, height, width = shape
    return channels, height, width


def signal_shape(space: object, shape: Sequence[int]) -> tuple[int, int]:
    """Return the channels and the samples that a space of signals is given. Raises ValueError for others."""
    SIGNALS.check(type(space).__name__, image_signature(shape, 1))
    channels, samples = shape
    return channels, samples


def category_counts(each: TensorType) -> tuple[int, ...]:
    """Return the number of categories of each column of an input; nothing for numbers."""
    return each.counts if len(each.counts) > 1 else each.counts * each.shape[0]
