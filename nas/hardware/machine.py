"""What this machine is: its processor, and how many cores and how much memory a run may use."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
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
    memory = usable_memory_bytes()
    if memory is not None:
        workers = min(workers, memory // 2 // WORKER_BYTES)
    return max(1, workers)


def usable_memory_bytes(cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """How much memory this process may have, a container's limit respected, where the system tells."""
    limits = [memory_bytes()]
    for limit in (cgroups / "memory.max", cgroups / "memory" / "memory.limit_in_bytes"):
        text = limit.read_text().strip() if limit.is_file() else "max"
        limits.append(None if text == "max" else int(text))
    return min((limit for limit in limits if limit is not None), default=None)


def fastest_cores(count: int) -> list[int]:
    """``count`` of the allowed cores, of those with the highest top clock the last: interrupts favour the first.

    As long as there are others, no two of them are threads of one physical core, which share its units.
    """
    by_preference = sorted(allowed_cores(), key=lambda core: (_top_clock(core), core), reverse=True)
    firsts = {_siblings(core): core for core in reversed(by_preference)}.values()
    rest = [core for core in by_preference if core not in firsts]
    return sorted([*(core for core in by_preference if core in firsts), *rest][:count])


def cache_bytes() -> dict[str, int]:
    """Sizes of the fastest core's data caches, such as ``{"L1": 49152, "L2": 2097152}``; empty where unknown."""
    return _macos_cache_bytes() if sys.platform == "darwin" else linux_cache_bytes(fastest_cores(1)[0])


def linux_cache_bytes(core: int, root: Path = Path("/sys/devices/system/cpu")) -> dict[str, int]:
    """Sizes of a core's data and unified caches by level, as Linux lists them under ``root``."""
    found: dict[str, int] = {}
    for folder in sorted(root.glob(f"cpu{core}/cache/index*")):
        kind, level, size = (folder / name for name in ("type", "level", "size"))
        # Some ARM kernels list a cache without its size.
        if kind.is_file() and size.is_file() and kind.read_text().strip() != "Instruction":
            text = size.read_text().strip()
            scale = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
            found[f"L{level.read_text().strip()}"] = int(text.rstrip("KMG")) * scale
    return found


@functools.cache
def _macos_cache_bytes() -> dict[str, int]:
    """Those of the performance cores, ``perflevel0``, or on Intel, where all are alike, of any."""
    for prefix in ("hw.perflevel0.", "hw."):
        found = {}
        for level, name in (("L1", "l1dcachesize"), ("L2", "l2cachesize"), ("L3", "l3cachesize")):
            command = ["/usr/sbin/sysctl", "-n", prefix + name]
            told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 fixed words
            if told.returncode == 0 and int(told.stdout or 0) > 0:
                found[level] = int(told.stdout)
        if found:
            return found
    return {}


def governor(core: int) -> str | None:
    """The frequency governor of a core, where the system tells."""
    return _read(core, "scaling_governor")


def clock_mhz(core: int) -> float | None:
    """The clock of a core at this moment, where the system tells; a virtual machine often tells a constant."""
    current = _read(core, "scaling_cur_freq")
    if current is not None:
        return int(current) / 1000
    info = Path("/proc/cpuinfo")
    clocks = [line for line in info.read_text().splitlines() if line.startswith("cpu MHz")] if info.is_file() else []
    return float(clocks[core].partition(":")[2]) if core < len(clocks) else None


def memory_bytes() -> int | None:
    """The size of the main memory, where the system tells."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def machine_id() -> str | None:
    """What the system calls this very machine, as a hash that gives nothing else away; None where it does not say."""
    path = Path("/etc/machine-id")
    text = path.read_text().strip() if path.is_file() else ""
    return hashlib.sha256(f"nas {text}".encode()).hexdigest()[:16] if text else None


def _siblings(core: int) -> str:
    """The threads of the physical core that this one is of, as Linux lists them; its own number where it does not."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return path.read_text().strip() if path.is_file() else str(core)


def _top_clock(core: int) -> int:
    return int(_read(core, "cpuinfo_max_freq") or 0)


def _read(core: int, name: str) -> str | None:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/{name}")
    return path.read_text().strip() if path.is_file() else None
