"""The files of a task, which a machine that lacks them fetches once."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

from nas.errors import CandidateError, DataError
from nas.storage.made_folders import MadeFolders
from nas.tasks.task import Task

FOLDER = "shipped"
"""The folder in the home of a machine for files that came from another one."""
PART_BYTES = 16 * 2**20
"""Files are sent in parts of this size."""
_DONE = ".whole"


class ShippedFile(NamedTuple):
    """A file as it was when it was packed, with its place below ``root``, which a task knows."""

    root: str
    below: str
    size: int
    changed_ns: int

    @property
    def path(self) -> Path:
        """The file on the machine where it was packed."""
        return Path(self.root, self.below)

    def is_at(self, path: Path) -> bool:
        """Return True if this very file lies at ``path``."""
        try:
            found = path.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.changed_ns)


@final
@dataclass(frozen=True)
class Parcel:
    """The files of a task. ``key`` differs where the task or its files do."""

    key: str
    files: tuple[ShippedFile, ...]

    @property
    def size(self) -> int:
        """The size of all files in bytes."""
        return sum(file.size for file in self.files)

    @property
    def roots(self) -> list[str]:
        """What the task calls its files and folders, each once."""
        return list(dict.fromkeys(file.root for file in self.files))

    @property
    def is_here(self) -> bool:
        """True if this machine has the same files at the same places, such as on a shared disk."""
        return all(file.is_at(file.path) for file in self.files)


def parcel_of(task: Task) -> Parcel:
    """Return the files of a task. Raises DataError if one is not there."""
    found: list[ShippedFile] = []
    for root in task.files:
        try:
            for path in _files_below(root):
                about = path.stat()
                below = "" if path == root else path.relative_to(root).as_posix()
                found.append(ShippedFile(os.fspath(root), below, about.st_size, about.st_mtime_ns))
        except OSError as error:
            raise DataError(f"data must stay where they are during a search, but {error}.") from error
    text = json.dumps([task.fingerprint, found])
    return Parcel(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24], tuple(found))


def part_of(file: ShippedFile, start: int) -> bytes:
    """Return the part of a file that begins at ``start``. Raises DataError if the file is not as it was."""
    try:
        with file.path.open("rb") as stream:
            stream.seek(start)
            content = stream.read(PART_BYTES)
        if file.is_at(file.path):
            return content
        reason = "has changed"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    raise DataError(
        f"data must stay as they are during a search, but {file.path} {reason}. Restore it, and resume the run."
    )


def stored(parcel: Parcel, part: Callable[[ShippedFile, int], bytes], home: Path) -> Path:
    """Return the folder below ``home`` with the files of a parcel. They are fetched, by ``part``, once on a machine.

    Raises:
        CandidateError: of kind data; this machine cannot store them.
    """
    place = home / FOLDER
    numbers = {root: number for number, root in enumerate(parcel.roots)}

    def fetch(folder: Path) -> None:
        for file in parcel.files:
            path = place_of(folder, numbers[file.root], file.root) / file.below
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as stream:
                for start in range(0, file.size, PART_BYTES):
                    stream.write(part(file, start))
            os.utime(path, ns=(file.changed_ns, file.changed_ns))

    try:
        return MadeFolders(place, _DONE).folder(parcel.key, parcel.size, fetch)
    except OSError as error:
        raise CandidateError(
            "data",
            f"a machine that trains must store the data, which are {parcel.size / 2**20:,.0f} MiB, but "
            f"{socket.gethostname()} cannot in {place}: {error.strerror or error}. Free some space there, set NAS_HOME "
            "where its Ray is started, or let it read the data at the same path.",
        ) from error


def place_of(folder: Path, number: int, root: str) -> Path:
    """Return where what lay at ``root`` lies in ``folder``."""
    return folder / str(number) / Path(root).name


def _files_below(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for parent, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))
