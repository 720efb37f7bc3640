"""Temporary files: one folder for each process, inside one that only this user can enter.

A process removes its folder when it ends. If it is killed, the next process that needs temporary files removes it.
Processes that measure put their files into the folder of the process that started them.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from nas.storage.file_lock import HeldElsewhereError, take, waiting_for

PARENTS = "NAS_SCRATCH"
"""The environment variable that names the folder of the process that started this one."""
LOCK_SUFFIX = ".lock"
"""What follows a folder's name in that of its lock."""
_LOCK = "lock"
_claimed: dict[Path, Path] = {}
"""This process's folder in each place for temporary files."""


@contextlib.contextmanager
def temporary_folder(what: str) -> Iterator[Path]:
    """Give an empty folder until the end of the block. ``what`` becomes part of its name."""
    with tempfile.TemporaryDirectory(prefix=f"{what}-", dir=scratch_folder(), ignore_cleanup_errors=True) as name:
        yield Path(name)


def scratch_folder(longest: int | None = None) -> Path:
    """Return this process's folder for temporary files, which is made at the first call.

    The path has at most ``longest`` characters where the system has such a place. Ray needs that for its sockets.
    """
    given = os.environ.get(PARENTS)
    if given and longest is None and Path(given).is_dir():
        return Path(given)
    place = Path(tempfile.gettempdir()).absolute()
    folder = _own(place)
    if longest is not None and len(str(folder)) > longest and sys.platform != "win32":
        return _own(Path("/tmp"))  # noqa: S108 a private folder in it
    return folder


def for_children(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a child's temporary files, and those of its libraries, lie in our folder."""
    ours = str(scratch_folder())
    return {**environment, PARENTS: ours, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), ours)}


def _own(place: Path) -> Path:
    folder = _claimed.get(place)
    if folder is None or not folder.is_dir():
        folder = _claimed[place] = _claim(place)
    return folder


def _claim(place: Path) -> Path:
    """Make this process's folder, and remove those of processes that were killed."""
    home = _private_home(place)
    with waiting_for(home / _LOCK):
        _sweep(home)
        folder = Path(tempfile.mkdtemp(dir=home, prefix=""))
        lock = take(_lock_of(folder))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a fork of it
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()
            with contextlib.suppress(OSError):
                _lock_of(folder).unlink()

    atexit.register(remove)
    return folder


def _private_home(place: Path) -> Path:
    """Return this user's folder in a place that all users share. Nobody else can enter it."""
    home = place / (f"nas-{os.getuid()}" if hasattr(os, "getuid") else "nas")
    with contextlib.suppress(FileExistsError):
        home.mkdir(mode=0o700)
    if hasattr(os, "getuid"):
        found = home.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():  # somebody else was here first
            return Path(tempfile.mkdtemp(dir=place, prefix=f"{home.name}-"))
        if stat.S_IMODE(found.st_mode) != 0o700:
            home.chmod(0o700)
    return home


def _sweep(home: Path) -> None:
    """Remove the folders that no living process holds, and their locks."""
    names = {path.name.removesuffix(LOCK_SUFFIX) for path in home.iterdir()} - {_LOCK}
    for folder in (home / name for name in names):
        try:
            lock = take(_lock_of(folder))
        except HeldElsewhereError:
            continue
        with lock:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            _lock_of(folder).unlink()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{LOCK_SUFFIX}")
