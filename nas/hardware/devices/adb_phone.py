"""A phone that adb reaches: a runtime's own benchmark program, which the user names, runs each model there."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, final

from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware.devices.agent import digest_of
from nas.hardware.devices.command_runner import told_by, words_of
from nas.hardware.devices.program_device import Told
from nas.hardware.devices.registry import DeviceRecord
from nas.hardware.devices.sent_files import files_of
from nas.hardware.runtimes.heat import Heat
from nas.values.target import Target

FOLDER = PurePosixPath("/data/local/tmp/nas-device")
"""Programs can be run from ``/data/local/tmp`` without any rights on the phone."""
USUAL = {"benchmark_model": ("--graph={model}", "--num_threads={threads}", "--num_runs={samples}", "--warmup_runs=3")}
"""The arguments of known programs, where the user gives none."""
PRINTED = (
    (re.compile(r"Inference \(avg\): ([0-9.e+]+)"), 1e-3),
    (re.compile(r"Average inference time.*?: ([0-9.]+) ms"), 1.0),
)
"""Sentences of known programs with a mean, and its unit in milliseconds: LiteRT's, and ONNX Runtime's."""
MOST_BYTES = 2**30
"""Models on the phone are removed once they take more."""
AFTER_S, ASKED_S = 15.0, 20.0
"""The seconds that adb gets beyond the program's own limit, and those for a short question."""
TOO_LONG = 124
"""The exit status of ``timeout`` for a program that it ended."""
STATES = {
    "unauthorized": "has not allowed this computer: unlock it, and accept the key that its screen shows",
    "offline": "is offline: unplug it, and connect it again",
}
THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's thermal statuses, by number. Source: https://source.android.com/docs/core/power/thermal-mitigation"""


@final
class Phone:
    """Pushes models and runs them, from an address ``adb:[SERIAL] PROGRAM [ARGUMENT]...``.

    Arguments may have ``{model}``, ``{threads}``, ``{batch}`` and ``{samples}``. Without ``{model}`` the model comes
    last. LiteRT's ``benchmark_model`` needs none.

    Raises:
        RecipeError: the address names no program.
    """

    def __init__(self, record: DeviceRecord) -> None:
        self._name = record.name
        text = record.url.partition(":")[2]
        words = words_of(text)
        self._serial = "" if text[:1].isspace() or not words else words.pop(0)
        if not words:
            raise RecipeError(
                "the address of a phone is adb:[SERIAL] PROGRAM [ARGUMENT]..., such as "
                f"'adb:R58M31 /home/me/benchmark_model', but got {record.url!r}. Leave a blank for the only phone."
            )
        self._program = Path(words[0]).expanduser()
        self._arguments = words[1:] or list(USUAL.get(self._program.name, ("{model}",)))
        if not any("{model}" in each for each in self._arguments):
            self._arguments.append("{model}")
        self._there: set[PurePosixPath] = set()
        self._pushed_bytes = 0

    @property
    def identity(self) -> str:
        """The program's name with a hash of its content and arguments."""
        found = hashlib.sha256(repr(self._arguments).encode() + self._content()).hexdigest()
        return f"{self._program.name} sha256:{found[:16]}"

    def look(self) -> dict[str, Any]:
        """Return the phone and the program. Raises TargetError, which says what to do."""
        identity = self.identity
        phone = self._phone
        return {"program": str(self._program), "identity": identity, "serial": phone.serial}

    def clear(self) -> None:
        """Remove what was put there."""
        self._shell(["rm", "-rf", str(FOLDER)], ASKED_S)

    def run(self, model: Path, target: Target, least: int, timeout_s: float) -> Told:
        """Run the program once, and return what it tells."""
        program = self._put({self._program.name: self._content()}) / self._program.name
        place = self._put({name: path.read_bytes() for name, path in files_of(model).items()})
        values = {"model": place if model.is_dir() else place / model.name, "threads": target.threads}
        words = [str(program), *self._arguments]
        for name, value in {**values, "batch": target.batch, "samples": least}.items():
            words = [word.replace(f"{{{name}}}", str(value)) for word in words]
        code, printed, said = self._shell(["timeout", f"{timeout_s:g}", *words], timeout_s + AFTER_S)
        tail = (said or printed).strip()[-300:]
        if code == TOO_LONG:
            raise CandidateError("timeout", f"{self._name}: {program.name} did not end within {timeout_s:g} s: {tail}")
        if code != 0:
            raise CandidateError("measure", f"{self._name}: {program.name} ended with exit code {code}: {tail}")
        try:
            return told_by_benchmark(printed, said)
        except ValueError as error:
            raise CandidateError(
                "measure", f"{self._name}: {program.name} must print milliseconds, but {error}"
            ) from error

    def heat(self) -> Heat:
        """Return the temperature of the battery, and Android's thermal status, where the system tells them."""
        battery = re.search(r"temperature: (-?\d+)", self._asked(["dumpsys", "battery"]))
        status = re.search(r"Thermal Status: (\d+)", self._asked(["dumpsys", "thermalservice"]))
        level = min(int(status[1]), len(THERMAL) - 1) if status else 0
        signs = (f"Android's thermal status was {THERMAL[level]}",) if level else ()
        return Heat(int(battery[1]) / 10 if battery else None, signs)

    def _asked(self, words: list[str]) -> str:
        code, printed, _ = self._shell(words, ASKED_S)
        return printed if code == 0 else ""

    def _content(self) -> bytes:
        try:
            return self._program.read_bytes()
        except OSError as error:
            raise TargetError(f"the program of {self._name} must be a file of this machine, but: {error}.") from error

    def _put(self, files: Mapping[str, bytes]) -> PurePosixPath:
        """Push files into a folder of their own, unless they are there, and return it."""
        listed, content = [(name, len(each)) for name, each in files.items()], b"".join(files.values())
        place = FOLDER / digest_of(listed, content)[:16]
        if place in self._there:
            return place
        if self._pushed_bytes + len(content) > MOST_BYTES:
            self.clear()
            self._there, self._pushed_bytes = set(), 0
        for name, each in files.items():
            self._shell(["mkdir", "-p", str((place / name).parent)], ASKED_S)
            with self._adb_errors():
                self._phone.sync.push(each, str(place / name), 0o755, check=True)
        self._there.add(place)
        self._pushed_bytes += len(content)
        return place

    def _shell(self, words: list[str], timeout_s: float) -> tuple[int, str, str]:
        """Run a command there, and return its exit code and what it printed. Its parts are quoted for the shell."""
        with self._adb_errors():
            done = self._phone.shell2(shlex.join(words), timeout=timeout_s, v2=True)
            # An old phone has one stream for both.
            return done.returncode, done.stdout if done.stdout or done.stderr else done.output, done.stderr

    @cached_property
    def _phone(self) -> Any:
        """The phone that is named, or the only one. Raises TargetError if there is none, or it is not ready."""
        with self._adb_errors():
            client = adb_client()
            states = {each.serial: each.state for each in client.list()}
        named = ", ".join(states)
        if not states:
            raise TargetError(f"{self._name} must be connected, but adb sees no phone: switch on USB debugging there.")
        if not self._serial and len(states) > 1:
            raise TargetError(
                f"{self._name} must name its phone, because there are {len(states)}: {named}. Add it again, as "
                f"'adb:{next(iter(states))} {self._program}'."
            )
        serial = self._serial or next(iter(states))
        if serial not in states:
            raise TargetError(f"{self._name} must be connected as {serial}, but adb sees {named}.")
        if states[serial] != "device":
            what = STATES.get(states[serial], f"is in the state {states[serial]}")
            raise TargetError(f"{self._name} ({serial}) {what}.")
        return client.device(serial)

    @contextlib.contextmanager
    def _adb_errors(self) -> Iterator[None]:
        """Say of what adb does not do that it is about this phone."""
        expected: tuple[type[Exception], ...] = (*adb_errors(), OSError, EOFError)
        try:
            yield
        except expected as error:
            self.__dict__.pop("_phone", None)  # it may be there again later
            raise TargetError(f"{self._name} cannot be reached by adb: {error or type(error).__name__}.") from error


def told_by_benchmark(printed: str, said: str) -> Told:
    """Return the mean that a known benchmark program tells, or what ``told_by`` reads. Raises ValueError."""
    for pattern, unit_ms in PRINTED:
        found = pattern.findall(f"{printed}\n{said}")
        if found:
            return Told((float(found[-1]) * unit_ms,))
    if not printed.strip():
        raise ValueError("it printed nothing")
    return told_by(printed.encode())


def adb_client() -> Any:
    """Return the client of adb's server, which is started if need be. Raises TargetError without the package."""
    try:
        import adbutils
    except ImportError as error:
        raise TargetError("a phone needs the package adbutils: pip install --editable '.[adb]'.") from error
    return adbutils.AdbClient(socket_timeout=ASKED_S)


def adb_errors() -> tuple[type[Exception], ...]:
    """Return the errors of adb; none without the package."""
    try:
        from adbutils.errors import AdbError
    except ImportError:
        return ()
    return (AdbError,)
