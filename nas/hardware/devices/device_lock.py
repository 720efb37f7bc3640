"""The lock of this machine as a device: one measurement at a time, whoever runs it."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from nas.storage.file_lock import holder_of, waiting_in_turn
from nas.storage.home import home

LOCK = "nas-device.lock"
SHARED = ("/run/lock", "/var/lock", "/tmp")  # noqa: S108 the lock is opened as no link, and holds nothing
"""Folders in which every user can make a file."""
VARIABLE = "NAS_DEVICE_LOCK"


def lock_path() -> Path:
    """Return the lock's path, the same for all users of this machine, or ``$NAS_DEVICE_LOCK`` where it is set.

    Containers of one machine share the lock if that variable names a file that all of them have.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", "C:\\ProgramData")) / LOCK
    return next((Path(folder) / LOCK for folder in SHARED if _is_for_all(Path(folder))), home() / LOCK)


@contextlib.contextmanager
def holding_the_device(say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other measurement runs on this machine, and then make others wait. ``say`` hears of the wait.

    Where the shared lock cannot be used, that of this user is, and ``say`` hears why.
    """
    path, told = lock_path(), False

    def tell() -> None:
        nonlocal told
        if told:
            return
        told = True
        holder = holder_of(path)
        whose = "" if holder is None else f", of process {holder}"
        say(f"waiting for another measurement on this machine{whose}; one runs at a time")

    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(waiting_in_turn(path, for_all=True, tell=tell))
        except OSError as error:
            own = home() / LOCK
            own.parent.mkdir(parents=True, exist_ok=True)
            say(f"measurements of other users are not waited for, because their lock cannot be used: {error}")
            held.enter_context(waiting_in_turn(own, tell=tell))
        yield


def _is_for_all(folder: Path) -> bool:
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and bool(mode & stat.S_IWOTH)
