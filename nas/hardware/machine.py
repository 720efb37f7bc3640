"""This machine's processor and caches, and the cores and memory that a run may use."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from nas.errors import RecipeError

SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
"""The file in which Linux lists the hyper-threads of a core's physical core."""
WORKER_BYTES = 700 * 2**20
"""The least memory of a training process, most of it for torch."""


def processor_name(info: Path = Path("/proc/cpuinfo"), board: Path = Path("/proc/device-tree/model")) -> str:
    """Return the processor's name as the system reports it, or that of the ``board``: Linux names no Arm processor."""
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if board.is_file():
        return board.read_text().strip("\0 \n")
    return platform.processor() or platform.machine()


def products_of_bytes_overflow(info: Path = Path("/proc/cpuinfo")) -> bool:
    """Return True where sums of two products of bytes may overflow: on x86 without VNNI, or where that is unknown.

    Kernels for AVX2 add such pairs in 16 bits, so weights of int8 must keep to 7 bits there.
    ``predict.py`` of a bundle asks the same by a function of its own, for nothing of this package lies beside it.
    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    return not any("vnni" in flag for flag in processor_flags(info))


def processor_flags(info: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the processor's flags as Linux lists them, or nothing where unknown."""
    for line in info.read_text().splitlines() if info.is_file() else ():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def allowed_cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Return the number of cores that this process may keep busy, within a container's limit."""
    cores = len(allowed_cores())
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        most, _, period = quota.read_text().partition(" ")
        if most != "max":
            cores = min(cores, max(1, int(most) // int(period)))
    return cores


def physical_cores() -> int:
    """Return how many programs this machine can run without two of them sharing the units of one physical core.

    Where threads of one core are not known as such, as outside of Linux, each counts as a core.
    """
    return min(usable_cores(), len({_siblings(core) for core in allowed_cores()}))


def default_workers(threads_per_worker: int, data_bytes: int = 0) -> int:
    """Return the number of training processes that the cores can serve and half of the memory can hold.

    Each process holds the data, which take ``data_bytes``, and a copy of those that it trains on.
    """
    workers = usable_cores() // threads_per_worker
    memory = usable_memory_bytes()
    if memory is not None:
        workers = min(workers, memory // 2 // (WORKER_BYTES + 2 * data_bytes))
    return max(1, workers)


def usable_memory_bytes(cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the memory that this process may use, within a container's limit, or None where unknown."""
    limits = [memory_bytes()]
    for limit in (cgroups / "memory.max", cgroups / "memory" / "memory.limit_in_bytes"):
        text = limit.read_text().strip() if limit.is_file() else "max"
        limits.append(None if text == "max" else int(text))
    return min((limit for limit in limits if limit is not None), default=None)


def check_inputs_fit(inputs_bytes: int, named: str) -> None:
    """Check that the inputs of a batch, which a message calls ``named``, take at most a quarter of the memory.

    Raises:
        RecipeError: they take more.
    """
    usable = usable_memory_bytes()
    if usable is not None and inputs_bytes > usable // 4:
        raise RecipeError(
            f"the inputs of one batch must take at most a quarter of the memory ({usable // 4 / 2**30:.3g} GiB), but "
            f"{named} takes {inputs_bytes / 2**30:.3g} GiB. Lower the batch."
        )


def free_memory_bytes(meminfo: Path = Path("/proc/meminfo"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the memory that this process may still take, or None where unknown. Only Linux tells how much is free.

    The files that a container keeps in memory count as free: the system drops them when memory is wanted.
    """
    usable = usable_memory_bytes(cgroups)
    free = [] if usable is None else [usable]
    if meminfo.is_file():
        lines = meminfo.read_text().splitlines()
        free += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    used = cgroups / "memory.current"
    if usable is not None and used.is_file():
        free.append(max(0, usable - max(0, int(used.read_text()) - _cached_bytes(cgroups / "memory.stat"))))
    return min(free, default=None)


def _cached_bytes(stat: Path) -> int:
    """Return the bytes of files that a container keeps in memory, as its statistics tell."""
    lines = stat.read_text().splitlines() if stat.is_file() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith(("active_file ", "inactive_file ")))


def fastest_cores(count: int) -> list[int]:
    """Return ``count`` of the allowed cores, preferring high top clocks and then high numbers.

    High numbers are preferred because interrupts favour the first cores. Two threads of one physical core share its
    units, so both are chosen only when no other physical core is left.
    """
    by_preference = sorted(allowed_cores(), key=lambda core: (_top_clock(core), core), reverse=True)
    firsts = {_siblings(core): core for core in reversed(by_preference)}.values()
    rest = [core for core in by_preference if core not in firsts]
    return sorted([*(core for core in by_preference if core in firsts), *rest][:count])


def faster_cores_denied(count: int) -> list[int]:
    """Return the cores that this process may not use although they are faster than the ``count`` that it would use."""
    slowest = min(map(_top_clock, fastest_cores(count)), default=0)
    allowed = allowed_cores()
    return [core for core in range(os.cpu_count() or 1) if core not in allowed and _top_clock(core) > slowest]


def cache_bytes() -> dict[str, int]:
    """Return the sizes of the fastest core's data caches, such as ``{"L1": 49152, "L2": 2097152}``, or nothing."""
    return _macos_cache_bytes() if sys.platform == "darwin" else linux_cache_bytes(fastest_cores(1)[0])


def linux_cache_bytes(core: int, root: Path = Path("/sys/devices/system/cpu")) -> dict[str, int]:
    """Return the sizes of a core's data and unified caches by level, as Linux lists them under ``root``."""
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
    """Return the caches of the performance cores, ``perflevel0``. On Intel all cores are alike."""
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
    """Return the frequency governor of a core, or None where unknown."""
    return _read(core, "scaling_governor")


def clock_mhz(core: int) -> float | None:
    """Return the current clock of a core, or None where unknown. A virtual machine often reports a constant."""
    current = _read(core, "scaling_cur_freq")
    if current is not None:
        return int(current) / 1000
    info = Path("/proc/cpuinfo")
    clocks = [line for line in info.read_text().splitlines() if line.startswith("cpu MHz")] if info.is_file() else []
    return float(clocks[core].partition(":")[2]) if core < len(clocks) else None


def memory_bytes() -> int | None:
    """Return the size of the main memory, or None where unknown."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def machine_id() -> str | None:
    """Return a hash of the system's identifier of this machine, which reveals nothing else, or None where unknown."""
    path = Path("/etc/machine-id")
    text = path.read_text().strip() if path.is_file() else ""
    return hashlib.sha256(f"nas {text}".encode()).hexdigest()[:16] if text else None


def _siblings(core: int) -> str:
    """Return the threads of this core's physical core as Linux lists them, or the core's own number where unknown."""
    path = Path(SIBLINGS.format(core))
    return path.read_text().strip() if path.is_file() else str(core)


def _top_clock(core: int) -> int:
    return int(_read(core, "cpuinfo_max_freq") or 0)


def _read(core: int, name: str) -> str | None:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/{name}")
    return path.read_text().strip() if path.is_file() else None
