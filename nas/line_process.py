"""A process that answers each request by one line of JSON, and that can be ended when it hangs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, final

LAST_S = 1.0
"""How long the last lines of a process that has ended may take. A process that it forked can keep its output open."""


@final
class LineProcess:
    """A process that reads requests, one JSON object a line, and writes one line for each. It starts at once.

    Ctrl-C does not reach it: the process that started it ends it. If it ended first, its work would seem to fail.
    Processes that it started end with it, unless they have left its group.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, stderr: int | None = None) -> None:
        self._process = subprocess.Popen(  # noqa: S603 this program, by an argument list
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            env=dict(environment),
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request; a value that JSON lacks goes as its text. Raises BrokenPipeError if the process has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request, default=str) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            if error.errno != errno.EINVAL:  # Windows says this of a pipe that nobody reads
                raise
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error

    def line(self, timeout_s: float) -> str:
        """Return the next line, or "" once the process has ended. Raises queue.Empty after ``timeout_s``."""
        return self._lines.get(timeout=timeout_s)

    def wait(self) -> int:
        """Wait for the end of the process, and return its exit code."""
        return self._process.wait()

    def end(self) -> None:
        """End the process, and close its input. Its output is closed by the thread that reads it."""
        self._process.kill()
        self._watcher.join()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # unflushed data has no reader any more
            self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._lines.put(line)

    def _watch(self) -> None:
        """Wait for the end of the process, end what is left of its group, and then say so to ``line``."""
        self._process.wait()
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left, or nothing of this user
                os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(LAST_S)
        self._lines.put("")
