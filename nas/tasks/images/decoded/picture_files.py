"""Picture files as a source of decoded pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from nas.errors import DataError
from nas.tasks.class_folders import shown
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.pictures import (
    JPEG_FORMATS,
    ON_ITS_SIDE,
    Frame,
    is_wide_pgm,
    opened,
    orientation_of,
    pixels_of,
)
from nas.tasks.images.arrays import ImageArray
from nas.tasks.images.decoded.cut_off import is_cut_off
from nas.tasks.images.decoded.decoding import GREY_MODES, Header, Source
from nas.tasks.transfer.packing import here

if TYPE_CHECKING:
    from PIL import Image

_PNG_EXIF = re.compile(rb"eXIf|Raw profile type|XML:com\.adobe\.xmp")
"""What tells the orientation of a PNG picture, before its pixels or behind them."""
Stamp = tuple[int, int] | None
"""The size of a file, and the time of its last change in ns; None if there is none."""


@final
@dataclass(frozen=True, eq=False)
class PictureFiles(Source):
    """Picture files, which are named by their paths below ``root``. Their sizes and times tell whether they changed."""

    root: Path
    paths: tuple[str, ...]
    stamps: tuple[Stamp, ...]

    @classmethod
    def of(cls, root: Path, paths: Iterable[Path | str]) -> PictureFiles:
        """Return the files as they are now."""
        named = tuple(os.fspath(path) for path in paths)
        return cls(root, named, tuple(map(_stamp, named)))

    @property
    def identity(self) -> Any:
        """The root, and the path, the size and the time of each file."""
        names = [os.fsencode(path).decode("utf-8", "backslashreplace") for path in self.paths]
        return ["files", shown(self.root), names, self.stamps]

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(map(Path, self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return the path below the root, or the whole path of a file that lies elsewhere."""
        path = Path(self.paths[index])
        return shown(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def header(self, index: int) -> Header:
        """Return the size as displayed, and whether the picture is grey, without decoding it."""
        path, stamp = self.paths[index], self.stamps[index]
        if stamp is None or not os.path.isfile(path):  # opening a named pipe would wait for ever
            raise InputError("it is no file, or a broken link")
        if not stamp[0]:
            raise InputError("it is empty")
        with opened(Path(path), "it") as image:
            width, height = image.size
            if _lies_on_its_side(image, path):
                width, height = height, width
            return Header(width, height, image.mode in GREY_MODES or is_wide_pgm(image))

    def pixels(self, index: int, frame: Frame) -> ImageArray:
        """Return the pixels, and look for a picture that breaks off, which Pillow fills with grey."""
        path = Path(self.paths[index])
        with opened(path, "it") as image:
            pixels = pixels_of(image, frame)
            if image.format in JPEG_FORMATS and is_cut_off(path, image):
                raise InputError("it breaks off before its end")
        return pixels

    def again(self, index: int, frame: Frame) -> ImageArray:
        """Return the pixels of a file that must be as it was."""
        path = os.fspath(here(Path(self.paths[index])))
        if _stamp(path) != self.stamps[index]:
            gone = "has changed" if os.path.exists(path) else "is no longer there"
            raise DataError(
                f"pictures must stay as they are during a search, but {shown(Path(path))} {gone}. Restore it, and "
                "resume the run."
            )
        try:
            with opened(Path(path), "it") as image:
                return pixels_of(image, frame)
        except InputError as error:
            raise DataError(f"a picture could be read before, but no longer: {shown(Path(path))} ({error}).") from error


def _lies_on_its_side(image: Image.Image, path: str) -> bool:
    """Return True if an opened picture is stored with width and height exchanged. Hardly any PNG picture is decoded."""
    if image.format == "PNG" and not _PNG_EXIF.search(Path(path).read_bytes()):
        return False
    if image.format == "TIFF" and image.size != (image.tag_v2[256], image.tag_v2[257]):  # type: ignore[attr-defined]
        return False  # Pillow since 11 has exchanged them
    return orientation_of(image) in ON_ITS_SIDE


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # the latter for a NUL character, which no system takes
        return None
    return found.st_size, found.st_mtime_ns
