"""Finding JPEG pictures that break off before their end, which decoders fill with grey without a word."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_CODES = bytes(range(1, 255)) + bytes(range(254, 0, -1))
_ADDED = _CODES + b"".join(bytes((0xFF, 0xD0 + number)) + _CODES for number in range(8))
"""Codes of a picture, also after each of the eight markers at which decoding may start anew."""


def is_cut_off(path: Path, image: Image.Image) -> bool:
    """Return True for a JPEG picture whose data end too early, although it has a proper end.

    Pillow fills the missing part with grey and reports nothing. Bytes added before the end have no effect on a complete
    picture, but they change one that lacks some.
    """
    width, height = image.size
    corner = image.crop((max(0, width - 2), max(0, height - 2), width, height)).getextrema()
    bounds = corner if isinstance(corner[0], tuple) else (corner,)
    is_progressive = "progressive" in image.info
    if not is_progressive and any(low != high for low, high in bounds):
        return False  # the missing part would be of one colour
    data = path.read_bytes()
    end = _end_of_jpeg(data)
    if end is None:
        return False
    scale = 1 if is_progressive else 8
    return _small(data, scale) != _small(data[:end] + _ADDED + data[end:], scale)


def _small(data: bytes, scale: int) -> bytes:
    from PIL import Image

    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        if scale > 1:
            image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
        return image.tobytes()


def _end_of_jpeg(data: bytes) -> int | None:
    """Return where the end marker of the first picture in a JPEG file stands; None if there is none."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xD9:
            return place
        if marker == 0xFF:  # padding
            place += 1
            continue
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDA:  # the coded picture follows, to the next marker that is neither a restart nor an escape
            found = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]").search(data, place)
            if found is None:
                return None
            place = found.start()
    return place if data[place : place + 2] == b"\xff\xd9" else None
