"""The agent: a program on a board that keeps models, holds the board's lock, and measures with the code as it is here.

It needs Python, numpy and the runtime. It reads framed requests from its input, runs no command that it is sent, and
ends with its input, or when it hears nothing for ``SILENT_S``. Then it releases the lock and ends what it started.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import IO, Any, final

from nas.errors import CandidateError, TargetError
from nas.hardware.devices.device_lock import lock_path
from nas.hardware.devices.first_steps import put_in_place, read_frame, write_frame
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.measuring_process import LocalChannel
from nas.storage.file_lock import HeldElsewhereError, holder_of, take, turn_of
from nas.storage.scratch import temporary_folder
from nas.values.target import Target

SILENT_S = 12.0
"""A driver tells every few seconds that it is there. After so long without a word it is gone.

It hears so long nothing, and a little longer, before it takes the agent for gone: then the lock is free again.
"""
MOST_BYTES = 4 * 2**30
"""Models are kept up to so many bytes. Those that were used longest ago go first."""
TIMES_ITS_SIZE = 4
"""A runtime may write a model anew where it opens it, and tests write their outputs: so much room of it is kept."""
IN_USE_S = 60.0
"""Models that were used so lately stay in any case, because the next request may need them."""
LEFTOVER_S = 3600.0
"""The age of an unfinished folder after which nobody can still be writing it."""
LOST = 3
"""The exit status of an agent whose driver is gone."""


@final
class Models:
    """Folders of files by the hash of their content."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".new-*"):
            with contextlib.suppress(OSError):  # another agent may be removing it too
                if abs(time.time() - left.stat().st_mtime) > LEFTOVER_S:  # the clock may have been set back
                    shutil.rmtree(left)

    def lacking(self, keys: list[str]) -> list[str]:
        """Return the keys that are not here. Those that are count as used now."""
        missing = [key for key in keys if not (self._folder / _checked_key(key)).is_dir()]
        for key in set(keys) - set(missing):
            os.utime(self._folder / key)
        return missing

    def put(self, key: str, files: list[tuple[str, int]], content: bytes) -> None:
        """Keep files, given as names and sizes, whose contents follow each other. Raises ValueError."""
        if digest_of(files, content) != key:
            raise ValueError(f"the files of {key[:12]} must have the hash that they are named by, but arrived changed")
        self._make_room(len(content))
        try:
            self._write(key, files, content)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._make_room(self._most_bytes)
            self._write(key, files, content)

    def _write(self, key: str, files: list[tuple[str, int]], content: bytes) -> None:
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
        try:
            start = 0
            for name, size in files:
                path = made / _checked_name(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as stream:
                    stream.write(content[start : start + size])
                    stream.flush()
                    os.fsync(stream.fileno())  # or a board that starts again may find it empty
                start += size
            put_in_place(str(made), str(self._folder / _checked_key(key)))
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def path(self, key: str, name: str) -> Path:
        """Return the place of a file or folder that was put here, as one that is in use."""
        folder = self._folder / _checked_key(key)
        os.utime(folder)
        return folder / _checked_name(name) if name else folder

    def _make_room(self, wanted: int) -> None:
        now, ages, sizes = time.time(), dict[Path, float](), dict[Path, int]()
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another agent has removed or renamed it
                sizes[path] = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                age = now - path.stat().st_mtime
                ages[path] = age if age >= 0 else math.inf  # the clock was set back
        known = sorted(ages, key=lambda path: -ages[path])
        free = shutil.disk_usage(self._folder).free - TIMES_ITS_SIZE * wanted
        left = min(self._most_bytes - wanted - sum(sizes.values()), free)
        for path in known:
            if left >= 0 or ages[path] < IN_USE_S:
                return
            shutil.rmtree(path, ignore_errors=True)
            left += sizes[path]


def digest_of(files: list[tuple[str, int]], content: bytes) -> str:
    """Return the key of some files: a hash of their names, sizes and contents."""
    found = hashlib.sha256(repr([(str(name), int(size)) for name, size in files]).encode())
    found.update(content)
    return found.hexdigest()


def _checked_key(key: str) -> str:
    if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        raise ValueError(f"a key has 64 hexadecimal digits, but got {key!r:.80}")
    return key


def _checked_name(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
        raise ValueError(f"a file's name must stay in its folder, but got {name!r:.80}")
    return name


@final
class Agent:
    """Answers one request after another."""

    def __init__(self, folder: Path) -> None:
        self._models = Models(folder / "models")
        self._processes: dict[str, LocalChannel] = {}
        self._lock: IO[str] | None = None
        self._turn: IO[str] | None = None

    def answer(self, request: Mapping[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the reply to a request, with the bytes that belong to it. Raises what went wrong."""
        match request["op"]:
            case "info":
                return {"facts": asdict(LocalDevice().facts), "agent": os.getpid()}, b""
            case "lacking":
                return {"lacking": self._models.lacking(request["keys"])}, b""
            case "put":
                self._models.put(request["key"], [(name, size) for name, size in request["files"]], content)
            case "lock":
                return self._locked(), b""
            case "unlock":
                self._unlock()
            case "meter":
                _check_meter(request["meter"])
                return {"reason": LocalDevice().why_no_meter(request["meter"])}, b""
            case "start":
                return {"conditions": self._start(request)}, b""
            case "exchange":
                return self._exchange(request)
            case "end":
                self._end(request["process"])
            case _:
                raise ValueError(f"an unknown request: {request['op']!r:.80}")
        return {}, b""

    def _locked(self) -> dict[str, Any]:
        path = lock_path()
        if self._lock is None:
            try:
                self._turn = self._turn or take(turn_of(path), for_all=True)
                self._lock = take(path, for_all=True)
            except HeldElsewhereError:
                return {"held": False, "holder": holder_of(path)}
            self._turn.close()
            self._turn = None
        return {"held": True}

    def _unlock(self) -> None:
        for held in (self._turn, self._lock):
            if held is not None:
                held.close()
        self._turn = self._lock = None

    def _start(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._end(request["process"])
        target = Target.parse(request["target"])
        channel = LocalChannel(target, Path(sys.executable), request["implementation"])
        self._processes[request["process"]] = channel
        return channel.start(request["pinned"])

    def _exchange(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        channel = self._processes.get(request["process"])
        if channel is None:
            raise CandidateError("measure", "the measuring process has ended")
        if "meter" in request["request"]:
            _check_meter(request["request"]["meter"])
        with temporary_folder("results") as folder:
            results = {name: folder / _checked_name(file) for name, file in request["results"].items()}
            asked = {key: self._here(value) for key, value in request["request"].items()}
            target = Target.parse(request["target"])
            reply = channel.exchange(target, asked, results, request["timeout_s"])
            found = {name: path.read_bytes() for name, path in results.items() if path.exists()}
        sizes = [[name, len(each)] for name, each in found.items()]
        return {"reply": reply, "results": sizes}, b"".join(found.values())

    def _here(self, value: Any) -> Any:
        """Return a value of a request with the paths of the files that it names."""
        if isinstance(value, dict):
            if set(value) == {"key", "name"}:
                return self._models.path(value["key"], value["name"])
            return {name: self._here(each) for name, each in value.items()}
        return [self._here(each) for each in value] if isinstance(value, list) else value

    def _end(self, number: str) -> None:
        channel = self._processes.pop(number, None)
        if channel is not None:
            channel.end()

    def close(self) -> None:
        """End all processes, and release the lock."""
        for number in list(self._processes):
            self._end(number)
        self._unlock()


def _check_meter(meter: Mapping[str, Any]) -> None:
    """Check that a meter is an instrument of the board. Raises TargetError: no command comes over the connection."""
    if meter.get("command"):
        raise TargetError("a command that prints joules runs on this machine only. Leave it out for another device.")


def serve(requests: IO[bytes], replies: IO[bytes], folder: str) -> None:
    """Answer requests until they end or nothing is heard for ``SILENT_S``."""
    os.environ.setdefault("NAS_HOME", folder)
    agent, waiting = Agent(Path(folder)), queue.SimpleQueue[tuple[dict[str, Any], bytes] | None]()
    heard, writing = [time.monotonic()], threading.Lock()

    def reply(message: dict[str, Any], content: bytes = b"") -> None:
        with writing, contextlib.suppress(OSError):  # then the driver is gone, which the reader sees
            write_frame(replies, message, content)

    def hear() -> None:
        heard[0] = time.monotonic()

    def read() -> None:
        while (found := read_frame(requests, hear)) is not None:
            if found[0]["op"] == "ping":
                reply({"id": found[0]["id"], "ok": True})
            else:
                waiting.put(found)
        agent.close()
        os._exit(0)

    def watch() -> None:
        while time.monotonic() - heard[0] < SILENT_S:
            time.sleep(SILENT_S / 15)
        agent.close()
        os._exit(LOST)

    for work in (read, watch):
        threading.Thread(target=work, daemon=True).start()
    while (found := waiting.get()) is not None:
        request, content = found
        number = request["id"]
        try:
            message, results = agent.answer(request, content)
            reply({"id": number, "ok": True, **message}, results)
        except (TargetError, CandidateError) as error:
            kind = error.kind if isinstance(error, CandidateError) else "target"
            reason = error.reason if isinstance(error, CandidateError) else str(error)
            reply({"id": number, "ok": False, "kind": kind, "reason": reason})
        except Exception as error:  # a request that it does not understand, or a full disk
            reply({"id": number, "ok": False, "kind": "target", "reason": f"{type(error).__name__}: {error}"})
