"""Recordings from a folder, with a subfolder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.errors import DataError
from nas.progress import NullProgress, Progress
from nas.tasks.broken_items import check_few, left_out, named
from nas.tasks.class_folders import class_folders
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import read_recording
from nas.tasks.signals.gathering import Labelled

ENDINGS = (".wav", ".csv")
SHOWN_FROM = 200
"""Reading fewer files takes less than a second, and shows no progress."""


def read_folder(path: Path, columns: Sequence[str], progress: Progress) -> tuple[list[Labelled], list[str]]:
    """Return the recordings of all files below the folders of classes, and notes about those that are left out.

    Raises:
        DataError: there are no classes or no files, or too many of them are broken.
    """
    folders = class_folders(path, "a recording", "recordings", ENDINGS)
    found: list[Labelled] = []
    broken: list[str] = []
    shown = progress if len(folders.files) >= SHOWN_FROM else NullProgress()
    shown.stage("reading recordings", len(folders.files))
    try:
        for file, label, split in folders.files:
            try:
                found.append(Labelled(read_recording(Path(file), columns), folders.classes[label], Path(file), split))
            except (InputError, OSError) as error:
                broken.append(str(error).rstrip("."))
            shown.advance()
    finally:
        shown.close()
    check_few(broken, len(folders.files), "recordings")
    for title in set(folders.classes) - {each.label for each in found}:
        raise DataError(f"each class must have a recording, but all of {title!r} are broken: {named(broken)}.")
    return found, left_out(broken, len(folders.files), "recordings")
