"""Bad data sets: folders of pictures that are none, and pictures that are broken. ``predict.py`` has its own table."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bad_inputs.bad_input import BadInput
from PIL import Image

Prepare = Callable[[Path], Any]
PHOTOS = ("search", "--data", "folder:photos")
LOOKED_AT = (*PHOTOS, "--dry-run")
"""What deserves only a warning is looked at, not searched."""


def picture(path: Path, size: tuple[int, int] = (12, 10), seed: int = 0) -> Path:
    """Write a picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def photos(folder: Path, count: int = 6, ending: str = "png", root: str = "photos") -> None:
    """Write two classes of different pictures."""
    for number, title in enumerate(("cat", "dog")):
        for index in range(count):
            picture(folder / root / title / f"{index}.{ending}", (60, 50), 100 * number + index)


def with_photos(change: Prepare, count: int = 6, ending: str = "png") -> Prepare:
    """Return what writes good pictures and then does something to their folder."""

    def prepare(folder: Path) -> None:
        photos(folder, count, ending)
        change(folder / "photos")

    return prepare


def all_become(content: bytes) -> Prepare:
    """Return what gives every picture this content."""
    return with_photos(lambda root: [path.write_bytes(content) for path in root.rglob("*.png")])


def one_becomes(content: bytes) -> Prepare:
    """Return what gives one of 40 pictures this content."""
    return with_photos(lambda root: (root / "cat" / "3.png").write_bytes(content), count=20)


def huge_header() -> bytes:
    """Return the start of a PNG file that says that it has ten thousand million pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + struct.pack(">I", 0) + b"IDAT"


def close_too_early(root: Path) -> None:
    """Remove the second half of a JPEG file but for its end."""
    path = root / "dog" / "2.jpg"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff\xd9")


def wrong_names(root: Path) -> None:
    """Give a class a name in Latin-1."""
    os.rename(root / "dog", os.path.join(os.fsencode(root), b"h\xfcnd"))


def pipe(root: Path) -> None:
    """Make a named pipe that looks like a picture."""
    os.mkfifo(root / "cat" / "p.png")


def rename_to_heic(root: Path) -> None:
    """Give a class the pictures of a phone."""
    for path in list(root.glob("cat/*")):
        path.rename(path.with_suffix(".heic"))


def copies_in_the_test(root: Path) -> None:
    """Make splits of the classes, whose test has three of the training pictures."""
    for title in ("cat", "dog"):
        (root / "train").mkdir(exist_ok=True)
        (root / title).rename(root / "train" / title)
    for title, index in (("cat", 0), ("cat", 1), ("dog", 2)):
        (root / "test" / title).mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "train" / title / f"{index}.png", root / "test" / title / f"other-{index}.png")


def one_class_to_validate(root: Path) -> None:
    """Make splits of the classes, whose validation has dogs alone."""
    for title in ("cat", "dog"):
        (root / "train").mkdir(exist_ok=True)
        (root / title).rename(root / "train" / title)
    for index in range(3):
        picture(root / "val" / "dog" / f"{index}.png", (60, 50), 900 + index)


def one_class_to_train(root: Path) -> None:
    """Make splits, of which only the test has both classes."""
    one_class_to_validate(root)
    (root / "train" / "dog").rename(root / "other")
    (root / "other").rename(root / "val" / "cat")


def recipe(text: str) -> Prepare:
    """Return what writes a recipe."""
    return lambda folder: (folder / "recipe.toml").write_text(text)


BAD_INPUTS = {
    "a folder without folder:": BadInput(
        ("search", "--data", "photos"), ("unknown data set 'photos'", "write folder:photos"), photos
    ),
    "an absolute folder without folder:": BadInput(("search", "--data", "{here}/photos"), ("write folder:/",), photos),
    "a folder in place of a recipe": BadInput(
        ("search", "photos"), ("is a folder. For its images, --data folder:photos",), photos
    ),
    "a data set in place of a recipe": BadInput(("search", "digits"), ("write --data digits",)),
    "an archive": BadInput(
        ("search", "--data", "a.zip"), ("is a file: put images into a folder",), lambda at: (at / "a.zip").touch()
    ),
    "a data set that is nearly known": BadInput(("search", "--data", "digts"), ("Did you mean 'digits'?",)),
    "no name": BadInput(("search", "--data", ""), ("data",)),
    "no folder": BadInput(("search", "--data", "folder:"), ("data need a path, but got none", "folder:.")),
    "a missing folder": BadInput(PHOTOS, ("must exist, but", "photos is no folder")),
    "a picture in place of a folder": BadInput(
        ("search", "--data", "folder:a.png"), ("a.png is no folder",), lambda at: picture(at / "a.png")
    ),
    "a pipe in place of a folder": BadInput(
        PHOTOS, ("a data set must be a folder, but", "photos is a named pipe"), lambda at: os.mkfifo(at / "photos")
    ),
    "a user that does not exist": BadInput(
        ("search", "--data", "folder:~nosuchuser/x"), ("'~nosuchuser/x' begins with a user that does not exist here",)
    ),
    "a root of such a user": BadInput(
        ("search", "--data", "mnist", "--set", "data.root=~nosuchuser"), ("a user that does not exist here",)
    ),
    "a zero byte in a path": BadInput(
        ("search", "recipe.toml"), ("without NUL characters",), recipe('[data]\nname = "folder:a\\u0000b"\n')
    ),
    "a link to itself": BadInput(
        PHOTOS, ("photos is no folder",), lambda at: (at / "photos").symlink_to(at / "photos")
    ),
    "an empty folder": BadInput(PHOTOS, ("at least 2 classes, but it holds 0",), lambda at: (at / "photos").mkdir()),
    "a single class": BadInput(
        PHOTOS, ("at least 2 classes, but it holds 1",), with_photos(lambda root: shutil.rmtree(root / "dog"))
    ),
    "a folder around the data set": BadInput(
        ("search", "--data", "folder:."), ("but it holds 1. Did you mean folder:", "photos?"), photos
    ),
    "pictures beside their classes": BadInput(
        PHOTOS, ("must lie in the folder of their class",), with_photos(lambda root: picture(root / "a.png"))
    ),
    "a class without pictures": BadInput(
        PHOTOS, ("each class must have an image",), with_photos(lambda root: (root / "empty").mkdir())
    ),
    "a class of another format": BadInput(
        PHOTOS,
        ("has none that ends in .png, .jpg",),
        with_photos(rename_to_heic),
    ),
    "a picture for each class": BadInput(PHOTOS, ("no class has more than one",), partial(photos, count=1)),
    "a class that is a link": BadInput(
        PHOTOS, ("must not be links",), with_photos(lambda root: (root / "emu").symlink_to(root / "dog"))
    ),
    "a picture outside": BadInput(
        PHOTOS,
        ("must lie within", "links to"),
        with_photos(lambda root: (root / "cat" / "x.png").symlink_to(picture(root.parent / "outside.png"))),
    ),
    "a test class that nobody trains on": BadInput(
        PHOTOS,
        ("only classes of the training images, but it has 'emu'",),
        with_photos(lambda root: [copies_in_the_test(root), (root / "test" / "cat").rename(root / "test" / "emu")]),
    ),
    "texts called .png": BadInput(PHOTOS, ("5% of the pictures may be broken", "12 are"), all_become(b"hello")),
    "empty files": BadInput(PHOTOS, ("12 are", "Mend or remove them"), all_become(b"")),
    "pictures of ten thousand million pixels": BadInput(PHOTOS, ("12 are", "too large"), all_become(huge_header())),
    "mirroring in words": BadInput(
        (*PHOTOS, "--set", "data.mirror=perhaps"), ("mirror must be true or false",), photos
    ),
    "random parts in words": BadInput(
        (*PHOTOS, "--set", "data.random_parts=some"), ("random_parts must be true or false",), photos
    ),
    "no size": BadInput((*PHOTOS, "--set", "data.image_size=0"), ("image_size",), photos),
    "a negative size": BadInput((*PHOTOS, "--set", "data.image_size=-8"), ("image_size",), photos),
    "a size in words": BadInput((*PHOTOS, "--set", "data.image_size=big"), ("image_size",), photos),
    "a size with a part": BadInput((*PHOTOS, "--set", "data.image_size=32.5"), ("image_size",), photos),
    "a size of a million": BadInput((*PHOTOS, "--set", "data.image_size=1000000"), ("must fit into 256 MiB",), photos),
    "a share of all": BadInput((*PHOTOS, "--set", "data.validation_share=1"), ("validation_share",), photos),
    "a share in percent": BadInput((*PHOTOS, "--set", "data.validation_share=20"), ("validation_share",), photos),
    "a share that is no number": BadInput(
        (*PHOTOS, "--set", "data.validation_share=nan"), ("validation_share",), photos
    ),
    "a key that data lack": BadInput((*PHOTOS, "--set", "data.flip=true"), ("flip",), photos),
    "one broken picture": BadInput(
        LOOKED_AT, ("1 of 40 pictures was left out as unreadable: cat/3.png",), one_becomes(b"x"), status=0
    ),
    "one picture of one byte less": BadInput(
        LOOKED_AT,
        ("1 of 12 pictures was left out as unreadable: dog/1.png",),
        with_photos(lambda root: (root / "dog" / "1.png").write_bytes((root / "dog" / "1.png").read_bytes()[:-60])),
        status=0,
    ),
    "a photo without its second half": BadInput(
        LOOKED_AT, ("dog/2.jpg (it breaks off before its end)",), with_photos(close_too_early, ending="jpg"), status=0
    ),
    "photos of a phone among others": BadInput(
        LOOKED_AT, ("left out (1 .heic)",), with_photos(lambda root: (root / "cat" / "a.HEIC").touch()), status=0
    ),
    "test pictures that are trained on": BadInput(
        LOOKED_AT,
        ("3 of 3 test pictures share a group with pictures of an earlier split",),
        with_photos(copies_in_the_test, count=10),
        status=0,
    ),
    "pictures of one pixel": BadInput(
        LOOKED_AT,
        ("pictures have a side of 1 pixels",),
        with_photos(lambda root: [picture(path, (1, 1), n) for n, path in enumerate(sorted(root.rglob("*.png")))]),
        status=0,
    ),
    "one class in the test": BadInput(
        LOOKED_AT,
        ("all test pictures are of cat, so a model that always answers it has no test error",),
        lambda at: (
            photos(at, root="photos/train"),
            [picture(at / "photos" / "test" / "cat" / f"{n}.png", (60, 50), 900 + n) for n in range(4)],
        ),
        status=0,
    ),
    "one picture a class": BadInput(
        PHOTOS,
        ("no class has more than one. Add images: three of a class give one to train, one to validate",),
        with_photos(lambda root: None, count=1),
    ),
    "two pictures a class": BadInput(
        PHOTOS,
        ("a validation split needs a class with at least two images", "Add images: three of a class"),
        with_photos(lambda root: None, count=2),
    ),
    "three pictures a class": BadInput(
        LOOKED_AT,
        ("2 to train, 2 to validate, 2 to test", "fewer than 5 training images"),
        partial(photos, count=3),
        status=0,
    ),
    "one class to train": BadInput(
        PHOTOS, ("for each of at least 2 classes, but it holds 1",), with_photos(one_class_to_train)
    ),
    "one class to validate": BadInput(
        LOOKED_AT,
        ("warning: all validation pictures are of dog, so a candidate that always answers it seems best. Put",),
        with_photos(one_class_to_validate),
        status=0,
    ),
    "a picture of one pixel beside large ones": BadInput(
        LOOKED_AT,
        (
            "differ in size, from 1×1 to 60×50 pixels, so their middle squares are scaled to 48",
            "1 of 12 pictures is at least 8 times smaller than the 48 pixels that models see",
            "cat/1.png (1×1)",
        ),
        with_photos(lambda root: picture(root / "cat" / "1.png", (1, 1))),
        status=0,
    ),
    "a picture in two classes": BadInput(
        LOOKED_AT,
        ("warning: 1 picture is in more than one class",),
        with_photos(lambda root: shutil.copy(root / "cat" / "1.png", root / "dog" / "cat.png")),
        status=0,
    ),
}

if sys.platform == "linux":  # other systems have no such names, or no named pipes
    BAD_INPUTS |= {
        "a class name in Latin-1": BadInput(
            PHOTOS, ("class folders need names in UTF-8", "Rename it"), with_photos(wrong_names)
        ),
        "a named pipe": BadInput(
            LOOKED_AT,
            ("cat/p.png (it is no file",),
            with_photos(pipe),
            status=0,
        ),
    }
