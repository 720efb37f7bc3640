"""Pictures lie upright wherever they are read, whichever format tells how they were held."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torchvision
from PIL import Image, ImageOps
from small_bundle import write_bundle

from nas.tasks.deployed.inputs import Arrays
from nas.tasks.deployed.pictures import Frame
from nas.tasks.deployed.predict import Model
from nas.tasks.images.decoded.picture_files import PictureFiles
from nas.tasks.images.loading import load_data

UNDONE = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""By orientation, how an upright picture is turned into what is stored."""
FORMATS: dict[str, dict[str, Any]] = {
    "jpg": {"quality": 100, "subsampling": 0},
    "png": {},
    "webp": {"lossless": True},
    "tif": {},
}
WIDE = (48, 32)


def upright(seed: int = 0) -> Image.Image:
    """Return a picture of coarse noise, wider than it is high: no turn of it looks like another."""
    noise = np.random.default_rng(seed).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(WIDE, Image.Resampling.BICUBIC)


def write(path: Path, orientation: int, seed: int = 0) -> Path:
    """Write the picture as a camera does that was held in another way."""
    turn = UNDONE[orientation]
    stored = upright(seed) if turn is None else upright(seed).transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.save(path, exif=exif, **FORMATS[path.suffix[1:]])
    return path


def pixels(picture: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(picture).transpose(2, 0, 1)


@pytest.mark.parametrize("orientation", UNDONE)
@pytest.mark.parametrize("ending", FORMATS)
def test_the_same_picture_comes_out_the_same(tmp_path: Path, ending: str, orientation: int) -> None:
    """Its header tells the size as displayed, and its pixels are those of the upright picture."""
    path = write(tmp_path / f"held.{ending}", orientation)
    with Image.open(path) as opened:
        np.testing.assert_allclose(pixels(ImageOps.exif_transpose(opened)), pixels(upright()), atol=6)
    source = PictureFiles.of(tmp_path, [path])
    assert source.header(0)[:2] == WIDE
    found = source.pixels(0, Frame(3, WIDE[1], WIDE[0])).astype(int)
    assert abs(found - pixels(upright())).max() <= (6 if ending == "jpg" else 0)


def test_folders_tables_and_bundles_agree(tmp_path: Path) -> None:
    """All pictures of a folder, held in any way, have one size, and a deployed model reads what was trained on."""
    files = [
        write(tmp_path / "photos" / title / f"{orientation}.{ending}", orientation)
        for title, ending in (("a", "png"), ("a", "tif"), ("b", "webp"))
        for orientation in UNDONE
    ]
    folder = load_data(f"folder:{tmp_path / 'photos'}")
    rows = "".join(f"{path.relative_to(tmp_path)},{path.parent.name}\n" for path in files)
    (tmp_path / "labels.csv").write_text(f"path,label\n{rows}")
    table = load_data(str(tmp_path / "labels.csv"))
    for data in (folder, table):
        assert data.input_shape == (3, *WIDE[::-1])
        for split in (data.train, data.validation, data.test):
            assert (np.asarray(split.images) == pixels(upright())).all()
    deployed = Model(write_bundle(tmp_path / "bundle", folder).parent).preparation
    read: Arrays = deployed.read(files)
    assert (read[0] == pixels(upright())).all()


def test_pictures_of_torchvision_lie_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sets read files as they are stored, but keep what they say."""

    class Held(torchvision.datasets.ImageFolder):
        def __init__(self, root: str) -> None:
            super().__init__(str(Path(root) / "held"))

    monkeypatch.setattr(torchvision.datasets, "Held", Held, raising=False)
    monkeypatch.setattr(torchvision.datasets, "__all__", (*torchvision.datasets.__all__, "Held"))
    for title in ("a", "b"):
        for orientation in UNDONE:
            write(tmp_path / "held" / title / f"{orientation}.png", orientation)
    data = load_data("torchvision:Held", root=tmp_path)
    assert data.input_shape == (3, *WIDE[::-1])
    assert (np.asarray(data.train.images) == pixels(upright())).all()


def test_the_orientation_may_follow_the_pixels_of_a_png_file(tmp_path: Path) -> None:
    """The format allows it, so only files that tell nothing are not looked into."""
    path = write(tmp_path / "held.png", 6)
    content = path.read_bytes()
    place = content.index(b"eXIf") - 4
    (length,) = struct.unpack(">I", content[place : place + 4])
    chunk, rest = content[place : place + 12 + length], content[:place] + content[place + 12 + length :]
    end = rest.index(b"IEND") - 4
    path.write_bytes(rest[:end] + chunk + rest[end:])
    source = PictureFiles.of(tmp_path, [path])
    assert source.header(0)[:2] == WIDE
    assert (source.pixels(0, Frame(3, WIDE[1], WIDE[0])) == pixels(upright())).all()


@pytest.mark.parametrize("ending", ["png", "webp"])
@pytest.mark.parametrize("exif", [b"garbage of an editor", b"MM\x00*"])
def test_damaged_notes_beside_sound_pixels_are_ignored(tmp_path: Path, ending: str, exif: bytes) -> None:
    path = tmp_path / f"noted.{ending}"
    upright().save(path, exif=b"Exif\x00\x00" + exif, **FORMATS[ending])
    source = PictureFiles.of(tmp_path, [path])
    assert source.header(0)[:2] == WIDE
    assert (source.pixels(0, Frame(3, WIDE[1], WIDE[0])) == pixels(upright())).all()


def test_a_png_file_that_tells_nothing_is_not_decoded_for_its_size(tmp_path: Path) -> None:
    """Its damaged pixels would else be found, as they are when it is decoded."""
    path = tmp_path / "plain.png"
    upright().save(path)
    content = path.read_bytes()
    place = content.index(b"IDAT") - 4
    (length,) = struct.unpack(">I", content[place : place + 4])
    broken = b"IDAT" + bytes(length)
    chunk = content[place : place + 4] + broken + struct.pack(">I", zlib.crc32(broken))
    path.write_bytes(content[:place] + chunk + content[place + 12 + length :])
    assert PictureFiles.of(tmp_path, [path]).header(0)[:2] == WIDE
