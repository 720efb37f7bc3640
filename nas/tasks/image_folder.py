"""A data set from a folder of images, with a subfolder for each class."""

from __future__ import annotations

import contextlib
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import DataError, did_you_mean
from nas.tasks.dataset import TEST_SHARE, DataSet, Split, complete_splits, usual_shift
from nas.tasks.resizing import centred_square, channels_first, check_decoded_bytes

if TYPE_CHECKING:
    from PIL import Image

_EXTENSIONS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_CAMERA_FORMATS = ("JPEG", "MPO")
"""Formats whose pictures may be stored rotated. MPO is JPEG with several pictures."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no format that starts another program
_SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}
_GREY_MODES = {"1", "L", "LA", "I;16", "I;16B", "I;16L"}
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class _Picture:
    """The header of an image file: its size as displayed, and whether it is greyscale."""

    path: Path
    width: int
    height: int
    is_grey: bool


def load_folder(name: str, path: Path, image_size: int | None, validation_share: float, seed: int) -> DataSet:
    """Load the images below ``path`` as a data set called ``name``.

    Raises:
        DataError: images are missing, unreadable or unfit.
    """
    if not path.is_dir():
        raise DataError(f"the folder of a data set must exist, but {path} is no folder.")
    path = path.resolve()
    folders = _split_folders(path)
    classes = tuple(folder.name for folder in _class_folders(folders["train"]))
    if len(classes) < 2:
        raise DataError(
            f"{folders['train']} must hold one folder of images for each of at least 2 classes, "
            f"but it holds {len(classes)}."
        )
    files = {title: _labelled_files(folder, classes, path) for title, folder in folders.items()}
    pictures = [_read_header(file) for members in files.values() for file, _ in members]
    width, height = _common_size(pictures, image_size, path)
    channels = 1 if all(picture.is_grey for picture in pictures) else 3
    check_decoded_bytes(len(pictures), channels, height, width)
    splits = {title: _decode(members, channels, height, width, image_size) for title, members in files.items()}
    try:
        train, validation, test = complete_splits(
            splits["train"], splits.get("validation"), splits.get("test"), validation_share, TEST_SHARE, seed
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return DataSet(name, train, validation, test, classes, shift=usual_shift(train))


def _split_folders(path: Path) -> dict[str, Path]:
    """Find the folder of each split; ``path`` itself is train unless PATH/train has subfolders."""
    if not _subfolders(path / "train"):
        for name in (*_SPLIT_FOLDERS["validation"], *_SPLIT_FOLDERS["test"]):
            if _subfolders(path / name):
                raise DataError(
                    f"a data set with the folder {name} must have a folder train with a subfolder for each class, "
                    f"but {path} has none."
                )
        return {"train": path}
    found = {}
    for title, names in _SPLIT_FOLDERS.items():
        present = [path / name for name in names if (path / name).is_dir()]
        if len(present) > 1:
            raise DataError(f"{path} must have one folder for {title}, but it has {present[0]} and {present[1]}.")
        if present:
            _check_no_link(present[0])
            found[title] = present[0]
    return found


def _subfolders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _class_folders(folder: Path) -> list[Path]:
    loose = [entry for entry in sorted(folder.iterdir()) if entry.suffix.lower() in _EXTENSIONS and entry.is_file()]
    if loose:
        raise DataError(f"images must lie in the folder of their class, but {loose[0]} lies in {folder}.")
    return _subfolders(folder)


def _labelled_files(folder: Path, classes: tuple[str, ...], root: Path) -> list[tuple[Path, int]]:
    """List the image files below the class folders, in a fixed order, with their labels."""
    members = []
    for class_folder in _class_folders(folder):
        if class_folder.name not in classes:
            raise DataError(
                f"{folder} must have only classes of the training images, but it has {class_folder.name!r}. "
                f"{did_you_mean(class_folder.name, classes)}"
            )
        files = _image_files(class_folder, root)
        if not files:
            raise DataError(f"each class must have an image, but {class_folder} has none of {sorted(_EXTENSIONS)}.")
        members += [(file, classes.index(class_folder.name)) for file in files]
    if not members:
        raise DataError(f"a split must have images, but {folder} has none.")
    return members


def _image_files(folder: Path, root: Path) -> list[Path]:
    _check_no_link(folder)
    files = []
    for parent, subfolders, names in os.walk(folder, onerror=_refuse):
        for name in subfolders:
            _check_no_link(Path(parent, name))
        for name in names:
            file = Path(parent, name)
            if name.startswith(".") or file.suffix.lower() not in _EXTENSIONS:
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                raise DataError(f"files of a data set must lie within {root}, but {file} links to {file.resolve()}.")
            if not file.is_file():
                raise DataError(f"{file} cannot be read as an image: it is no file, or a broken link.")
            files.append(file)
    return sorted(files)


def _refuse(error: OSError) -> None:
    raise DataError(f"folders of a data set must be readable, but {error.filename} is not: {error.strerror}.")


def _check_no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise DataError(f"folders of a data set must not be links, but {folder} links to {folder.resolve()}.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image of one of ``_FORMATS``. Raises DataError with the file's name."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is not used
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                yield image
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    except Image.DecompressionBombWarning as error:
        raise DataError(f"{path} is too large an image: {error}") from error


def _read_header(path: Path) -> _Picture:
    with _opened(path) as image:
        width, height = image.size
        # Cameras store the orientation. PNG is left out, because reading it there decodes the whole image.
        if image.format in _CAMERA_FORMATS and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5:
            width, height = height, width
        return _Picture(path, width, height, image.mode in _GREY_MODES)


def _common_size(pictures: Sequence[_Picture], image_size: int | None, path: Path) -> tuple[int, int]:
    if image_size is not None:
        return image_size, image_size
    first = pictures[0]
    for other in pictures:
        if (other.width, other.height) != (first.width, first.height):
            raise DataError(
                f"images must have the same size unless image_size is set, but {first.path} has "
                f"{first.width}×{first.height} pixels and {other.path} {other.width}×{other.height}. "
                "Set image_size, for example by --set data.image_size=32."
            )
    return first.width, first.height


def _decode(
    members: Sequence[tuple[Path, int]], channels: int, height: int, width: int, image_size: int | None
) -> Split:
    from PIL import ImageOps

    images = np.empty((len(members), channels, height, width), dtype=np.uint8)
    for index, (path, _) in enumerate(members):
        with _opened(path) as image:
            upright = ImageOps.exif_transpose(image) if image.format in _CAMERA_FORMATS else image
            picture = _eight_bit(upright, path).convert("L" if channels == 1 else "RGB")
            images[index] = channels_first(picture if image_size is None else centred_square(picture, image_size))
    return Split(images, np.array([label for _, label in members], dtype=np.int64))


def _eight_bit(image: Image.Image, path: Path) -> Image.Image:
    """Reduce an image of 16 bits to its upper eight; Pillow's own conversion clips at 255."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError(f"images must have 8 or 16 bits per channel, but {path} has 32.")
    return image
