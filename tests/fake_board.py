"""A Python for tests of devices that misbehaves as its name says: the real first program and agent, over a bad link."""

from __future__ import annotations

import importlib
import io
import os
import stat
import sys
import time
from pathlib import Path
from typing import IO

YEAR_S = 365 * 86400.0


def python_that(deed: str, folder: Path) -> str:
    """Return a program in the place of a device's Python.

    It ``repeats``, ``is stuck``, ``lags`` by a year, or ``says`` something and ends.
    """
    program = folder / f"python-{deed.partition(' ')[0]}"
    here = Path(__file__).parents[1]
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={here}:{here}/tests exec {sys.executable} -u -m fake_board '{deed}' {folder}\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


class Repeating(io.RawIOBase):
    """Writes each frame twice, the second time with the next one: so replies come late, too."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._last, self._now = stream, b"", b""

    def write(self, content: bytes) -> int:  # type: ignore[override]
        self._now += content
        return len(content)

    def flush(self) -> None:
        again = self._now if self._now.startswith(b"{") else b""  # not the line before the first one
        self._stream.write(self._now + self._last + again)
        self._stream.flush()
        self._last, self._now = again, b""


def main(deed: str) -> None:
    """Act as the Python of a device that was started with the program ``board_connection.START``."""
    if deed.startswith("says "):
        sys.exit(deed.removeprefix("says "))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    requests.read(int(requests.readline()))
    first_steps = importlib.import_module("nas.hardware.devices.first_steps")
    if deed == "is stuck":
        first = first_steps.read_frame(requests)[0]
        replies.write(b"\n" + first_steps.BEGIN + b"\n")
        first_steps.write_frame(replies, first_steps.look_around(first["folder"], []))
        time.sleep(1000)
    if deed == "lags":
        now = time.time
        time.time = lambda: now() - YEAR_S
    first_steps.main(requests, replies if deed == "lags" else Repeating(replies))


if __name__ == "__main__":
    main(sys.argv[1])
