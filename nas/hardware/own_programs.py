"""Programs of the user's: they run without a shell, for a bounded time, and end with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO

MOST_PRINTED = 2**20
"""A program may print so many bytes."""
TAIL = 300


class ProgramFailedError(Exception):
    """A program did not do what it should. The text says what it did instead, with its last complaints."""


class ProgramTimeoutError(ProgramFailedError):
    """A program did not end in time."""


def printed_by(arguments: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None) -> bytes:
    """Run a program, and return what it printed.

    Raises:
        OSError: it cannot be started.
        ValueError: an argument has a zero byte.
        ProgramFailedError: it did not end in time, failed, or printed nothing or too much.
    """
    # Files, not pipes: a child of the program that keeps a pipe open would outlast the timeout.
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as complaints:
        process = start_program(arguments, printed, complaints, environment)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProgramTimeoutError(told(f"it did not end within {timeout_s:g} s", complaints)) from None
        finally:
            if process.poll() is None:
                end_program(process)
        if code != 0:
            raise ProgramFailedError(told(f"it ended with exit code {code}", complaints))
        printed.seek(0)
        found = printed.read(MOST_PRINTED + 1)
        if not found.strip():
            raise ProgramFailedError(told("it printed nothing", complaints))
        if len(found) > MOST_PRINTED:
            raise ProgramFailedError(told(f"it printed more than {MOST_PRINTED >> 20} MiB", complaints))
        return found


def start_program(
    arguments: Sequence[str],
    printed: IO[bytes] | int,
    complaints: IO[bytes],
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in its own process group, so that its children end with it, and without our standard input."""
    return subprocess.Popen(  # noqa: S603 the user's own program, and no shell
        list(arguments),
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=complaints,
        env=None if environment is None else {**os.environ, **environment},
        start_new_session=True,
    )


def end_program(process: subprocess.Popen[bytes]) -> None:
    """End a program and its children. It has one second to close its instrument."""
    if sys.platform == "win32":
        process.kill()
    else:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS denies signals to an ended process
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
    process.wait()


def told(reason: str, complaints: IO[bytes]) -> str:
    """Return a reason with the last complaints of a program."""
    complaints.seek(0)
    said = complaints.read().decode(errors="replace").strip()[-TAIL:]
    return f"{reason}{f': {said}' if said else '.'}"
