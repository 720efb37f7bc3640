"""A lock that one process holds at a time. The system releases it when the process ends, even if it is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

RETRY_S = 0.05
FOR_OWNER_AND_GROUP = 0o660
"""The permissions of a new lock file: who can open it can hold it, so others may not."""
BYTE_ON_WINDOWS = 1 << 30
"""The byte that is locked on Windows, far behind the content, which others then may read."""


class HeldElsewhereError(OSError):
    """Another process holds the lock."""


def take(path: Path) -> IO[str]:
    """Hold the lock at ``path`` until the stream is closed.

    The file is made if it does not exist. A link is not followed: who may write to the folder could lead it elsewhere.

    Raises:
        HeldElsewhereError: another process holds it.
        OSError: the file cannot be opened or locked at all, or is no regular file.
    """
    stream = _opened(path)
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
    try:
        listed = [line.split() for line in locks.read_text().splitlines()]
    except OSError:
        return None
    try:
        number = str(path.stat().st_ino)
    except OSError:
        return False
    # As in "1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF"; a process that waits for it has "->" after the number.
    return any(
        len(words) > 5 and words[1:4] == ["FLOCK", "ADVISORY", "WRITE"] and words[5].rpartition(":")[2] == number
        for words in listed
    )


def _opened(path: Path) -> IO[str]:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        if path.is_symlink():  # Windows has no O_NOFOLLOW
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), FOR_OWNER_AND_GROUP)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(f"{path} must be a file of its own, but it is a link") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} must be a regular file, but it is none")
    return os.fdopen(descriptor, "r+")


@contextlib.contextmanager
def waiting_for(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``, as soon as it is free."""
    while True:
        try:
            stream = take(path)
            break
        except HeldElsewhereError:
            time.sleep(RETRY_S)
    with stream:
        yield
