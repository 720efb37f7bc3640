"""The first program on a board, sent through the connection: it looks around, unpacks folders, and starts the agent.

It runs in any Python from 3.6 on without another package, so that it can say what is missing. It is no part of a
program here: ``board_connection`` sends its text. Messages are frames: a line of JSON, in which ``size`` counts the
bytes that follow it.
"""

import hashlib
import importlib
import io
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import zipfile
from typing import IO, Any, Callable, Dict, Iterable, Iterator, Mapping, Optional, Tuple

BEGIN = b"nas-device begins"
"""The line before the first message. What a shell prints at a login comes before it."""
PART_BYTES = 2**16
KINDS = ("code", "sites", "models")
NAME = re.compile(r"(?:code|sites)/[0-9a-f]{8,64}")


def read_frame(stream: IO[bytes], heard: Callable[[], None] = lambda: None) -> Optional[Tuple[Dict[str, Any], bytes]]:
    """Return a message with the bytes after it, or None at the end. ``heard`` is called for each part that came."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    heard()
    message: Dict[str, Any] = json.loads(line.decode("utf-8"))
    parts, left = [], message.get("size", 0)
    while left > 0:
        part = stream.read1(min(left, PART_BYTES))  # type: ignore[attr-defined]  # it waits for no more than has come
        if not part:
            return None
        heard()
        parts.append(part)
        left -= len(part)
    return message, b"".join(parts)


def frame_parts(message: Mapping[str, Any], content: bytes = b"") -> Iterator[bytes]:
    """Return a message with some bytes, in parts that a slow link takes in a moment."""
    yield json.dumps(dict(message, size=len(content))).encode("utf-8") + b"\n"
    for start in range(0, len(content), PART_BYTES):
        yield content[start : start + PART_BYTES]


def write_frame(stream: IO[bytes], message: Mapping[str, Any], content: bytes = b"") -> None:
    """Write a message with some bytes."""
    for part in frame_parts(message, content):
        stream.write(part)
    stream.flush()


def folder_of(place: str) -> str:
    """Return the agent's own folder, which is made: in the user's home, or in another place."""
    found = os.path.expanduser(os.path.join(place, "nas-device") if place else os.path.join("~", ".nas-device"))
    os.makedirs(found, exist_ok=True)
    return os.path.abspath(found)


def is_noexec(folder: str) -> bool:
    """Return True where no library can be loaded from a folder."""
    try:
        return bool(os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 8))
    except (AttributeError, OSError):
        return False


def identifier() -> str:
    """Return a hash of the system's identifier of this machine; empty where it has none."""
    text = first_line("/etc/machine-id")
    return hashlib.sha256(("nas " + text).encode()).hexdigest()[:16] if text else ""


def first_line(path: str) -> str:
    """Return the first line of a file of the system; empty where there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.readline().strip(" \0\n")
    except OSError:
        return ""


def versions(names: Iterable[str]) -> Dict[str, str]:
    """Return the versions of packages that this Python has, by name."""
    try:
        from importlib.metadata import PackageNotFoundError, version
    except ImportError:  # Python 3.7 and older, which is too old anyway
        return {}
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def look_around(place: str, packages: Iterable[str]) -> Dict[str, Any]:
    """Return what this machine is, as far as an installation depends on it."""
    facts: Dict[str, Any] = {
        "python": list(sys.version_info[:3]),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "machine": platform.machine(),
        "machine_id": identifier(),
        "serial": first_line("/proc/device-tree/serial-number"),
        "system": platform.system(),
        "libc": list(platform.libc_ver()),
        "time": time.time(),
        "packages": versions(packages),
        "folder": "",
        "have": [],
        "problem": "",
    }
    try:
        folder = folder_of(place)
        descriptor, probe = tempfile.mkstemp(prefix=".probe-", dir=folder)
        os.close(descriptor)
        os.remove(probe)
        kinds = [kind for kind in KINDS if os.path.isdir(os.path.join(folder, kind))]
        have = [kind + "/" + name for kind in kinds for name in sorted(os.listdir(os.path.join(folder, kind)))]
        free = shutil.disk_usage(folder).free
        facts.update(folder=folder, have=have, free_bytes=free, noexec=is_noexec(folder))
    except OSError as error:
        facts["problem"] = str(error)
    return facts


def unpack(folder: str, name: str, content: bytes) -> None:
    """Unpack an archive as a folder with a name, which appears at once and whole."""
    if not NAME.fullmatch(name):
        raise ValueError("an unknown kind of folder: " + repr(name))
    final = os.path.join(folder, name)
    if os.path.isdir(final):
        return
    os.makedirs(os.path.dirname(final), exist_ok=True)
    made = tempfile.mkdtemp(prefix=".new-", dir=folder)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(made)
        getattr(os, "sync", lambda: None)()  # or a board that starts again may find empty files
        put_in_place(made, final)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def put_in_place(made: str, final: str) -> None:
    """Give a finished folder its name. Somebody else may have put the same there in the meantime."""
    try:
        os.replace(made, final)
    except OSError:
        if not os.path.isdir(final):
            raise


def remove(folder: str) -> None:
    """Remove what was put into the folder, and the folder itself if nothing else is in it."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.startswith(".probe-"):
            os.remove(path)
        elif name in KINDS or name.startswith(".new-"):
            shutil.rmtree(path)
    if not os.listdir(folder):
        os.rmdir(folder)


def main(stream: IO[bytes], replies: IO[bytes]) -> None:
    """Answer until the agent is started, or the input ends."""
    beginning = read_frame(stream)
    if beginning is None:
        return
    first = beginning[0]
    replies.write(b"\n" + BEGIN + b"\n")
    facts = look_around(first.get("folder", ""), first.get("packages", []))
    folder = facts["folder"]
    write_frame(replies, facts)
    while True:
        found = read_frame(stream)
        if found is None:
            return
        message, content = found
        answer: Dict[str, Any] = {"id": message.get("id"), "ok": True}
        try:
            if message["op"] == "unpack":
                unpack(folder, message["name"], content)
            elif message["op"] == "remove":
                remove(folder)
            elif message["op"] == "start":
                sys.path[:0] = [os.path.join(folder, name) for name in message["paths"]]
                agent = importlib.import_module("nas.hardware.devices.agent")  # from what was unpacked
                write_frame(replies, answer)
                agent.serve(stream, replies, folder)
                return
        except Exception as error:
            answer = dict(answer, ok=False, reason=type(error).__name__ + ": " + str(error))
        write_frame(replies, answer)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the replies
    main(sys.stdin.buffer, answers)
