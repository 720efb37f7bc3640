"""Recordings from a folder, with a subfolder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.errors import DataError
from nas.progress import NullProgress, Progress
from nas.tasks.broken_items import check_few, left_out, named
from nas.tasks.class_folders import LabelledFile, class_folders
from nas.tasks.dependence import NONE
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import read_csv, read_recording
from nas.tasks.file_groups import parts_of_files
from nas.tasks.moments import moments_of
from nas.tasks.signals.csv_file import time_columns, time_notes
from nas.tasks.signals.labelled import Labelled

ENDINGS = (".wav", ".csv")
SHOWN_FROM = 200
"""Reading fewer files takes less than a second, and shows no progress."""


@dataclass(frozen=True)
class FolderOfRecordings:
    """The recordings of a folder, the columns of CSV files that hold them, () for all in their order, and notes."""

    recordings: list[Labelled]
    columns: tuple[str, ...]
    notes: list[str]


def read_folder(
    path: Path, columns: Sequence[str], progress: Progress, group: str = "", order: str = ""
) -> FolderOfRecordings:
    """Return the recordings of all files below the folders of classes; notes tell which are left out.

    ``group`` and ``order`` are patterns that find the group and the time of a file in its path; see
    ``parts_of_files``. Columns of times in CSV files are left out unless ``columns`` names them.

    Raises:
        DataError: there are no classes or no files, too many of them are broken, or one has no group or time.
    """
    folders = class_folders(path, "a recording", "recordings", ENDINGS)
    within = [each.within for each in folders.files]
    groups = parts_of_files(within, group, "data.group") if group not in ("", NONE) else None
    times = parts_of_files(within, order, "data.order") if order else []
    moments = moments_of(times, "data.order", str(path), "file") if order else None
    columns, notes = (columns, []) if columns else _channels_of(folders.files)
    found: list[Labelled] = []
    broken: list[str] = []
    shown = progress if len(folders.files) >= SHOWN_FROM else NullProgress()
    shown.stage("reading recordings", len(folders.files))
    try:
        for number, (file, label, split, _) in enumerate(folders.files):
            together = None if groups is None else groups[number]
            moment = None if moments is None else moments[number]
            try:
                recording = read_recording(Path(file), columns)
                known = split, together, moment, "", within[number]
                found.append(Labelled(recording, folders.classes[label], Path(file), *known))
            except (InputError, OSError) as error:
                broken.append(str(error).rstrip("."))
            shown.advance()
    finally:
        shown.close()
    check_few(broken, len(folders.files), "recordings")
    for title in set(folders.classes) - {each.label for each in found}:
        raise DataError(f"each class must have a recording, but all of {title!r} are broken: {named(broken)}.")
    return FolderOfRecordings(found, tuple(columns), [*notes, *left_out(broken, len(folders.files), "recordings")])


def _channels_of(files: Sequence[LabelledFile]) -> tuple[tuple[str, ...], list[str]]:
    """Return the columns of CSV files without those of times, and a note; () for all in their order.

    The first of the files tells. Others may have them in another order, where each has a name of its own.
    """
    first = next((Path(each.path) for each in files if each.path.lower().endswith(".csv")), None)
    try:
        table = None if first is None else read_csv(first)
    except (InputError, OSError):  # it is told with the other broken files
        return (), []
    times = [] if table is None else time_columns(table)
    channels = () if table is None else tuple(name for name in table.names if name not in times)
    if not channels or (not times and len({*channels}) < len(channels)):
        return (), []
    return channels, time_notes(times)
