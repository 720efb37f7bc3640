"""What else happened on this machine while something was timed: other programs, a quota, a sleep.

Everything is read from Linux. Elsewhere nothing is known, and nothing is said.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.hardware.machine import SIBLINGS

BUSY_SHARE = 0.1
"""From this share of the time on, a disturbance counts."""
SHARING = "/sys/devices/system/cpu/cpu{}/cache/index3/shared_cpu_list"
SLEEP_S = 0.5
"""A machine that stood still for longer was asleep."""


@dataclass(frozen=True)
class Moment:
    """Readings at one moment, each in seconds since some beginning; None or empty where unknown.

    ``stalled_s`` is the time for which this process was ready to run but had no core, and ``stolen_s`` the part of it
    that the host of a virtual machine gave to others. ``throttled_s`` is the time for
    which a container's quota stopped it. ``asleep_s`` is the time for which the machine slept. ``busy_s`` has the time
    for which each core was busy.
    """

    at_s: float
    stalled_s: float | None
    stolen_s: float | None
    throttled_s: float | None
    asleep_s: float | None
    busy_s: Mapping[int, float]


def moment() -> Moment:
    """Return the readings of this moment."""
    return Moment(time.perf_counter(), stalled_s(), _stolen_s(), _throttled_s(), _asleep_s(), _busy_s())


def between(before: Moment, after: Moment, cores: Collection[int]) -> dict[str, Any]:
    """Return what happened between two moments to a process on ``cores``.

    ``pressure`` is the share of the time for which it waited for a core, ``stolen`` the part of it that the host of a
    virtual machine gave to others, and ``throttled`` the share for which a quota stopped it. ``others_busy`` is the
    largest share for which another core of the same cache was busy, and ``sibling_busy`` that of another hyper-thread
    of one of its own cores. Each is None where unknown. ``asleep_s`` are seconds of sleep.
    """
    elapsed_s = max(after.at_s - before.at_s, 1e-9)
    busy = {core: (after.busy_s[core] - before.busy_s[core]) / elapsed_s
            for core in after.busy_s if core in before.busy_s and core not in cores}  # fmt: skip
    siblings, sharing = (
        {other for core in cores for other in _listed(place.format(core))} for place in (SIBLINGS, SHARING)
    )
    shares = [busy[each] for each in sharing or busy if each in busy]
    return {
        "elapsed_s": elapsed_s,
        "pressure": _share(before.stalled_s, after.stalled_s, elapsed_s),
        "stolen": _share(before.stolen_s, after.stolen_s, elapsed_s),
        "throttled": _share(before.throttled_s, after.throttled_s, elapsed_s),
        "others_busy": min(1.0, max(shares)) if shares else None,
        "sibling_busy": max((min(1.0, busy[each]) for each in siblings if each in busy), default=None),
        "asleep_s": None if before.asleep_s is None or after.asleep_s is None else after.asleep_s - before.asleep_s,
    }


def stalled_s() -> float | None:
    """Return the seconds for which this process was ready to run but had no processor, or None where unknown.

    The first part is the scheduler's account of this process's threads, so processes that wait on other cores do not
    count. The second part is the time that the host of a virtual machine took away from this process's cores.
    """
    waits_ns = []
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            waits_ns.append(int(path.read_text().split()[1]))
    return sum(waits_ns) / 1e9 + (_stolen_s() or 0.0) if waits_ns else None


def waiting_s(process: int) -> float:
    """Return the seconds for which a process's threads were ready to run but had no core, of that which waited most.

    It is 0 where unknown.
    """
    waits_ns = [0]
    for path in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, IndexError, ValueError):  # a thread that has just ended
            waits_ns.append(int(path.read_text().split()[1]))
    return max(waits_ns) / 1e9


def _share(before: float | None, after: float | None, elapsed_s: float) -> float | None:
    return None if before is None or after is None else min(1.0, max(0.0, (after - before) / elapsed_s))


def _stolen_s() -> float | None:
    """Return the seconds that a virtual machine's host gave to others, summed over this process's cores.

    It is 0 on real hardware.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    return sum(ticks[7] for core, ticks in _ticks().items() if core in cores and len(ticks) > 7) / _ticks_per_s()


def _busy_s() -> dict[int, float]:
    """Return the seconds for which each core was neither idle nor waiting for a disk."""
    return {core: (sum(ticks[:8]) - ticks[3] - ticks[4]) / _ticks_per_s() for core, ticks in _ticks().items()}


def _ticks(stat: Path = Path("/proc/stat")) -> dict[int, list[int]]:
    """Return each core's times in the system's ticks: user, nice, system, idle, iowait, irq, softirq, steal."""
    try:
        lines = [line.split() for line in stat.read_text().splitlines()]
    except OSError:
        return {}
    return {int(line[0][3:]): [int(each) for each in line[1:]] for line in lines
            if line and line[0].startswith("cpu") and line[0][3:].isdigit()}  # fmt: skip


def _ticks_per_s() -> int:
    return os.sysconf("SC_CLK_TCK")


def _throttled_s(cgroups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the seconds for which the quota of a container, as it sees itself, stopped its processes."""
    for name, unit, per_s in (("cpu.stat", "throttled_usec", 1e6), ("cpu/cpu.stat", "throttled_time", 1e9)):
        with contextlib.suppress(OSError, ValueError):
            for line in (cgroups / name).read_text().splitlines():
                if line.startswith(f"{unit} "):
                    return int(line.split()[1]) / per_s
    return None


def _asleep_s() -> float | None:
    """Return the seconds for which this machine has slept since it was started, on Linux."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _listed(path: str) -> list[int]:
    """Return the cores that a file of Linux lists, such as ``0-3,8``; none where there is no such file."""
    try:
        parts = [part.partition("-") for part in Path(path).read_text().strip().split(",")]
        return [each for low, _, high in parts for each in range(int(low), int(high or low) + 1)]
    except (OSError, ValueError):
        return []
