"""The files of a data set in a folder for each class, which may lie in a folder for each split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nas.errors import DataError, did_you_mean
from nas.paths import why_no_file

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "validation", "valid", "dev"),
    "test": ("test", "testing"),
}
"""The names of each split, in any case: of folders, of files, and in a column of a table."""


class LabelledFile(NamedTuple):
    """A file, the number of its class, the split whose folder it lies in, and its path below the folder of its class.

    The split is "train" where there are none, and the path has slashes.
    """

    path: str
    label: int
    split: str
    within: str


@dataclass(frozen=True)
class ClassFolders:
    """The files below ``root``, in a fixed order.

    Attributes:
        root: the folder of the data set, without links.
        classes: the names of the classes, by number.
        files: the files.
        skipped: the endings of files that are none of the data set, and how many have them.
    """

    root: Path
    classes: tuple[str, ...]
    files: list[LabelledFile]
    skipped: Counter[str]


def class_folders(path: Path, one: str, noun: str, endings: Sequence[str]) -> ClassFolders:
    """Return the files with one of ``endings`` below ``path``; ``one`` is such a file in words, of several ``noun``.

    Raises:
        DataError: the folders are not those of at least 2 classes, a class has no file, or a link leads out of them.
    """
    if not _is_folder(path):
        if path.exists():
            raise DataError(f"a data set must be a folder, but {path} {why_no_file(path) or 'is no folder'}.")
        raise DataError(f"the folder of a data set must exist, but {path} is no folder.")
    return _Reading(path.resolve(), one, noun, tuple(endings)).found()


@dataclass(frozen=True)
class _Reading:
    root: Path
    one: str
    noun: str
    endings: tuple[str, ...]
    skipped: Counter[str] = field(default_factory=Counter)

    def found(self) -> ClassFolders:
        folders = _split_folders(self.root)
        classes = tuple(folder.name for folder in self._class_folders(folders["train"]))
        if len(classes) < 2:
            raise DataError(
                f"{folders['train']} must hold a folder of {self.noun} for each of at least 2 classes, "
                f"but it holds {len(classes)}.{_inner_hint(self.root, classes)}"
            )
        files = [each for title, folder in folders.items() for each in self._of_split(title, folder, classes)]
        self._check_all_are_read(list(folders.values()), files)
        return ClassFolders(self.root, classes, files, self.skipped)

    def _check_all_are_read(self, read: Sequence[Path], files: Sequence[LabelledFile]) -> None:
        """Check that beside the folders of splits no other one looks like a split, which would be passed over.

        One does if two of its folders or more have files that end as those to train on do.
        """
        endings = tuple({Path(each.path).suffix.lower() for each in files if each.split == "train"})
        for folder in [] if self.root in read else _subfolders(self.root):
            if folder in read or folder.name == "__MACOSX" or (folder / "recipe.toml").is_file():
                continue
            if sum(_has_one(each, endings) for each in _subfolders(folder)) >= 2:
                listed = ", ".join(name for names in SPLIT_NAMES.values() for name in names)
                raise DataError(
                    f"beside the folder {read[0].name} only those of other splits may have {self.noun}, called "
                    f"{listed}, but {folder} has some. Rename it, or move it out; if {read[0].name} is a class, rename "
                    "that."
                )

    def _class_folders(self, folder: Path) -> list[Path]:
        loose = [each for each in sorted(folder.iterdir()) if self._is_one(each.name) and each.is_file()]
        if loose:
            raise DataError(f"{self.noun} must lie in the folder of their class, but {loose[0]} lies in {folder}.")
        return _subfolders(folder)

    def _of_split(self, title: str, folder: Path, classes: Sequence[str]) -> list[LabelledFile]:
        members: list[LabelledFile] = []
        for class_folder in self._class_folders(folder):
            if class_folder.name not in classes:
                raise DataError(
                    f"{folder} must have only classes of the training {self.noun}, but it has {class_folder.name!r}. "
                    f"{did_you_mean(class_folder.name, classes)}"
                )
            files = self._files(class_folder)
            if not files:
                listed = ", ".join(self.endings)
                raise DataError(f"each class must have {self.one}, but {class_folder} has none that ends in {listed}.")
            number, start = classes.index(class_folder.name), len(str(class_folder)) + 1
            members += [LabelledFile(file, number, title, file[start:].replace(os.sep, "/")) for file in files]
        if not members:
            raise DataError(f"a split must have a folder for each class, but {folder} has none. Fill it, or remove it.")
        return members

    def _files(self, folder: Path) -> list[str]:
        check_no_link(folder)
        files = []
        for parent, subfolders, names in os.walk(folder, onerror=_refuse):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]  # such as of deleted pictures
            for name in subfolders:
                check_no_link(Path(parent, name))
            for name in names:
                if name.startswith("."):
                    continue
                if not self._is_one(name):
                    self.skipped[Path(name).suffix.lower()] += 1
                    continue
                file = os.path.join(parent, name)
                if os.path.islink(file):
                    check_within(Path(file), self.root)
                files.append(file)
        return sorted(files, key=lambda file: os.path.normcase(file).split(os.sep))  # the order of paths, but faster

    def _is_one(self, name: str) -> bool:
        return name.lower().endswith(self.endings)


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
    for title, present in splits.items():
        if len(present) > 1:
            raise DataError(f"{path} must have one folder for {title}, but it has {present[0]} and {present[1]}.")
    found = {title: present[0] for title, present in splits.items() if present}
    for folder in found.values():
        check_no_link(folder)
    return found


def _has_one(folder: Path, endings: tuple[str, ...]) -> bool:
    """Return True if a file with one of these endings lies anywhere below a folder, but for what is hidden."""
    for _, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if any(name.lower().endswith(endings) and not name.startswith(".") for name in names):
            return True
    return False


def _inner_hint(path: Path, classes: Sequence[str]) -> str:
    """Return a hint if the only folder looks like the data set itself, as in an unpacked archive."""
    inner = path.joinpath(*classes[:1])
    looks_like_one = len(classes) == 1 and inner.is_dir() and len(_subfolders(inner)) > 1
    return f" Did you mean folder:{inner}?" if looks_like_one else ""


def _subfolders(path: Path) -> list[Path]:
    """Return the folders in a folder, but for hidden ones and those of runs, which a search may have made there."""
    found = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for folder in found:
        if (name := shown(Path(folder.name))) != folder.name:
            raise DataError(f"class folders need names in UTF-8, but {path} has one called {name!r}. Rename it.")
    return [folder for folder in found if next(folder.glob("*/recipe.toml"), None) is None]


def _is_folder(path: Path) -> bool:
    """Return True for a folder. Raises DataError for a path that the system refuses to look at."""
    try:
        return path.is_dir()
    except OSError as error:
        raise DataError(f"the folder of a data set must be readable, but {path} is not: {error.strerror}.") from error


def _refuse(error: OSError) -> None:
    raise DataError(f"folders of a data set must be readable, but {error.filename} is not: {error.strerror}.")


def shown(path: Path) -> str:
    """Return a path as text that can be written anywhere, whatever bytes it has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def check_no_link(folder: Path) -> None:
    """Check that a folder of a data set is no link, wherever it leads. Raises DataError otherwise."""
    if folder.is_symlink():
        raise DataError(f"folders of a data set must not be links, but {folder} links to {folder.resolve()}.")


def check_within(file: Path, root: Path) -> None:
    """Check that a file is no link out of ``root``, a path without links. Raises DataError otherwise.

    A link to nothing is left to who reads the file.
    """
    if file.is_symlink() and file.exists() and not file.resolve().is_relative_to(root):
        raise DataError(f"files of a data set must lie within {root}, but {file} links to {file.resolve()}.")
