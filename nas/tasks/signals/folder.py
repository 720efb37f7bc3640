"""Recordings from a folder, with a subfolder for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nas.errors import DataError, did_you_mean
from nas.progress import NullProgress, Progress
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import read_recording
from nas.tasks.links import check_no_link, check_within
from nas.tasks.signals.gathering import Labelled

ENDINGS = (".wav", ".csv")
MOST_BROKEN = 0.05
"""The largest share of broken files that are left out. One file always is."""
SHOWN_FROM = 200
"""Reading fewer files takes less than a second, and shows no progress."""
_MOST_NAMED = 5
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "validation", "valid", "dev"),
    "test": ("test", "testing"),
}
"""The names of the folders of each split, in any case."""


def read_folder(path: Path, columns: Sequence[str], progress: Progress) -> tuple[list[Labelled], list[str]]:
    """Return the recordings of all files below the folders of classes, and notes about those that are left out.

    Raises:
        DataError: there are no classes or no files, or more than MOST_BROKEN of them are broken.
    """
    files = _labelled_files(path)
    found: list[Labelled] = []
    broken: list[str] = []
    shown = progress if len(files) >= SHOWN_FROM else NullProgress()
    shown.stage("reading recordings", len(files))
    try:
        for file, label, split in files:
            try:
                found.append(Labelled(read_recording(file, columns), label, file, split))
            except (InputError, OSError) as error:
                broken.append(str(error).rstrip("."))
            shown.advance()
    finally:
        shown.close()
    if not broken:
        return found, []
    more = f"; and {len(broken) - _MOST_NAMED} more" if len(broken) > _MOST_NAMED else ""
    named = "; ".join(broken[:_MOST_NAMED]) + more
    if len(broken) > max(1, int(MOST_BROKEN * len(files))) or not found:
        raise DataError(
            f"at most {MOST_BROKEN:.0%} of the recordings may be broken, but {len(broken)} of {len(files)} are: "
            f"{named}. Mend or remove them."
        )
    for label in {each[1] for each in files} - {each.label for each in found}:
        raise DataError(f"each class must have a recording, but all of {label!r} are broken: {named}.")
    return found, [f"{len(broken)} of {len(files)} recordings were left out as unreadable: {named}."]


def _labelled_files(path: Path) -> list[tuple[Path, str, str | None]]:
    """Return the files with their classes and splits, in a fixed order."""
    found = []
    root = path.resolve()
    train: list[str] = []
    for split, folder in _split_folders(path):
        names = [each.name for each in _subfolders(folder)]
        train = train or names
        if split in (None, "train") and len(names) < 2:
            raise DataError(
                f"{folder} must hold a folder of recordings for each of at least 2 classes, but it holds {len(names)}."
            )
        strange = [name for name in names if name not in train]
        if strange:
            raise DataError(
                f"{folder} must have only classes of the training recordings, but it has {strange[0]!r}. "
                f"{did_you_mean(strange[0], train)}"
            )
        for name in names:
            files = _files(folder / name, root)
            if not files:
                raise DataError(
                    f"each class must have a recording, but {folder / name} has none that ends in {', '.join(ENDINGS)}."
                )
            found += [(file, name, split) for file in files]
    return found


def _split_folders(path: Path) -> list[tuple[str | None, Path]]:
    """Return the folders of splits with their titles, training first, or the folder itself without a title."""
    there = _subfolders(path)
    loose = [each for each in sorted(path.iterdir()) if each.suffix.lower() in ENDINGS and each.is_file()]
    if loose:
        raise DataError(f"recordings must lie in the folder of their class, but {loose[0]} lies in {path}.")
    splits = [(title, [each for each in there if each.name.lower() in names]) for title, names in _SPLITS.items()]
    if not any(_subfolders(each) for each in splits[0][1]):
        return [(None, path)]
    for title, folders in splits:
        if len(folders) > 1:
            raise DataError(f"{path} must have one folder for {title}, but it has {folders[0]} and {folders[1]}.")
    return [(title, folders[0]) for title, folders in splits if folders]


def _subfolders(path: Path) -> list[Path]:
    """Return the folders in a folder, but for hidden ones and those of runs, which a search may have made there."""
    found = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    for each in found:
        check_no_link(each)
    return [each for each in found if next(each.glob("*/recipe.toml"), None) is None]


def _files(folder: Path, root: Path) -> list[Path]:
    found = []
    for parent, subfolders, names in os.walk(folder, onerror=_refuse):
        for name in subfolders:
            check_no_link(Path(parent, name))
        found += [Path(parent, name) for name in names if name.lower().endswith(ENDINGS) and not name.startswith(".")]
    for file in found:
        check_within(file, root)
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise DataError(f"folders of a data set must be readable, but {error.filename} is not: {error.strerror}.")
