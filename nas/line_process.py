"""A process that answers each request by one line of JSON, and that can be ended when it hangs."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, final


@final
class LineProcess:
    """A process that reads requests, one JSON object a line, and writes one line for each. It starts at once.

    Ctrl-C does not reach it: the process that started it ends it. If it ended first, its work would seem to fail.
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
        threading.Thread(target=_forward, args=(self._process, self._lines), daemon=True).start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request; a value that JSON lacks goes as its text. Raises BrokenPipeError if the process has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()

    def line(self, timeout_s: float) -> str:
        """Return the next line, or "" once the process has ended. Raises queue.Empty after ``timeout_s``."""
        return self._lines.get(timeout=timeout_s)

    def wait(self) -> int:
        """Wait for the end of the process, and return its exit code."""
        return self._process.wait()

    def end(self) -> None:
        """End the process, and close its streams."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:  # unflushed data has no reader any more
                continue


def _forward(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.put(line)
    except ValueError:  # closed while it waited
        return
    lines.put("")
