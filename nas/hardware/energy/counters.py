"""Energy counters: RAPL for the processor, NVML for a GPU, or a command of the user's; and a meter that reads one.

The measuring process loads this module too. NVIDIA's package is imported only where a GPU is metered.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, final

from nas.errors import CandidateError, TargetError
from nas.hardware.energy.commands import COMMAND_TIMEOUT_S, printed_number
from nas.hardware.energy.metering import MAX_WATCH_S, REAL_TIME, WATCHED_UPDATES, Span, Timer

POWERCAP = Path("/sys/class/powercap")

Reading = tuple[float, ...]
"""The values of a counter at one moment, in its own units: one number for each part that it counts."""


class Counter(Protocol):
    """A counter of the energy used since a fixed moment.

    ``poll_s`` is the pause in seconds between two readings while a change is awaited.
    """

    name: str
    poll_s: float

    def read(self) -> Reading:
        """Return the current values. Raises CandidateError when the counter cannot be read."""

    def joules(self, before: Reading, after: Reading) -> float:
        """Return the energy between two readings. Raises CandidateError when the counter went backwards."""


@final
class CounterMeter:
    """Meters energy with a counter, from one of its updates to another."""

    def __init__(self, counter: Counter, timer: Timer = REAL_TIME) -> None:
        self.name = counter.name
        self.timer = timer
        self.counter = counter

    @cached_property
    def update_period_s(self) -> float:
        """The longest of a few gaps between changes. Slow reading lengthens it, as it should."""
        try:
            began_s = self.timer.now()
            ticks_s: list[float] = []
            last = self.counter.read()
            while len(ticks_s) <= WATCHED_UPDATES:
                last = _next_reading(self.counter, last, self.timer, began_s + MAX_WATCH_S, self._pause)
                ticks_s.append(self.timer.now())
        except CandidateError as error:
            raise TargetError(
                f"{error} Energy needs a counter that updates by itself, several times a second."
            ) from error
        return max(after - before for before, after in pairwise(ticks_s))

    @contextmanager
    def span(self) -> Iterator[Span]:
        """Start metering at the counter's next update."""
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
    """Return the first reading that differs from ``last``. ``step`` is called between readings."""
    while (reading := counter.read()) == last:
        if timer.now() > deadline_s:
            raise CandidateError("energy", f"{counter.name} must move while it is watched, but stays at {last}.")
        step()
    counter.joules(last, reading)  # refuses a step backwards at once
    return reading


@final
class RaplCounter:
    """The processor's own counters, which Linux lists under ``root``. They update about every millisecond.

    The counter adds up all packages and, where a package has one, its DRAM, which the package does not include.
    Cores and uncore are parts of a package, ``psys`` includes packages, and the ``mmio`` domains repeat them. See
    Khan et al., "RAPL in Action", ACM TOMPECS 2018.

    Raises:
        TargetError: there is no such counter, or only root may read it.
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
                "without such counters."
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
            raise TargetError(f"RAPL must be readable, but {root} is not in Linux's format: {error}") from error

    def read(self) -> Reading:
        """Return the microjoules of each domain."""
        try:
            return tuple(float(int(file.read_text())) for file in self._files)
        except (OSError, ValueError) as error:
            raise CandidateError("energy", f"{self.name} must give whole microjoules, but failed: {error}") from error

    def joules(self, before: Reading, after: Reading) -> float:
        """Return the energy of all domains. Each wraps around at its own range, at most once in a window."""
        total_uj = 0.0
        for file, range_uj, first, last in zip(self._files, self._ranges_uj, before, after, strict=True):
            used_uj = last - first if last >= first else last + range_uj - first
            # A true wrap-around uses little of the range; a counter that was reset or runs backwards uses much.
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
    """The energy counter of a whole NVIDIA GPU and its memory, Volta or newer. It updates every 20 to 100 ms.

    ``gpu`` is a UUID such as ``GPU-…``, or NVML's index, which counts by PCI address and ignores
    CUDA_VISIBLE_DEVICES. The counter covers everything that runs on the GPU, in all of its partitions. ``pynvml`` is
    the module of that name, from the package nvidia-ml-py.

    Raises:
        TargetError: the package, the driver, the GPU or its counter is missing.
    """

    poll_s = 1e-3

    def __init__(self, gpu: int | str = 0, pynvml: Any = None) -> None:
        try:
            self._nvml = importlib.import_module("pynvml") if pynvml is None else pynvml
        except ModuleNotFoundError as error:
            raise TargetError("a GPU's energy is read with nvidia-ml-py: pip install nvidia-ml-py.") from error
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
        """Return the millijoules of the GPU."""
        try:
            return (float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu)),)
        except self._nvml.NVMLError as error:
            raise CandidateError("energy", f"{self.name} must give its energy, but NVML says: {error}") from error

    def joules(self, before: Reading, after: Reading) -> float:
        """Return the energy between two readings. The counter does not wrap around."""
        return _forward(self.name, before[0], after[0], "mJ") / 1000


@final
class CommandCounter:
    """An instrument behind a command that prints, on each run, the joules used since a fixed moment.

    ``arguments`` run unchanged, without a shell. If the command runs on the metered machine, the window includes its
    own energy; it runs only around the ends of a window.
    """

    poll_s = 1e-3

    def __init__(self, arguments: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        self.name = f"command {Path(arguments[0]).name}"
        self._arguments = list(arguments)
        self._timeout_s = timeout_s

    def read(self) -> Reading:
        """Run the command and return the joules that it prints."""
        return (printed_number(self.name, self._arguments, "joules", self._timeout_s),)

    def joules(self, before: Reading, after: Reading) -> float:
        """Return the energy between two readings."""
        return _forward(self.name, before[0], after[0], "J")


def _forward(name: str, before: float, after: float, unit: str) -> float:
    if after < before:
        raise CandidateError("energy", f"{name} must not go backwards, but went from {before} to {after} {unit}.")
    return after - before
