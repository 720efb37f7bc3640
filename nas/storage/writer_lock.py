"""The lock of a run folder's one writer, a file that also counts the rows that have reached the disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO, final

from nas.errors import JournalError
from nas.storage import file_lock

WRITER = ".writer"
_WIDTH = 20
"""The count fills the same bytes from the first row on, so that a full disk has room for it."""


@final
class WriterLock:
    """The lock of a run folder, until it is closed.

    Its file says how many rows are on disk. A journal with fewer has lost some, which it could not tell by itself.
    """

    def __init__(self, stream: IO[str]) -> None:
        """Use ``take`` instead."""
        self._stream = stream

    @classmethod
    def take(cls, folder: Path) -> WriterLock:
        """Return the lock of the run in ``folder``.

        Raises:
            JournalError: another process writes to the run.
            OSError: the folder cannot be written.
        """
        try:
            return cls(file_lock.take(folder / WRITER))
        except file_lock.HeldElsewhereError as error:
            raise JournalError(
                f"a run has one writer, but another process is writing to {folder}. Wait for it, or end it."
            ) from error

    @property
    def noted(self) -> int | None:
        """The number of rows that were noted; None in a run of an older version."""
        descriptor = self._stream.fileno()
        os.lseek(descriptor, 0, os.SEEK_SET)
        return _number_in(os.read(descriptor, _WIDTH + 1))

    def note(self, rows: int) -> None:
        """Note that ``rows`` rows are on disk."""
        descriptor = self._stream.fileno()
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{rows:{_WIDTH}d}\n".encode())
        if rows == 0:
            os.fsync(descriptor)

    def close(self) -> None:
        """Give the lock back."""
        self._stream.close()


def rows_noted(folder: Path) -> int | None:
    """Return the number of rows that the writer of a run noted; None where that cannot be known."""
    path = folder / WRITER
    with contextlib.suppress(OSError):  # a copy may lack the file, and it may belong to another user
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                return _number_in(stream.read(_WIDTH + 1))
    return None


def _number_in(text: bytes) -> int | None:
    digits = text.strip()
    return int(digits) if digits.isdigit() else None
