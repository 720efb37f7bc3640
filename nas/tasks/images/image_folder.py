"""A data set from a folder of images, with a subfolder for each class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.errors import DataError, did_you_mean
from nas.progress import Progress
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.pictures import CAMERA_FORMATS, ENDINGS, opened, pixels_of
from nas.tasks.images.cut_off import is_cut_off
from nas.tasks.images.images import TEST_SHARE, Images, Split, complete_splits, usual_shift
from nas.tasks.images.resizing import check_decoded_bytes

MOST_BROKEN = 0.05
"""The largest share of broken pictures that are left out. One picture always is."""
LARGE_PIXELS = 512
"""Pictures with a longer side are large to train on."""
_SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("val", "validation", "valid", "dev"),
    "test": ("test", "testing"),
}
"""The names of the folders of each split, in any case."""
_GREY_MODES = {"1", "L", "LA", "I;16", "I;16B", "I;16L"}
_EXIF_ORIENTATION = 0x0112
_NO_PICTURES = {"", ".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".html", ".ini", ".db", ".pdf", ".py"}
"""Endings of files that nobody expects to be pictures."""
_MOST_NAMED = 5


@dataclass(frozen=True)
class _Picture:
    """An image file with its label, and what its header says: its size as displayed, and whether it is greyscale."""

    path: Path
    label: int
    width: int
    height: int
    is_grey: bool


def load_folder(
    name: str, path: Path, image_size: int | None, validation_share: float, seed: int, progress: Progress
) -> Images:
    """Load the images below ``path`` as a data set called ``name``. Its notes name the broken ones that are left out.

    Raises:
        DataError: images are missing or unfit, or more than MOST_BROKEN of them are broken.
    """
    if not _is_folder(path):
        raise DataError(f"the folder of a data set must exist, but {path} is no folder.")
    path = path.resolve()
    folders = _split_folders(path)
    classes = tuple(folder.name for folder in _class_folders(folders["train"]))
    if len(classes) < 2:
        raise DataError(
            f"{folders['train']} must hold one folder of images for each of at least 2 classes, "
            f"but it holds {len(classes)}.{_inner_hint(path, classes)}"
        )
    skipped: Counter[str] = Counter()
    files = {title: _labelled_files(folder, classes, path, skipped) for title, folder in folders.items()}
    broken = _Broken(path, sum(map(len, files.values())))
    pictures = {title: _headers(members, broken) for title, members in files.items()}
    broken.check()
    everything = [picture for members in pictures.values() for picture in members]
    height, width = _common_size(everything, image_size, path)
    channels = 1 if all(picture.is_grey for picture in everything) else 3
    check_decoded_bytes(len(everything), channels, height, width)
    progress.stage("reading pictures", len(everything))
    try:
        splits = {
            title: _decoded(members, channels, height, width, broken, progress) for title, members in pictures.items()
        }
    finally:
        progress.close()
    broken.check()
    _check_classes(splits, classes, broken)
    try:
        train, validation, test = complete_splits(
            splits["train"], splits.get("validation"), splits.get("test"), validation_share, TEST_SHARE, seed
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    notes = [*broken.notes(), *_skipped_notes(skipped), *_size_notes(height, width, image_size)]
    crop, shift = image_size is not None, usual_shift(train)
    return Images(name, train, validation, test, classes, shift=shift, crop=crop, notes=tuple(notes))


class _Broken:
    """The files below ``root`` that cannot be read as pictures, out of ``count``."""

    def __init__(self, root: Path, count: int) -> None:
        self._root = root
        self._most = max(1, int(MOST_BROKEN * count))
        self._count = count
        self._reasons: dict[Path, str] = {}

    def add(self, path: Path, reason: str) -> None:
        """Note one."""
        self._reasons[path] = reason

    def check(self) -> None:
        """Check that they are few enough to be left out. Raises DataError."""
        if len(self._reasons) > self._most:
            raise DataError(
                f"at most {MOST_BROKEN:.0%} of the pictures may be broken, which is {self._most} of {self._count}, "
                f"but {len(self._reasons)} are: {self.named()}. Mend or remove them."
            )

    def named(self) -> str:
        """Return the first few, with the reasons."""
        shown = [f"{_shown(path, self._root)} ({reason})" for path, reason in self._reasons.items()][:_MOST_NAMED]
        more = len(self._reasons) - len(shown)
        return "; ".join(shown) + (f"; and {more} more" if more else "")

    def notes(self) -> list[str]:
        """Return a sentence that names those that were left out, if there are some."""
        if not self._reasons:
            return []
        were = "was" if len(self._reasons) == 1 else "were"
        return [f"{len(self._reasons)} of {self._count} pictures {were} left out as unreadable: {self.named()}."]


def _split_folders(path: Path) -> dict[str, Path]:
    """Find the folder of each split; ``path`` itself is train unless PATH/train has subfolders."""
    there = sorted(entry for entry in path.iterdir() if entry.is_dir())
    splits = {title: [each for each in there if each.name.lower() in names] for title, names in _SPLIT_FOLDERS.items()}
    if not any(_subfolders(folder) for folder in splits["train"]):
        for folder in (*splits["validation"], *splits["test"]):
            if _subfolders(folder):
                raise DataError(
                    f"a data set with the folder {folder.name} must have a folder train with a subfolder for each "
                    f"class, but {path} has none."
                )
        return {"train": path}
    found = {}
    for title, present in splits.items():
        if len(present) > 1:
            raise DataError(f"{path} must have one folder for {title}, but it has {present[0]} and {present[1]}.")
        if present:
            _check_no_link(present[0])
            found[title] = present[0]
    return found


def _inner_hint(path: Path, classes: Sequence[str]) -> str:
    """Return a hint if the only folder looks like the data set itself, as in an unpacked archive."""
    inner = path.joinpath(*classes[:1])
    return f" Did you mean folder:{inner}?" if len(classes) == 1 and len(_subfolders(inner)) > 1 else ""


def _is_folder(path: Path) -> bool:
    """Return True for a folder. Raises DataError for a path that the system refuses to look at."""
    try:
        return path.is_dir()
    except OSError as error:
        raise DataError(f"the folder of a data set must be readable, but {path} is not: {error.strerror}.") from error


def _subfolders(path: Path) -> list[Path]:
    """Return the folders in a folder, but for hidden ones and those of runs, which a search may have made there."""
    if not path.is_dir():
        return []
    found = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for folder in found:
        if (name := _shown(Path(folder.name))) != folder.name:
            raise DataError(f"class folders need names in UTF-8, but {path} has one called {name!r}. Rename it.")
    return [folder for folder in found if next(folder.glob("*/recipe.toml"), None) is None]


def _class_folders(folder: Path) -> list[Path]:
    loose = [entry for entry in sorted(folder.iterdir()) if entry.name.lower().endswith(ENDINGS) and entry.is_file()]
    if loose:
        raise DataError(f"images must lie in the folder of their class, but {loose[0]} lies in {folder}.")
    return _subfolders(folder)


def _labelled_files(
    folder: Path, classes: tuple[str, ...], root: Path, skipped: Counter[str]
) -> list[tuple[Path, int]]:
    """List the image files below the class folders, in a fixed order, with their labels."""
    members = []
    for class_folder in _class_folders(folder):
        if class_folder.name not in classes:
            raise DataError(
                f"{folder} must have only classes of the training images, but it has {class_folder.name!r}. "
                f"{did_you_mean(class_folder.name, classes)}"
            )
        files = _image_files(class_folder, root, skipped)
        if not files:
            raise DataError(f"each class must have an image, but {class_folder} has none of {', '.join(ENDINGS)}.")
        members += [(file, classes.index(class_folder.name)) for file in files]
    if not members:
        raise DataError(f"a split must have a folder for each class, but {folder} has none. Fill it, or remove it.")
    return members


def _image_files(folder: Path, root: Path, skipped: Counter[str]) -> list[Path]:
    """List the image files below a class folder, and count the endings of the others in ``skipped``."""
    _check_no_link(folder)
    files = []
    for parent, subfolders, names in os.walk(folder, onerror=_refuse):
        for name in subfolders:
            _check_no_link(Path(parent, name))
        for name in names:
            file = Path(parent, name)
            if name.startswith("."):
                continue
            if not name.lower().endswith(ENDINGS):
                skipped[file.suffix.lower()] += 1
                continue
            if file.is_symlink() and file.exists() and not file.resolve().is_relative_to(root):
                raise DataError(f"files of a data set must lie within {root}, but {file} links to {file.resolve()}.")
            files.append(file)
    return sorted(files)


def _refuse(error: OSError) -> None:
    raise DataError(f"folders of a data set must be readable, but {error.filename} is not: {error.strerror}.")


def _check_no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise DataError(f"folders of a data set must not be links, but {folder} links to {folder.resolve()}.")


def _headers(members: Sequence[tuple[Path, int]], broken: _Broken) -> list[_Picture]:
    """Return what the headers of the image files say. Files that cannot be read are noted as broken."""
    found = []
    for path, label in members:
        try:
            found.append(_header(path, label))
        except InputError as error:
            broken.add(path, _reason(error, path))
    return found


def _header(path: Path, label: int) -> _Picture:
    if not path.is_file():  # opening a named pipe would wait for ever
        raise InputError("it is no file, or a broken link")
    if not path.stat().st_size:
        raise InputError("it is empty")
    with opened(path) as image:
        width, height = image.size
        # Cameras store the orientation. PNG is left out, because reading it there decodes the whole image.
        if image.format in CAMERA_FORMATS and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5:
            width, height = height, width
        return _Picture(path, label, width, height, image.mode in _GREY_MODES)


def _decoded(
    pictures: Sequence[_Picture], channels: int, height: int, width: int, broken: _Broken, progress: Progress
) -> Split:
    """Return the pixels of the pictures. Those that cannot be decoded are noted as broken."""
    images = np.empty((len(pictures), channels, height, width), dtype=np.uint8)
    labels: list[int] = []
    for picture in pictures:
        try:
            with opened(picture.path) as image:
                images[len(labels)] = pixels_of(image, channels, height, width)
                if image.format in CAMERA_FORMATS and is_cut_off(picture.path, image):
                    raise InputError("it breaks off before its end")
        except InputError as error:
            broken.add(picture.path, _reason(error, picture.path))
        else:
            labels.append(picture.label)
        progress.advance()
    return Split(images[: len(labels)], np.array(labels, dtype=np.int64))


def _reason(error: InputError, path: Path) -> str:
    """Return why a file is broken, without its path."""
    return str(error).replace(str(path), "it").removeprefix("it cannot be read as an image: ").rstrip(".")


def _check_classes(splits: Mapping[str, Split], classes: tuple[str, ...], broken: _Broken) -> None:
    """Check that splits and classes still have images. Raises DataError."""
    for title, split in splits.items():
        if not len(split):
            raise DataError(f"the {title} split must have images, but all are broken: {broken.named()}.")
    missing = sorted(set(range(len(classes))) - set(splits["train"].labels.tolist()))
    if missing:
        raise DataError(
            f"each class must have an image, but all of {classes[missing[0]]!r} are broken: {broken.named()}."
        )


def _common_size(pictures: Sequence[_Picture], image_size: int | None, path: Path) -> tuple[int, int]:
    """Return the height and the width of all images."""
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
    return first.height, first.width


def _skipped_notes(skipped: Counter[str]) -> list[str]:
    """Return a sentence about files that may be pictures of a format that is not read."""
    strange = {ending: count for ending, count in skipped.items() if ending not in _NO_PICTURES}
    if not strange:
        return []
    listed = ", ".join(f"{count} {_shown(Path(ending))}" for ending, count in sorted(strange.items()))
    return [f"files with unknown endings were left out ({listed}). Convert pictures among them to JPEG or PNG."]


def _size_notes(height: int, width: int, image_size: int | None) -> list[str]:
    """Return a sentence about pictures that are large to train on, where nobody has chosen their size."""
    if image_size is not None or max(height, width) <= LARGE_PIXELS:
        return []
    return [
        f"pictures are trained on in full, {width}×{height} pixels, which takes long. To scale them, set their size, "
        "for example by --set data.image_size=64."
    ]


def _shown(path: Path, root: Path | None = None) -> str:
    """Return a path as text that can be written anywhere, whatever bytes it has."""
    return os.fsencode(path if root is None else path.relative_to(root)).decode("utf-8", "backslashreplace")
