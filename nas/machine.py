"""What this machine is: its processor, and how many cores and how much memory a run may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path

WORKER_BYTES = 700 * 2**20
"""What a training process takes at least, most of it torch."""


def processor_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def allowed_cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """How many cores this process may keep busy, a container's share respected."""
    cores = len(allowed_cores())
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        most, _, period = quota.read_text().partition(" ")
        if most != "max":
            cores = min(cores, max(1, int(most) // int(period)))
    return cores


def default_workers(threads_per_worker: int) -> int:
    """As many training processes as the cores feed and half of the memory holds."""
    workers = usable_cores() // threads_per_worker
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        workers = min(workers, memory_bytes // 2 // WORKER_BYTES)
    return max(1, workers)


def fastest_cores(count: int) -> list[int]:
    """``count`` of the allowed cores, of those with the highest top clock the last: interrupts favour the first."""
    cores = allowed_cores()
    return sorted(sorted(cores, key=lambda core: (_top_clock(core), core))[-count:])


def governor(core: int) -> str | None:
    """The frequency governor of a core, where the system tells."""
    return _read(core, "scaling_governor")


def _top_clock(core: int) -> int:
    return int(_read(core, "cpuinfo_max_freq") or 0)


def _read(core: int, name: str) -> str | None:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/{name}")
    return path.read_text().strip() if path.is_file() else None
