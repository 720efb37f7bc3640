"""A program of the user's that takes a model file and prints milliseconds: for a serial board, or a vendor's farm."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware.devices.program_device import SHOWN, Told
from nas.hardware.devices.registry import DeviceRecord
from nas.hardware.own_programs import ProgramFailedError, ProgramTimeoutError, printed_by
from nas.hardware.runtimes.heat import Heat
from nas.values.metric import LARGEST_VALUE
from nas.values.target import Target

LATENCY, CONDITIONS = "latency_ms", "conditions"


@final
class Command:
    """Runs ``PROGRAM ARGUMENTS… MODEL`` for each session, from an address ``command:PROGRAM ARGUMENTS…``.

    No shell reads it: quotation marks only keep a part together. The environment tells the program more of what is
    wanted: ``NAS_DEVICE``, ``NAS_TARGET``, ``NAS_BATCH``, ``NAS_THREADS``, and ``NAS_SAMPLES``, the least number of
    inferences.

    Raises:
        RecipeError: the address names no program.
    """

    def __init__(self, record: DeviceRecord) -> None:
        self._name = record.name
        words = words_of(record.url.partition(":")[2])
        if not words:
            raise RecipeError(
                "the address of a program is command:PROGRAM [ARGUMENT]..., such as "
                f"'command:/opt/farm/run --board m7', but got {record.url!r}."
            )
        self._program, self._arguments = Path(words[0]).expanduser(), words[1:]
        if os.path.dirname(words[0]) and not self._program.is_absolute():
            raise RecipeError(
                f"a program is named by its whole path, or by its name where it is on PATH, but got {words[0]!r}."
            )

    @property
    def identity(self) -> str:
        """The program's name with a hash of its content and arguments, and of files that these name."""
        path = self._found()
        try:
            digest = _digest(tuple(map(_version, (path, *_files_in(self._arguments)))), tuple(self._arguments))
        except OSError as error:
            raise TargetError(
                f"the program of {self._name} and its files must be readable, for their hash, but: {error}."
            ) from error
        return f"{path.name} sha256:{digest[:16]}"

    def look(self) -> dict[str, Any]:
        """Return the program with its hash. Raises TargetError if it is not there."""
        return {"program": str(self._found()), "identity": self.identity}

    def clear(self) -> None:
        """Remove nothing, because nothing was put there."""

    def heat(self) -> Heat:
        """Return nothing: the program tells no temperature."""
        return Heat()

    def run(self, model: Path, target: Target, least: int, timeout_s: float) -> Told:
        """Run the program once, and return what it tells."""
        command = [str(self._found()), *self._arguments, str(model)]
        environment = {
            "NAS_DEVICE": self._name,
            "NAS_TARGET": str(target),
            "NAS_BATCH": str(target.batch),
            "NAS_THREADS": str(target.threads),
            "NAS_SAMPLES": str(least),
        }
        try:
            return told_by(printed_by(command, timeout_s, environment))
        except ProgramFailedError as error:
            kind = "timeout" if isinstance(error, ProgramTimeoutError) else "measure"
            raise CandidateError(kind, self._must(str(error))) from error
        except OSError as error:
            raise TargetError(f"the program of {self._name} must be one that can be started, but: {error}.") from error
        except ValueError as error:
            raise CandidateError("measure", self._must(f"{error}.")) from error

    def _must(self, but: str) -> str:
        return (
            f"{self._name}: {self._program.name} must print milliseconds, one number a line, but {but.rstrip('.')}. "
            f"Try it: {shlex.join([str(self._program), *self._arguments])} MODEL"
        )

    def _found(self) -> Path:
        found = shutil.which(self._program)
        if found is None:
            raise TargetError(
                f"the program of {self._name} must be one that can be started, but {self._program} cannot: put it "
                "there, and make it executable."
            )
        return Path(found)


def words_of(text: str) -> list[str]:
    """Return the parts of an address as a shell would divide them. Raises RecipeError for an open quotation."""
    try:
        return shlex.split(text, posix=sys.platform != "win32")
    except ValueError as error:
        raise RecipeError(f"an address must close its quotation marks, but got {text.strip()!r}: {error}.") from None


def told_by(printed: bytes) -> Told:
    """Return what a program printed: a number in milliseconds on each line, or JSON.

    JSON is a list of numbers, or an object with ``latency_ms``, a number or a list of them, and perhaps
    ``conditions``, an object of texts, numbers and truth values that are kept beside the latency.

    Raises:
        ValueError: it is anything else.
    """
    try:
        text = printed.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"it printed {printed[:SHOWN]!r}, which is no UTF-8") from None
    if not text.startswith(("{", "[")):
        return Told(tuple(_number(line) for line in text.splitlines() if line.strip()))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its JSON cannot be read: {error}") from None
    whole = found if isinstance(found, Mapping) else {LATENCY: found}
    values, conditions = whole.get(LATENCY), whole.get(CONDITIONS, {})
    if set(whole) - {LATENCY, CONDITIONS} or values is None:
        has = ", ".join(whole) or "nothing"
        raise ValueError(f"its JSON must have {LATENCY} and perhaps {CONDITIONS}, but has {has}")
    listed = values if isinstance(values, list) else [values]
    if not all(type(each) in (int, float) and not abs(each) > LARGEST_VALUE for each in listed):
        raise ValueError(f"{LATENCY} must be numbers, but got {json.dumps(values)[:SHOWN]}")
    if not isinstance(conditions, Mapping):
        raise ValueError(
            f"{CONDITIONS} must be an object of texts and numbers, but got {json.dumps(conditions)[:SHOWN]}"
        )
    return Told(tuple(map(float, listed)), conditions)


def _number(line: str) -> float:
    try:
        return float(line)
    except ValueError:
        raise ValueError(f"it printed {line.strip()[:SHOWN]!r}") from None


def _files_in(arguments: Sequence[str]) -> list[Path]:
    """Return the files that arguments name, also as ``--option=FILE``: a script, or a board's settings."""
    found = []
    for path in (Path(text) for each in arguments for text in (each, each.partition("=")[2]) if text):
        with contextlib.suppress(OSError):  # a text that is too long for a name is none
            found += [path] if path.is_file() else []
    return found


def _version(path: Path) -> tuple[Path, int, int]:
    """Return a file with its time and its size, which change with its content."""
    state = path.stat()
    return path, state.st_mtime_ns, state.st_size


@functools.lru_cache(maxsize=64)
def _digest(files: tuple[tuple[Path, int, int], ...], arguments: tuple[str, ...]) -> str:
    """Return a hash of a program, its files and its arguments. Files are read anew only if their versions change."""
    found = hashlib.sha256(repr(arguments).encode())
    for path, _, _ in files:
        found.update(path.read_bytes())
    return found.hexdigest()
