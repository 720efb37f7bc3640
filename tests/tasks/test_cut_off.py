"""JPEG pictures that break off although they have a proper end."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.tasks.images.decoded.cut_off import is_cut_off


def jpeg(size: tuple[int, int], mode: str, **options: Any) -> bytes:
    """Return a picture with smooth noise, as a file."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (size[1] // 8 + 2, size[0] // 8 + 2, len(mode)), dtype=np.uint8).squeeze()
    file = BytesIO()
    Image.fromarray(coarse, mode).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", **options)
    return file.getvalue()


def is_cut(path: Path, content: bytes) -> bool:
    """Return True if the content is found to be cut off, by Pillow itself or by what is tested here."""
    path.write_bytes(content)
    try:
        with Image.open(path) as image:
            image.load()
            return is_cut_off(path, image)
    except OSError:
        return True


KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"quality": 30},
    {"subsampling": 0},
    {"restart_marker_rows": 1},
    {"progressive": True},
)


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(61, 47), (300, 200)])
def test_a_picture_without_its_middle_is_cut_off(
    tmp_path: Path, size: tuple[int, int], mode: str, options: dict[str, Any]
) -> None:
    """Whole pictures are sound, and those that lack a part of their data, but have an end, are found."""
    whole = jpeg(size, mode, **options)
    assert not is_cut(tmp_path / "whole.jpg", whole)
    assert not is_cut(tmp_path / "trailer.jpg", whole + b"something else \xff\xd9")
    start = whole.rfind(b"\xff\xda") if "progressive" not in options else whole.find(b"\xff\xda")
    for share in (0.1, 0.5, 0.8):
        place = start + 20 + int(share * (len(whole) - start - 20))
        assert is_cut(tmp_path / "cut.jpg", whole[:place] + b"\xff\xd9"), share


def test_a_picture_of_one_colour_is_sound(tmp_path: Path) -> None:
    """Only the data tell: a grey picture looks like one whose data are missing."""
    for size in ((8, 8), (1, 1), (200, 100)):
        file = BytesIO()
        Image.new("RGB", size, (128, 128, 128)).save(file, "JPEG")
        assert not is_cut(tmp_path / "grey.jpg", file.getvalue())
