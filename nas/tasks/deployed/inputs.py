"""Finding the files that a user names, and the error for those that cannot be used."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = tuple[Array, ...]
"""An array for each input of a model: of one item, or of several along the first axis."""
Named = Iterator[tuple[str, "Arrays | InputError"]]
"""The names of items with their raw arrays, or with the reason why one cannot be used."""


class InputError(ValueError):
    """An input that cannot be used. The message says which, why, and what to do."""


def files_in(path: Path, endings: Sequence[str], noun: str) -> list[Path]:
    """Return a file's path, or those of all files with one of ``endings`` below a folder, sorted.

    ``noun`` is what such files are called. Raises InputError if there is none.
    """
    if os.path.isfile(path):  # not a named pipe, whose reading would wait for ever
        return [path]
    if not os.path.isdir(path):
        raise InputError(f"there is no file or folder {path}.")
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]  # as in training
        found += [
            Path(folder, name)
            for name in names
            if name.lower().endswith(tuple(endings))
            and not name.startswith(".")
            and os.path.isfile(os.path.join(folder, name))
        ]
    if not found:
        raise InputError(f"the folder {path} has no {noun}, which end in {', '.join(endings)}.")
    return sorted(found)


def saved_array(path: Path) -> Array:
    """Return the array in an .npy file, which stays on the disk until it is read.

    Raises InputError, with the reason, if there is none.
    """
    try:
        saved = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(str(error)) from error
    if not getattr(saved, "size", 0):  # an .npz file has no size
        raise InputError("it holds no array")
    array: Array = saved
    return array


def paths_of(inputs: Any) -> list[Path] | None:
    """Return the paths that a user gave as one or several; None for anything else, such as an array."""
    if isinstance(inputs, (str, Path)):
        return [Path(inputs)]
    if isinstance(inputs, np.ndarray) or not isinstance(inputs, Iterable):
        return None
    given = list(inputs)
    return [Path(each) for each in given] if all(isinstance(each, (str, Path)) for each in given) else None


class ReadsFiles(abc.ABC):
    """A preparation that reads items from files, and from folders of files that end in one of its ``endings``.

    ``noun`` is what such files are called.
    """

    endings: tuple[str, ...]
    noun: ClassVar[str]

    @abc.abstractmethod
    def file_items(self, path: Path) -> Named:
        """Yield the name and the raw arrays of each item in a file, or the reason why one cannot be used.

        Raises InputError if the whole file cannot be used.
        """

    @property
    @abc.abstractmethod
    def nothing(self) -> Arrays:
        """The raw arrays of no items."""

    def items(self, path: Path) -> Named:
        """Yield the name and the raw arrays of each item in a file or folder, or the reason why it cannot be used."""
        return self.in_files(path, self.file_items)

    def in_files(self, path: Path, read: Callable[[Path], Named]) -> Named:
        """Yield what ``read`` yields of a file, or of each file in a folder, or the reason why one cannot be used."""
        try:
            files = files_in(path, self.endings, self.noun)
        except InputError as error:
            yield str(path), error
            return
        for file in files:
            try:
                yield from read(file)
            except InputError as error:
                yield str(file), error

    def read_files(self, paths: Iterable[Path]) -> Arrays:
        """Return the raw items of files and folders together. Raises InputError at the first that cannot be used."""
        found = []
        for path in paths:
            for _, item in self.items(path):
                if isinstance(item, InputError):
                    raise item
                found.append(item)
        return tuple(np.stack(each) for each in zip(*found, strict=True)) if found else self.nothing


class ReadsArrays(ReadsFiles):
    """A preparation that also takes raw items, along the first axis of an array or of an .npy file."""

    @abc.abstractmethod
    def checked(self, items: Array) -> Array:
        """Return an array of several items as raw ones. Raises InputError, which says how it differs."""

    def read(self, inputs: Any) -> Arrays:
        """Return raw items from the path of a file or a folder, from several such paths, or from an array.

        Raises InputError, which says which one cannot be used and why.
        """
        paths = paths_of(inputs)
        return (self.checked(np.asarray(inputs)),) if paths is None else self.read_files(paths)

    def in_files(self, path: Path, read: Callable[[Path], Named]) -> Named:
        """Yield the items of files, of which one that ends in .npy holds raw items."""
        return super().in_files(path, lambda file: self._saved(file) if file.suffix.lower() == ".npy" else read(file))

    def _saved(self, path: Path) -> Named:
        try:
            items = self.checked(saved_array(path))
        except InputError as error:
            raise InputError(f"{path} cannot be used as an array of {self.noun}: {error}") from error
        yield from ((f"{path}[{number}]", (item,)) for number, item in enumerate(items))
