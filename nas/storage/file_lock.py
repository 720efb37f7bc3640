"""A lock that one process holds at a time. The system releases it when the process ends, even if it is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

RETRY_S = 0.05
TOLD_AFTER_S = 2.0
FOR_OWNER_AND_GROUP, FOR_ALL = 0o660, 0o644
"""The permissions of a new lock file. Who can read it can hold it, so most are not for other users."""
BYTE_ON_WINDOWS = 1 << 30
"""The byte that is locked on Windows, far behind the content, which others then may read."""


class HeldElsewhereError(OSError):
    """Another process holds the lock."""


def take(path: Path, *, for_all: bool = False) -> IO[str]:
    """Hold the lock at ``path`` until the stream is closed. With ``for_all``, every user of this machine can take it.

    The file is made if it does not exist. A link is not followed: who may write to the folder could lead it elsewhere.

    Raises:
        HeldElsewhereError: another process holds it.
        OSError: the file cannot be opened or locked at all, or is no regular file.
    """
    stream = _opened(path, for_all=for_all)
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(stream.fileno(), BYTE_ON_WINDOWS, os.SEEK_SET)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # the latter on Windows
        stream.close()
        raise HeldElsewhereError(f"{path} is held by another process") from error
    except OSError:  # a file system without locks, which waiting does not change
        stream.close()
        raise
    return stream


def is_held(path: Path, locks: Path = Path("/proc/locks")) -> bool | None:
    """Return True if a process holds the lock at ``path``; None where that cannot be told without taking it.

    Linux lists all locks. To try the lock instead would make a process fail that begins in the same moment.
    """
    return None if not locks.is_file() else holder_of(path, locks) is not None


def holder_of(path: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """Return the number of the process that holds the lock at ``path``; None if none does, or where that is unknown."""
    try:
        listed = [line.split() for line in locks.read_text().splitlines()]
        number = str(path.stat().st_ino)
    except OSError:
        return None
    # As in "1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF"; a process that waits for it has "->" after the number.
    held = (
        words[4]
        for words in listed
        if len(words) > 5 and words[1:4] == ["FLOCK", "ADVISORY", "WRITE"] and words[5].rpartition(":")[2] == number
    )
    return next((int(process) for process in held), None)


def _opened(path: Path, *, for_all: bool) -> IO[str]:
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if path.is_symlink():  # Windows has no O_NOFOLLOW
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if for_all and sys.platform != "win32":
            descriptor = _descriptor_for_all(path, flags)
        else:
            try:
                descriptor = os.open(path, flags | os.O_RDWR | os.O_CREAT, FOR_OWNER_AND_GROUP)
            except PermissionError:  # Windows lets others only read a file in the folder for all users
                if not for_all:
                    raise
                descriptor = os.open(path, flags | os.O_RDONLY)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(f"{path} must be a file of its own, but it is a link") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} must be a regular file, but it is none")
    return os.fdopen(descriptor, "r" if for_all else "r+")


def _descriptor_for_all(path: Path, flags: int) -> int:
    """Open a file that any user may have made. A lock needs no permission to write.

    Linux lets nobody open another user's file in a folder such as /tmp if it would be made where it does not exist.
    """
    while True:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, flags | os.O_RDONLY)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, FOR_ALL)
            os.fchmod(descriptor, FOR_ALL)  # whatever this user's mask is
            return descriptor


def turn_of(path: Path) -> Path:
    """Return the lock that one who waits for the lock at ``path`` holds meanwhile.

    Who wants the lock takes this one first. So nobody who has just released it takes it again before one who waits.
    """
    return path.with_name(f"{path.name}.next")


@contextlib.contextmanager
def waiting_in_turn(path: Path, *, for_all: bool = False, tell: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock at ``path`` as ``waiting_for`` does, one after the other with those who wait as long."""
    with contextlib.ExitStack() as held:
        with waiting_for(turn_of(path), for_all=for_all, tell=tell):
            held.enter_context(waiting_for(path, for_all=for_all, tell=tell))
        yield


@contextlib.contextmanager
def waiting_for(path: Path, *, for_all: bool = False, tell: Callable[[], None] = lambda: None) -> Iterator[IO[str]]:
    """Hold the lock at ``path``, as soon as it is free, and yield its stream.

    ``tell`` is called once if that takes ``TOLD_AFTER_S``.
    """
    began, is_told = time.monotonic(), False
    while True:
        try:
            stream = take(path, for_all=for_all)
            break
        except HeldElsewhereError:
            if not is_told and time.monotonic() - began > TOLD_AFTER_S:
                tell()
                is_told = True
            time.sleep(RETRY_S)
    with stream:
        yield stream
