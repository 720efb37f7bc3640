"""Meters of energy: counters and power logs, read over windows of repeated inferences.

A window begins and ends with an update of the counter, lasts for many updates, and has the idle power taken off.
Whatever does not add up is refused with its reason, and never becomes a number. Loaded in the measuring process too,
so it needs the standard library and numpy alone: NVIDIA's package is loaded only where it is asked for.
"""

from __future__ import annotations

import importlib
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np

from nas.errors import CandidateError, RecipeError, TargetError, did_you_mean
from nas.hardware.energy.instrument import (
    COMMAND_TIMEOUT_S,
    REAL_TIME,
    PowerLog,
    Timer,
    integrate_power,
    power_log,
    printed_number,
)

MIN_WINDOW_S = 2.0
"""Windows of two seconds and more repeat with a coefficient of variation below 3 %, the best that is published."""
ASKED_UPDATES = 12
"""What a window is lengthened to: updates come early and late."""
WATCHED_UPDATES = 5
"""So many are watched to find how often a meter updates; the longest gap counts."""
MAX_WATCH_S = 30.0
BRIEF = 0.1
"""Inferences shorter than this share of an update period go on while the last update is awaited."""

KINDS = ("auto", "none", "rapl", "nvml", "command")
FORMATS = ("joules", "csv")
POWERCAP = Path("/sys/class/powercap")

Reading = tuple[float, ...]
"""What a counter shows at one moment, in its own units: one number for each thing that it counts."""


@dataclass(frozen=True)
class Window:
    """Energy in joules over some seconds, in which so many inferences ran."""

    joules: float
    seconds: float
    inferences: int

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds


class Span(Protocol):
    """A stretch of time that has begun, at ``began_s`` of the meter's clock, and whose energy is being metered."""

    began_s: float

    def end(self, step: Callable[[], None]) -> tuple[float, float]:
        """Joules and seconds from the beginning to now, or to the meter's next update.

        ``step`` is done again and again while that update is awaited. Raises CandidateError when it does not come.
        """


class Meter(Protocol):
    """An instrument for energy. ``name`` says what it covers.

    ``update_period_s``, the seconds between its updates, is found by watching it, once. That raises TargetError when
    the instrument cannot be used.
    """

    name: str
    timer: Timer

    @property
    def update_period_s(self) -> float: ...

    def span(self) -> AbstractContextManager[Span]:
        """Begin to meter; leaving it stops whatever runs for it. Raises CandidateError when a reading fails."""


class Counter(Protocol):
    """A counter of energy used since some moment. ``poll_s`` is the pause between looks while a change is awaited."""

    name: str
    poll_s: float

    def read(self) -> Reading:
        """What it shows now. Raises CandidateError when it cannot be read."""

    def joules(self, before: Reading, after: Reading) -> float:
        """Energy between two readings. Raises CandidateError when it went backwards."""


def measure_window(meter: Meter, work: Callable[[], None], seconds: float = MIN_WINDOW_S) -> Window:
    """The energy of inferences repeated for ``seconds``, and never less than ``MIN_WINDOW_S`` and ten updates.

    ``work`` is one inference of a warm model and returns when it has ended. A counter's window goes from update to
    update, so that how often it updates does not bias the energy.

    Raises:
        CandidateError: of kind *energy*: a reading failed, did not come, or makes no sense.
        TargetError: the instrument cannot be used at all.
        ValueError: seconds that are not finite and positive.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be finite and positive, but got {seconds}.")
    period_s = meter.update_period_s
    least_s = max(seconds, MIN_WINDOW_S, ASKED_UPDATES * period_s)
    inferences = 0

    def infer() -> None:
        nonlocal inferences
        work()
        inferences += 1

    def wait() -> None:
        meter.timer.sleep(min(period_s / 20, 0.01))

    with meter.span() as span:
        while meter.timer.now() - span.began_s < least_s:
            infer()
        inference_s = (meter.timer.now() - span.began_s) / inferences
        joules, elapsed_s = span.end(infer if inference_s < BRIEF * period_s else wait)
    return Window(joules, elapsed_s, inferences)


def measure_idle_w(meter: Meter, seconds: float = MIN_WINDOW_S) -> float:
    """Mean power in watts while this process does nothing; lengthened and raising like ``measure_window``."""
    return measure_window(meter, lambda: meter.timer.sleep(0.01), seconds).watts


def energy_mj(window: Window, idle_w: float) -> float:
    """Millijoules that one inference of ``window`` took over an idle machine that draws ``idle_w`` watts.

    Raises:
        CandidateError: of kind *energy*: the window is not above idle power.
    """
    energy = (window.joules - idle_w * window.seconds) / window.inferences * 1000
    if not 0 < energy < math.inf:
        raise CandidateError(
            "energy",
            f"energy must be above that of the idle machine, but {window.inferences} inferences drew "
            f"{window.watts:.4g} W and the idle machine {idle_w:.4g} W. Measure while nothing else runs.",
        )
    return energy


def grams_co2e(joules: float, grams_per_kwh: float) -> float:
    """Grams of CO2 equivalent of an energy at an electricity's carbon intensity, which only its user can know.

    Raises:
        ValueError: either is negative or not finite.
    """
    for name, value in (("joules", joules), ("grams_per_kwh", grams_per_kwh)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and not negative, but got {value}.")
    return joules / 3.6e6 * grams_per_kwh


@final
class NoMeter:
    """Stands where there is no instrument, and says why: using it raises TargetError with ``reason``."""

    def __init__(self, reason: str, timer: Timer = REAL_TIME) -> None:
        self.name = "none"
        self.reason = reason
        self.timer = timer

    @property
    def update_period_s(self) -> float:
        raise TargetError(f"energy cannot be measured here: {self.reason}")

    def span(self) -> AbstractContextManager[Span]:
        raise TargetError(f"energy cannot be measured here: {self.reason}")


@final
class CounterMeter:
    """Meters with a counter, from one of its updates to another."""

    def __init__(self, counter: Counter, timer: Timer = REAL_TIME) -> None:
        self.name = counter.name
        self.timer = timer
        self.counter = counter

    @cached_property
    def update_period_s(self) -> float:
        """The longest of a few gaps between changes; slow reading lengthens it, as it should."""
        try:
            began_s = self.timer.now()
            ticks_s: list[float] = []
            last = self.counter.read()
            while len(ticks_s) <= WATCHED_UPDATES:
                last = _next_reading(self.counter, last, self.timer, began_s + MAX_WATCH_S, self._pause)
                ticks_s.append(self.timer.now())
        except CandidateError as error:
            raise TargetError(
                f"{error} Energy needs a counter that moves by itself, several times a second."
            ) from error
        return max(after - before for before, after in pairwise(ticks_s))

    @contextmanager
    def span(self) -> Iterator[Span]:
        yield _CounterSpan(self.counter, self.timer, max(1.0, 5 * self.update_period_s), self._pause)

    def _pause(self) -> None:
        self.timer.sleep(self.counter.poll_s)


@final
class _CounterSpan:
    def __init__(self, counter: Counter, timer: Timer, patience_s: float, pause: Callable[[], None]) -> None:
        self._counter, self._timer, self._patience_s = counter, timer, patience_s
        last = counter.read()
        self._first = _next_reading(counter, last, timer, timer.now() + patience_s, pause)
        self.began_s = timer.now()

    def end(self, step: Callable[[], None]) -> tuple[float, float]:
        last = self._counter.read()
        last = _next_reading(self._counter, last, self._timer, self._timer.now() + self._patience_s, step)
        return self._counter.joules(self._first, last), self._timer.now() - self.began_s


def _next_reading(
    counter: Counter, last: Reading, timer: Timer, deadline_s: float, step: Callable[[], None]
) -> Reading:
    """The first reading that differs from ``last``; ``step`` is done between looks."""
    while (reading := counter.read()) == last:
        if timer.now() > deadline_s:
            raise CandidateError("energy", f"{counter.name} must move while it is watched, but stays at {last}.")
        step()
    counter.joules(last, reading)  # refuses a step backwards at once
    return reading


@final
class RaplCounter:
    """The processor's own counters, which Linux shows under ``root``; they update about every millisecond.

    Adds up all packages and, where there is one, the DRAM of each, which a package does not include. Cores and
    uncore are parts of a package; ``psys`` includes packages; the ``mmio`` domains repeat them. See Khan et al.,
    "RAPL in Action", ACM TOMPECS 2018.

    Raises:
        TargetError: there is none, or only root may read it.
    """

    poll_s = 1e-4

    def __init__(self, root: Path = POWERCAP) -> None:
        folders = {path.name: path for pattern in _RAPL_FOLDERS for path in sorted(root.glob(pattern))}
        names = {domain: _domain_name(folder) for domain, folder in folders.items()}
        packages = [d for d in names if re.fullmatch(r"intel-rapl:\d+", d) and names[d].startswith("package")]
        memories = [d for d in names if d.rpartition(":")[0] in packages and names[d] == "dram"]
        if not packages:
            raise TargetError(
                f"RAPL must list a package in {root}, but there is none: not Linux, a virtual machine, or a processor "
                "without such counters. Bring an instrument of your own, as a command."
            )
        domains = sorted([*packages, *memories])
        self.name = f"RAPL {' + '.join(names[domain] for domain in domains)}"
        self._files = [folders[domain] / "energy_uj" for domain in domains]
        try:
            self._ranges_uj = [float((folders[d] / "max_energy_range_uj").read_text()) for d in domains]
            for file in self._files:
                file.read_text()
        except PermissionError as error:
            raise TargetError(
                f"RAPL must be readable, but only root may read {error.filename} (CVE-2020-8694). Run as root, or let "
                f"everybody on this machine read it until the next start: sudo chmod a+r {root}/intel-rapl:*/energy_uj "
                f"{root}/intel-rapl:*/intel-rapl:*/energy_uj"
            ) from error
        except (OSError, ValueError) as error:
            raise TargetError(f"RAPL must be readable, but {root} is not as Linux writes it: {error}") from error

    def read(self) -> Reading:
        try:
            return tuple(float(int(file.read_text())) for file in self._files)
        except (OSError, ValueError) as error:
            raise CandidateError("energy", f"{self.name} must give whole microjoules, but failed: {error}") from error

    def joules(self, before: Reading, after: Reading) -> float:
        """Each domain starts over at a range of its own, once at most in any window that is metered here."""
        total_uj = 0.0
        for file, range_uj, first, last in zip(self._files, self._ranges_uj, before, after, strict=True):
            used_uj = last - first if last >= first else last + range_uj - first
            # A true wrap-around uses little of the range; a counter that was reset or runs backwards, much.
            if last < first and not 0 <= used_uj <= range_uj / 2:
                raise CandidateError(
                    "energy", f"{file} must not go backwards, but went from {first:.0f} to {last:.0f} µJ."
                )
            total_uj += used_uj
        return total_uj / 1e6


_RAPL_FOLDERS = ("intel-rapl:*", "intel-rapl:*/intel-rapl:*:*")


def _domain_name(folder: Path) -> str:
    file = folder / "name"
    return file.read_text().strip() if file.is_file() else ""


@final
class NvmlCounter:
    """The counter of a whole NVIDIA GPU, from Volta on, with its memory; it updates every 20 to 100 ms.

    ``gpu`` is NVML's index, which counts by PCI address whatever CUDA_VISIBLE_DEVICES says, or better a UUID such as
    ``GPU-…``. Everything that runs on the GPU is in it, other partitions of it too. ``pynvml`` is the module of that
    name, from the package nvidia-ml-py.

    Raises:
        TargetError: no package, no driver, no such GPU, or one without a counter.
    """

    poll_s = 1e-3

    def __init__(self, gpu: int | str = 0, pynvml: Any = None) -> None:
        try:
            self._nvml = importlib.import_module("pynvml") if pynvml is None else pynvml
        except ModuleNotFoundError as error:
            raise TargetError("a GPU's energy is read with nvidia-ml-py: pip install nvidia-ml-py") from error
        try:
            self._nvml.nvmlInit()
            by_uuid, by_index = self._nvml.nvmlDeviceGetHandleByUUID, self._nvml.nvmlDeviceGetHandleByIndex
            self._gpu = by_uuid(gpu) if isinstance(gpu, str) else by_index(gpu)
            self.name = f"NVML GPU {gpu}"
            self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu)
        except self._nvml.NVMLError as error:
            raise TargetError(
                f"GPU {gpu} must have an energy counter that NVML can read (Volta or newer), but NVML says: {error}"
            ) from error

    def read(self) -> Reading:
        try:
            return (float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu)),)
        except self._nvml.NVMLError as error:
            raise CandidateError("energy", f"{self.name} must give its energy, but NVML says: {error}") from error

    def joules(self, before: Reading, after: Reading) -> float:
        return _forward(self.name, before[0], after[0], "mJ") / 1000


@final
class CommandCounter:
    """An instrument behind a command that prints, each time that it is run, the joules used since some moment.

    ``arguments`` are run as they stand, without a shell. What the command itself uses is in the window where it
    runs on the metered machine: it runs only around the ends of a window.
    """

    poll_s = 1e-3

    def __init__(self, arguments: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        self.name = f"command {Path(arguments[0]).name}"
        self._arguments = list(arguments)
        self._timeout_s = timeout_s

    def read(self) -> Reading:
        return (printed_number(self.name, self._arguments, "joules", self._timeout_s),)

    def joules(self, before: Reading, after: Reading) -> float:
        return _forward(self.name, before[0], after[0], "J")


@final
class CommandLogMeter:
    """An instrument behind a command that runs during a window and prints lines ``time_s,watts``, with or without head.

    Its clock may start anywhere, for the line that arrives with the least delay ties it to ours; lines must be printed
    as they come, without waiting for a buffer to fill. Power is integrated by the trapezoid rule from the window's
    beginning to its end, and samples must lie around both.
    """

    def __init__(
        self, arguments: Sequence[str], timer: Timer = REAL_TIME, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> None:
        self.name = f"command {Path(arguments[0]).name}"
        self.timer = timer
        self._arguments = list(arguments)
        self._timeout_s = timeout_s

    @cached_property
    def update_period_s(self) -> float:
        """The longest of the first gaps in the log's own time."""
        try:
            with power_log(self.name, self._arguments, self.timer) as log:
                log.read_until(lambda: len(log.times_s) > WATCHED_UPDATES, min(MAX_WATCH_S, self._timeout_s))
                return float(np.diff(log.times_s).max())
        except CandidateError as error:
            raise TargetError(f"{error} Energy needs a command that prints lines time_s,watts.") from error

    @contextmanager
    def span(self) -> Iterator[Span]:
        with power_log(self.name, self._arguments, self.timer) as log:
            yield _LogSpan(log, self.timer, max(self._timeout_s, 5 * self.update_period_s))


@final
class _LogSpan:
    def __init__(self, log: PowerLog, timer: Timer, patience_s: float) -> None:
        self._log, self._timer, self._patience_s = log, timer, patience_s
        log.read_until(lambda: len(log.times_s) > 0, patience_s)
        self.began_s = timer.now()

    def end(self, step: Callable[[], None]) -> tuple[float, float]:
        del step  # the samples that are awaited lie behind the end
        ended_s, log = self._timer.now(), self._log
        log.read_until(lambda: log.times_s[-1] + log.offset_s >= ended_s, self._patience_s)
        joules = integrate_power(log.times_s, log.watts, self.began_s - log.offset_s, ended_s - log.offset_s)
        return joules, ended_s - self.began_s


def meter_from(settings: Mapping[str, Any], timer: Timer = REAL_TIME) -> Meter:
    """The meter that plain JSON data asks for.

    ``kind``: *none*, *rapl*, *nvml*, *command*, or *auto*, which is NVML where ``gpu`` is set and RAPL otherwise; one
    that is not there becomes a NoMeter with the reason. ``gpu``: CUDA's index in this process, or a UUID; None for a
    model on the processor.
    ``command``: the list of arguments, with ``format`` *joules* (see ``CommandCounter``) or *csv* (see
    ``CommandLogMeter``). ``root``: where RAPL is looked for.

    Raises:
        RecipeError: unknown or missing settings.
        TargetError: an instrument was asked for by its name and cannot be used.
    """
    known = ("kind", "command", "format", "root", "gpu")
    for key in settings:
        if key not in known:
            raise RecipeError(f"settings of a meter are {', '.join(known)}, but got {key!r}.")
    kind = settings.get("kind", "auto")
    root, gpu = Path(settings.get("root") or POWERCAP), settings.get("gpu")
    match kind:
        case "none":
            return NoMeter("the recipe names no meter.", timer)
        case "rapl":
            return CounterMeter(RaplCounter(root), timer)
        case "nvml":
            return CounterMeter(NvmlCounter(_nvml_gpu(0 if gpu is None else gpu)), timer)
        case "command":
            return _command_meter(settings.get("command"), settings.get("format", "joules"), timer)
        case "auto":
            try:
                return CounterMeter(RaplCounter(root) if gpu is None else NvmlCounter(_nvml_gpu(gpu)), timer)
            except TargetError as error:
                return NoMeter(str(error), timer)
    raise RecipeError(f"kind of a meter is one of {KINDS}, but got {kind!r}. {did_you_mean(str(kind), KINDS)}")


def _nvml_gpu(gpu: int | str) -> int | str:
    """The GPU for NVML, which counts all of a machine's, where CUDA counts those in CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if isinstance(gpu, str) or not visible:
        return gpu
    entries = [entry.strip() for entry in visible.split(",")]
    if gpu >= len(entries):
        raise TargetError(f"GPU {gpu} must be in CUDA_VISIBLE_DEVICES, but that is {visible!r}.")
    return int(entries[gpu]) if entries[gpu].isdecimal() else entries[gpu]


def _command_meter(arguments: object, printed: object, timer: Timer) -> Meter:
    if not isinstance(arguments, list | tuple) or not arguments or not all(isinstance(a, str) for a in arguments):
        raise RecipeError(f"command of a meter is a list of arguments, the program first, but got {arguments!r}.")
    if printed not in FORMATS:
        raise RecipeError(f"format of a meter's command is one of {FORMATS}, but got {printed!r}.")
    return CounterMeter(CommandCounter(arguments), timer) if printed == "joules" else CommandLogMeter(arguments, timer)


def _forward(name: str, before: float, after: float, unit: str) -> float:
    if after < before:
        raise CandidateError("energy", f"{name} must not go backwards, but went from {before} to {after} {unit}.")
    return after - before
