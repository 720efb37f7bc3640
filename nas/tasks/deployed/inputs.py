"""Finding the files that a user names, and the error for those that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

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
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(path)
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


def named_items(
    path: Path, endings: Sequence[str], noun: str, read: Callable[[Path], Arrays], checked: Callable[[Array], Array]
) -> Named:
    """Yield the name and the raw arrays of each item of a file, a folder or an .npy file of a model with one input.

    ``read`` returns the arrays of a file, and ``checked`` an array of several items after checking it.
    """
    try:
        files = files_in(path, endings, noun)
        if path.suffix.lower() == ".npy" and files == [path]:
            try:
                items = checked(saved_array(path))
            except InputError as error:
                raise InputError(f"{path} cannot be used as an array of {noun}: {error}") from error
            yield from ((f"{path}[{number}]", (item,)) for number, item in enumerate(items))
            return
    except InputError as error:
        yield str(path), error
        return
    for file in files:
        try:
            yield str(file), read(file)
        except InputError as error:
            yield str(file), error


def paths_of(inputs: Any) -> list[Path] | None:
    """Return the paths that a user gave as one or several; None for anything else, such as an array."""
    if isinstance(inputs, (str, Path)):
        return [Path(inputs)]
    if isinstance(inputs, np.ndarray) or not isinstance(inputs, Iterable):
        return None
    given = list(inputs)
    return [Path(each) for each in given] if all(isinstance(each, (str, Path)) for each in given) else None
