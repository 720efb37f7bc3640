"""A lock that one process holds at a time. The system releases it when the process ends, even if it is killed."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

RETRY_S = 0.05


class HeldElsewhereError(OSError):
    """Another process holds the lock."""


def take(path: Path) -> IO[str]:
    """Hold the lock at ``path`` until the stream is closed.

    Raises:
        HeldElsewhereError: another process holds it.
        OSError: the file cannot be opened or locked at all.
    """
    stream = path.open("a")
    try:
        if sys.platform == "win32":
            import msvcrt

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
