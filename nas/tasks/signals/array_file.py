"""Windows in NumPy's files: an .npz with labels in it, or an .npy with labels in another."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.tasks.loading import path_of
from nas.tasks.moments import ROWS

LABELS = "labels.npy"
"""The file of labels beside an .npy file, unless another is named."""
LARGEST_BYTES = 8 * 2**30
"""The most memory that the arrays of a file may take in each process."""
_NAMES = {
    "windows": ("windows", "signals", "X", "x", "X_train", "x_train"),
    "labels": ("labels", "y", "Y", "y_train", "Y_train"),
    "test_windows": ("test_windows", "X_test", "x_test"),
    "test_labels": ("test_labels", "y_test", "Y_test"),
    "groups": ("groups",),
    "test_groups": ("test_groups",),
}
"""The names of arrays in an .npz file, those of scikit-learn and Keras included."""


def read_arrays(path: Path, labels: Path | None, group: str = "", order: str = "") -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of ``Signals.from_arrays`` by name: windows and labels, and others that are there.

    ``group`` and ``order`` name further arrays, or files seen from the folder of an .npy file; the order "rows" is that
    of the windows. The groups of test windows are in an array whose name is that of the others after "test_".
    Raises DataError if a file cannot be read or lacks one of them. Pickled objects are never loaded.
    """
    if path.suffix.lower() == ".npy":
        beside = labels or path.with_name(LABELS)
        if not beside.is_file():
            raise DataError(
                f"windows in an .npy file need their labels in another, but there is no {beside}. "
                "Name it by --set data.labels=FILE.npy."
            )
        given = {"windows": _loaded(path), "labels": _loaded(beside)}
        if order == ROWS:
            given["order"] = np.arange(len(given["windows"]))
        named = {"groups": group, "order": "" if order == ROWS else order}
        return {**given, **{title: _loaded(path_of(name, path.parent)) for title, name in named.items() if name}}
    try:
        with zipfile.ZipFile(path) as packed:  # a small file may hold very large arrays
            _check_size(path, sum(each.file_size for each in packed.infolist()))
        with np.load(path, allow_pickle=False) as stored:
            wanted: dict[str, Sequence[str]] = dict(_NAMES)
            if group or order:
                wanted["groups"] = (group,) if group else ()
            if group:
                wanted["test_groups"] = (f"test_{group}",)
            if order and order != ROWS:
                wanted["order"] = (order,)
            found = {title: _one_of(stored, names) for title, names in wanted.items()}
            there = ", ".join(stored.files)
            for option, title, name in (("group", "groups", group), ("order", "order", order)):
                if name not in ("", ROWS) and found[title] is None:
                    raise DataError(f"data.{option} must name an array of {path}, but {name!r} is none of {there}.")
            missing = [title for title in ("windows", "labels") if found[title] is None]
            if missing:
                raise DataError(
                    f"an .npz of signals must hold windows and labels, but {path} holds {there or 'nothing'}."
                )
            arrays = {title: stored[name] for title, name in found.items() if name is not None}
            return {**arrays, "order": np.arange(len(arrays["windows"]))} if order == ROWS else arrays
    except DataError:
        raise
    except Exception as error:  # zipfile, struct and numpy raise their own
        raise DataError(f"{path} cannot be read as .npz: {' '.join(str(error).split())}") from error


def _check_size(path: Path, size: int) -> None:
    if size > LARGEST_BYTES:
        raise DataError(
            f"arrays must fit into {LARGEST_BYTES / 2**30:.4g} GiB, but those of {path} take {size / 2**30:,.4g}. "
            "Save fewer windows, or numbers of fewer bits."
        )


def _one_of(stored: Any, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in stored.files), None)


def _loaded(path: Path) -> npt.NDArray[Any]:
    try:
        _check_size(path, path.stat().st_size)
        found: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path} cannot be read as .npy: {' '.join(str(error).split())}") from error
    return found
