"""A runtime for the tests of benches, whose models are text files that say how running them goes.

Any other file, such as the reference model and the probes of a target, takes a fixed time. Sessions report times from
a clock of their own, so tests neither wait nor depend on how busy the machine is. ``slow_down`` makes the machine
slower, and all times longer. ``crowd`` makes its shared cache slower, and the times of those that depend on it longer.
"""

from __future__ import annotations

import os
import signal
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from made_up_heat import PI_TEMPERATURE

from nas.hardware.runtimes import heat, neighbours
from nas.hardware.runtimes.runtime import Float32Array, Runtime, Session
from nas.storage.home import home
from nas.values.layer_times import LayerTime
from nas.values.target import PRECISIONS, ModelFormat, Target

REFERENCE_MS = 0.2
SLOWNESS = "slowness.txt"
CROWDING = "crowding.txt"
OPENED = "opened.txt"
REFUSED = "refused.txt"
"""A file in the home that names a folder of models which this runtime refuses to open."""

STALLED_S = neighbours.stalled_s
"""What reads how busy the real machine is."""


if (home() / "sys").is_dir():
    heat.ROOT = home() / "sys"  # in measuring processes, which import this after a test has written that folder


def slow_down(factor: float) -> None:
    """Make this runtime take ``factor`` times as long as at first, apart from sleeping."""
    _note(SLOWNESS, factor)


def crowd(factor: float) -> None:
    """Make the shared cache take ``factor`` times as long as at first."""
    _note(CROWDING, factor)


def _note(name: str, factor: float) -> None:
    aside = home() / f".{name}"
    aside.write_text(str(factor))
    os.replace(aside, home() / name)


def noted(name: str) -> float:
    path = home() / name
    return float(path.read_text()) if path.is_file() else 1.0


def write_unread(module: object, inputs: object, batch: int, path: Path, form: str) -> None:
    """Take the place of the export of reference models and probes, which this runtime does not read."""
    path.write_bytes(bytes(100))


def opened(folder: Path) -> list[tuple[str, int]]:
    """Return the models of ``folder`` in the order of opening, each with the process that opened it."""
    lines = (folder / OPENED).read_text().splitlines()
    return [(name, int(process)) for name, process in (line.split() for line in lines)]


class Acting(Runtime):
    """Opens any file, and records the file and the process in ``opened.txt`` beside it."""

    model_format: ClassVar[ModelFormat] = "torch"  # the fastest export
    precisions = PRECISIONS

    def version(self) -> str:
        return "acting 1.0"

    def open(self, path: Path, target: Target) -> Session:
        with (path.parent / OPENED).open("a") as notes:
            notes.write(f"{path.stem} {os.getpid()}\n")
        refused = home() / REFUSED
        if refused.is_file() and refused.read_text() in path.parts:
            raise ValueError("not a model of mine")
        content = path.read_bytes()
        own = f"clock {REFERENCE_MS} 0 {1 if {'medium', 'large'} & set(path.parts) else 0}"
        is_text = len(content) < 100 and content.isascii()
        deed = content.decode() if is_text else own
        times = [name for name, _ in opened(path.parent)].count(path.stem)
        if is_text or neighbours.stalled_s is STALLED_S:  # a reference opened beside a model leaves it as busy
            _act_busy(deed == "busy" or (deed == "busy at first" and times == 1))
        word, *numbers = deed.split()
        if word == "refuse":
            raise ValueError("not a model of mine")
        if word == "wait":
            _wait_for_the_end(path.parent / "waiting")
        if word == "busy":
            return Clocked(path.stem, times, 1.0)
        if word == "warm":
            return Warming(path.stem, times, *(float(number) for number in numbers))
        if word == "clock":
            return Clocked(path.stem, times, *(float(number) for number in numbers))
        return Acted(deed)


class OnBoard(Acting):
    """The same runtime where it is on a device, too."""

    device_packages = ("numpy",)


class Acted:
    """A session that acts as its text says."""

    def __init__(self, deed: str) -> None:
        self._deed = deed

    def run(self) -> None:
        word, *numbers = self._deed.split()
        match word:
            case "hang":
                time.sleep(1000)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "fell":
                os.kill(os.getppid(), signal.SIGKILL)
            case "raise":
                raise RuntimeError("out of registers")
            case "grow":
                _grow()
            case "print":
                print('{"ok": false}', flush=True)
                os.write(1, b"\n\n")
            case "take":
                time.sleep(float(numbers[0]) / 1000)

    def outputs(self, inputs: Sequence[Float32Array]) -> Float32Array:
        """Return each image's mean and its largest value."""
        (images,) = inputs
        return np.stack([images.mean((1, 2, 3)), images.max((1, 2, 3))], 1)

    def conditions(self) -> Mapping[str, Any]:
        return {"deed": self._deed}


class Clocked:
    """A session that returns at once and reports ``typical_ms``, plus scatter between sessions of one file.

    ``response`` is the power of the shared cache's slowness by which it takes longer.
    """

    def __init__(self, name: str, times: int, typical_ms: float, scatter: float = 0.0, response: float = 0.0) -> None:
        self._response = response
        rng = np.random.default_rng(zlib.crc32(f"{name} {times}".encode()))
        self._ms = typical_ms * float(np.exp(scatter * rng.standard_normal()))

    def run(self) -> None:
        """Return at once."""

    def timed_run_ms(self) -> float:
        return self._ms * noted(SLOWNESS) * noted(CROWDING) ** self._response

    def outputs(self, inputs: Sequence[Float32Array]) -> Float32Array:
        return inputs[0].reshape(len(inputs[0]), -1)

    def conditions(self) -> Mapping[str, Any]:
        return {"executed_precision": "fp32"}


class Warming(Clocked):
    """A session that becomes slower for some seconds, by a factor, and heats a made-up board by so many degrees."""

    def __init__(self, name: str, times: int, first_ms: float, factor: float, seconds: float, degrees: float) -> None:
        super().__init__(name, times, first_ms)
        self._factor, self._seconds, self._degrees = factor, seconds, degrees
        self._began_s = time.monotonic()
        self._temperature = home() / "sys" / PI_TEMPERATURE
        self._cool = int(self._temperature.read_text()) if self._degrees else 0

    def timed_run_ms(self) -> float:
        share = min(1.0, (time.monotonic() - self._began_s) / self._seconds)
        if self._degrees:
            aside = home() / ".temperature"
            aside.write_text(str(int(self._cool + 1000 * self._degrees * share)))
            os.replace(aside, self._temperature)
        return super().timed_run_ms() * (1 + (self._factor - 1) * share)


def _act_busy(busy: bool) -> None:
    """Make the measuring process report a machine as busy as the model says, however busy it is with other tests."""
    neighbours.stalled_s = lambda: time.perf_counter() / 2 if busy else 0.0
    neighbours._stolen_s = neighbours._throttled_s = lambda *_: 0.0
    neighbours._busy_s = dict


def _wait_for_the_end(pipe: Path) -> None:
    """Write this process's id to ``pipe`` and wait to be killed."""
    with pipe.open("w") as stream:
        stream.write(str(os.getpid()))
    time.sleep(1000)


def _grow() -> None:
    """Allocate more memory than the system lets this process have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, hard))
    try:
        np.ones(2**28, np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Elsewhere(Acting):
    """Is not available on this machine."""

    def why_unavailable(self, target: Target) -> str | None:
        return f"{target} needs a board; attach one."


class Broken(Acting):
    """Fails to start in the measuring process."""

    def version(self) -> str:
        raise OSError("libboard.so is missing")


class Deadly(Acting):
    """Ends the measuring process before any model is opened."""

    def version(self) -> str:
        os._exit(7)


class Picky(Acting):
    """Runs only text files: neither the reference model nor probes."""

    def version(self) -> str:
        return "picky 1.0"

    def open(self, path: Path, target: Target) -> Session:
        content = path.read_bytes()
        if len(content) >= 100:
            raise ValueError("not a model of mine")
        return super().open(path, target)


class Unprobed(Acting):
    """Runs the reference model and refuses the probes."""

    def version(self) -> str:
        return "unprobed 1.0"

    def open(self, path: Path, target: Target) -> Session:
        if "probes" in path.parts:
            raise ValueError("no operator is a convolution of this shape")
        return super().open(path, target)


class Profiling(Acting):
    """Tells the latency by layer, unless running the model fails. A strange one takes no time that is a number."""

    def layer_times(self, path: Path, target: Target) -> list[LayerTime]:
        self.open(path, target).run()
        return [
            LayerTime("first", "Conv", np.nan if path.read_text() == "strange" else 2.0),
            LayerTime("second", "Gemm", 1.0),
        ]


class Streaming(Acting):
    """The same with an option, which a target names as ``own_runtime:Streaming:streams=2``."""

    def __init__(self, streams: str = "1") -> None:
        self._streams = streams

    def version(self) -> str:
        return f"acting 1.0, streams {self._streams}"
