"""A data set from a folder of images, with a subfolder for each class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.errors import DataError, did_you_mean
from nas.tasks.deployed.pictures import ENDINGS
from nas.tasks.images.decoded.picture_files import PictureFiles, shown
from nas.tasks.images.images import Images
from nas.tasks.images.labelled import SPLIT_NAMES, LabelledPictures, Reading
from nas.tasks.links import check_no_link, check_within

_NO_PICTURES = {"", ".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".html", ".ini", ".db", ".pdf", ".py"}
"""Endings of files that nobody expects to be pictures."""


def load_folder(name: str, path: Path, reading: Reading) -> Images:
    """Load the images below ``path`` as a data set called ``name``. Its notes name the broken ones that are left out.

    Raises:
        DataError: images are missing or unfit, or too many of them are broken.
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
    files, labels, splits = [], [], []
    for title, folder in folders.items():
        members = _labelled_files(folder, classes, path, skipped)
        files += [file for file, _ in members]
        labels += [label for _, label in members]
        splits += [title] * len(members)
    source = PictureFiles.of(path, files)
    notes = _skipped_notes(skipped)
    return LabelledPictures(name, source, np.array(labels), np.array(splits), classes, notes).task(reading)


def _split_folders(path: Path) -> dict[str, Path]:
    """Find the folder of each split; ``path`` itself is train unless PATH/train has subfolders."""
    there = sorted(entry for entry in path.iterdir() if entry.is_dir())
    splits = {title: [each for each in there if each.name.lower() in names] for title, names in SPLIT_NAMES.items()}
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
            check_no_link(present[0])
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
        if (name := shown(Path(folder.name))) != folder.name:
            raise DataError(f"class folders need names in UTF-8, but {path} has one called {name!r}. Rename it.")
    return [folder for folder in found if next(folder.glob("*/recipe.toml"), None) is None]


def _class_folders(folder: Path) -> list[Path]:
    loose = [entry for entry in sorted(folder.iterdir()) if entry.name.lower().endswith(ENDINGS) and entry.is_file()]
    if loose:
        raise DataError(f"images must lie in the folder of their class, but {loose[0]} lies in {folder}.")
    return _subfolders(folder)


def _labelled_files(folder: Path, classes: tuple[str, ...], root: Path, skipped: Counter[str]) -> list[tuple[str, int]]:
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
        label = classes.index(class_folder.name)
        members += [(file, label) for file in files]
    if not members:
        raise DataError(f"a split must have a folder for each class, but {folder} has none. Fill it, or remove it.")
    return members


def _image_files(folder: Path, root: Path, skipped: Counter[str]) -> list[str]:
    """List the image files below a class folder, and count the endings of the others in ``skipped``."""
    check_no_link(folder)
    files = []
    for parent, subfolders, names in os.walk(folder, onerror=_refuse):
        for name in subfolders:
            check_no_link(Path(parent, name))
        for name in names:
            if name.startswith("."):
                continue
            if not name.lower().endswith(ENDINGS):
                skipped[Path(name).suffix.lower()] += 1
                continue
            file = os.path.join(parent, name)
            if os.path.islink(file):
                check_within(Path(file), root)
            files.append(file)
    return sorted(files, key=lambda file: os.path.normcase(file).split(os.sep))  # the order of paths, but faster


def _refuse(error: OSError) -> None:
    raise DataError(f"folders of a data set must be readable, but {error.filename} is not: {error.strerror}.")


def _skipped_notes(skipped: Counter[str]) -> list[str]:
    """Return a sentence about files that may be pictures of a format that is not read."""
    strange = {ending: count for ending, count in skipped.items() if ending not in _NO_PICTURES}
    if not strange:
        return []
    listed = ", ".join(f"{count} {shown(Path(ending))}" for ending, count in sorted(strange.items()))
    return [f"files with unknown endings were left out ({listed}). Convert pictures among them to JPEG or PNG."]
