"""The driver's side of a connection to a board: frames, the time of each request, and what is said when it is lost."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, final

from nas.errors import CandidateError, TargetError
from nas.hardware.devices import first_steps
from nas.hardware.devices.first_steps import BEGIN, frame_parts, read_frame

HEARTBEAT_S = 3.0
SILENT_S = 15.0
"""A connection over which nothing came for so long is lost."""
HELLO_S = 60.0
"""The time limit for the first answer, with logging in and starting Python on a small board."""
UNPACKED_BYTES_PER_S = 2**17
"""So slow a link still ends in time, with unpacking."""
SHORT_S = 60.0
"""The time limit for a short request. A small board that is busy takes half of it to import numpy."""
TAIL = 2000
START = (
    "import sys;sys.path=[p for p in sys.path if p];"
    "s=sys.stdin.buffer;exec(compile(s.read(int(s.readline())),'first_steps','exec'))"
)
"""The program that reads the first steps: their length in a line, and then their text.

It imports nothing from the folder in which it starts, which is the home of the device's user: a script of theirs may be
called like one of Python's own modules.
"""


class ConnectionLostError(Exception):
    """The connection ended, or nothing came over it; the text says what the system said of it."""


@final
class BoardConnection:
    """A program on a board that answers framed requests, one at a time.

    At first it is ``first_steps``, which tells ``board``: what the board is. After ``start_agent`` it is the agent.

    Raises:
        ConnectionLostError: the board cannot be reached, or has no Python.
    """

    def __init__(self, command: Sequence[str], folder: str, packages: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 a transport's own command, without a shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=sys.platform != "win32",  # Ctrl-C is for the driver, which ends it
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._frames: queue.Queue[tuple[dict[str, Any], bytes] | None] = queue.Queue()
        self._said: list[bytes] = []
        self._heard_s = self._sent_s = time.monotonic()
        self._numbers = itertools.count(1)
        self._writing, self._asking = threading.Lock(), threading.Lock()
        self._has_agent, self._is_closed, self._is_owed = False, False, False
        self.kept: dict[str, float] = {}
        """The files that were there, by key, with the time at which that was known."""
        for work in (self._read, self._listen, self._beat):
            threading.Thread(target=work, daemon=True).start()
        source = Path(first_steps.__file__).read_bytes()
        hello = json.dumps({"folder": folder, "packages": list(packages), "size": 0}).encode() + b"\n"
        self._write_raw(b"%d\n" % len(source) + source + hello)
        self.board: dict[str, Any] = self._next(HELLO_S)[0]

    @property
    def is_closed(self) -> bool:
        """True once the connection has been closed or lost."""
        return self._is_closed

    @property
    def owes_a_reply(self) -> bool:
        """True if a request was given up, as by Ctrl-C, and the program there may still be busy with it."""
        return self._is_owed

    def start_agent(self, paths: Sequence[str]) -> None:
        """Start the agent from folders that were unpacked there. Raises TargetError if they do not suffice."""
        self.ask("start", paths=list(paths))
        self._has_agent = True

    def ask(
        self, op: str, *, content: bytes = b"", limit_s: float = SHORT_S, **request: Any
    ) -> tuple[dict[str, Any], bytes]:
        """Ask the program there something, and return its reply with the bytes that belong to it.

        Replies that come twice, or after their time, are dropped: each has the number of its request.

        Raises:
            CandidateError: a model failed there.
            TargetError: the board cannot do that.
            ConnectionLostError: the connection ended, or the agent did not answer in time.
        """
        with self._asking:
            number, self._is_owed = next(self._numbers), True
            self._write({"op": op, "id": number, **request}, content)
            end_s = time.monotonic() + limit_s + len(content) / UNPACKED_BYTES_PER_S
            while True:
                reply, results = self._next(end_s - time.monotonic())
                if reply.get("id") == number:
                    break
            self._is_owed = False
        if reply.pop("ok", False):
            return reply, results
        kind, reason = reply.get("kind", "target"), reply.get("reason", "it gave no reason")
        raise TargetError(reason) if kind == "target" else CandidateError(kind, reason)

    def close(self) -> None:
        """End the connection, and with it the program on the board."""
        self._is_closed = True
        in_time = threading.Timer(HEARTBEAT_S, self._process.kill)  # closing waits for what a stalled link did not take
        in_time.start()
        try:
            self._close_input()
            self._process.wait()
        finally:
            in_time.cancel()

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # what was not sent yet has no reader any more
            self._process.stdin.close()

    def _lost(self, why: str) -> ConnectionLostError:
        self._is_closed = True
        self._process.kill()
        code = self._process.wait()
        self._close_input()
        time.sleep(0.05)  # for the last words, which another thread reads
        said = b"".join(self._said).decode("utf-8", "replace").strip()[-TAIL:]
        ending = "" if code in (0, -signal.SIGTERM, -9) else f"exit code {code}"
        return ConnectionLostError("; ".join(part for part in (why, said, ending) if part))

    def _next(self, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """Return the next frame that is no heartbeat."""
        end_s = time.monotonic() + timeout_s
        while True:
            now_s = time.monotonic()
            if now_s >= end_s:
                raise self._lost(f"no answer came within {timeout_s:.0f} s")
            if self._has_agent and now_s - self._heard_s > SILENT_S:
                raise self._lost(f"nothing came over the connection for {SILENT_S:.0f} s")
            with contextlib.suppress(queue.Empty):
                found = self._frames.get(timeout=min(1.0, end_s - now_s))
                if found is None:
                    raise self._lost("the connection was closed")
                return found

    def _write(self, message: Mapping[str, Any], content: bytes = b"") -> None:
        assert self._process.stdin is not None
        try:
            with self._writing:
                for part in frame_parts(message, content):
                    self._sent_s = time.monotonic()
                    self._process.stdin.write(part)
                    self._process.stdin.flush()
            self._hear()  # while much is sent, nothing is heard
        except (OSError, ValueError):
            stalled = time.monotonic() - self._sent_s > SILENT_S
            why = f"nothing could be sent for {SILENT_S:.0f} s" if stalled else "the connection was closed"
            raise self._lost(why) from None

    def _write_raw(self, content: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(content)
            self._process.stdin.flush()
        except OSError:
            raise self._lost("the connection was closed") from None

    def _beat(self) -> None:
        """Tell the agent every few seconds that the driver is there, and end a link that takes nothing any more."""
        while not self._is_closed:
            if self._writing.acquire(timeout=HEARTBEAT_S):
                try:
                    if self._has_agent:
                        self._ping()
                finally:
                    self._writing.release()
                time.sleep(HEARTBEAT_S)
            elif time.monotonic() - self._sent_s > SILENT_S:
                self._process.kill()  # who waits to write hears of it
                return

    def _ping(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it is closed
            for part in frame_parts({"op": "ping", "id": 0}):
                self._process.stdin.write(part)
            self._process.stdin.flush()

    def _read(self) -> None:
        stream: IO[bytes] | None = self._process.stdout
        assert stream is not None
        try:
            with stream:
                while (line := stream.readline()) and line.rstrip() != BEGIN:  # what a shell prints at a login
                    self._said = [*self._said[-20:], line]
                while (found := read_frame(stream, self._hear)) is not None:
                    if found[0].get("id") != 0:
                        self._frames.put(found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # it is no frame
            self._said = [*self._said[-20:], f"an answer cannot be read: {error}".encode()]
        finally:
            self._is_closed = True
            self._frames.put(None)

    def _hear(self) -> None:
        self._heard_s = time.monotonic()

    def _listen(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        with stream:
            for line in stream:
                self._said = [*self._said[-20:], line]
