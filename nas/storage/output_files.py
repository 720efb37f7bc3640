"""Files that a user asks for, such as pages and tables: where one may lie, and writing it whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

from nas.errors import RecipeError
from nas.storage.journal import JOURNAL, RECIPE, write_aside
from nas.storage.run_files import ABOUT, PARENT_WEIGHTS, SESSIONS, SUPERNET_WEIGHTS, TRAINED_WEIGHTS
from nas.storage.writer_lock import WRITER

OF_THE_RUN = (RECIPE, JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", WRITER, SUPERNET_WEIGHTS, PARENT_WEIGHTS, SESSIONS)
"""Files of a run folder that nothing may take the place of."""
OF_A_BUNDLE = {"target", "deployed", "choices"}
"""Some keys of a bundle's description."""
FOLDERS_OF_THE_RUN = ("winners", "retrained", "seeds", "checkpoints", "solved", TRAINED_WEIGHTS)
"""Folders of a run folder into which nothing else may be written."""


def check_file(path: Path, option: str = "--out", run_folder: Path | None = None) -> None:
    """Check that a file may be written at ``path``: it is no folder, and no file that a run or a bundle needs.

    ``run_folder`` counts as a run's folder also where it has no journal. Others are known by theirs.

    Raises:
        RecipeError: it is one.
    """
    if path.is_dir() or not path.name:
        raise RecipeError(f"{option} takes the name of a file, but {path} is a folder.")
    check_place(path, option, run_folder)


def check_place(path: Path, option: str = "--out", run_folder: Path | None = None) -> None:
    """Check that a file or a folder at ``path`` is none that a run or a bundle needs. Raises RecipeError."""
    place = Path(os.path.realpath(path))
    for folder in place.parents:
        if _is_bundle(folder):
            raise RecipeError(f"{option} must not change a bundle, but {path} lies in that of {folder}.")
        if (folder / JOURNAL).is_file() or (run_folder is not None and folder == Path(os.path.realpath(run_folder))):
            first, *more = place.relative_to(folder).parts
            if first in FOLDERS_OF_THE_RUN or (first in OF_THE_RUN and not more):
                raise RecipeError(f"{option} must not take the place of a file of the run itself, but got {path}.")


def _is_bundle(folder: Path) -> bool:
    """Return True for the folder of a bundle. A file of a user's may have the name of its description."""
    try:
        about = json.loads((folder / ABOUT).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.keys() >= OF_A_BUNDLE


def is_plain(path: Path) -> bool:
    """Return True for a file, and for a place where there is none yet; False for a device, a pipe or a socket."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) and not (path.is_symlink() and path.absolute().is_relative_to("/dev"))  # /dev/stdout


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. A link stays one, and the file that it names is written.

    A device and a pipe get the content, and stay what they are.

    Raises:
        RecipeError: a file of a run or of a bundle would be lost.
        OSError: what the system says.
    """
    check_place(path)
    if is_plain(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(Path(os.path.realpath(path)), content)
        return
    try:
        opened = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise RecipeError(f"a pipe needs a program that reads it, but {path} has none. Start that first.") from error
    with os.fdopen(opened, "wb") as stream:
        os.set_blocking(opened, True)
        stream.write(content)


def write_out(path: Path, content: bytes) -> None:
    """Write a file as ``write_whole`` does.

    Raises:
        RecipeError: the folder cannot be made or written, the disk is full, or a file of a run would be lost.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise RecipeError(
            f"{path} must be a file that can be written, but the system says: {error.strerror or error}. "
            "Free some space, or choose another place."
        ) from error
