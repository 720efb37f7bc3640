"""What a node of a cluster tells of itself before anything is trained there.

It is sent as code, so it also runs on a node that lacks this project; it imports nothing but Python's own library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def told_by_node(code: bytes, libraries: Sequence[str], files: Sequence[tuple[str, int, int]]) -> dict[str, Any]:
    """Load ``code``, a pickle, and return what was found: versions, room, and the error if it cannot be loaded.

    ``files`` are paths with their sizes in bytes and times of change in ns. They are ``here`` if all are the same.
    """
    import contextlib
    import importlib.metadata
    import os
    import pickle
    import platform
    import shutil

    def version_of(name: str) -> str | None:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
        return None

    def is_here(path: str, size: int, changed_ns: int) -> bool:
        with contextlib.suppress(OSError):
            found = os.stat(path)
            return (found.st_size, found.st_mtime_ns) == (size, changed_ns)
        return False

    told: dict[str, Any] = {"python": platform.python_version(), "error": None, "free": None, "memory": None}
    told["machine"] = None
    told["niceness"] = os.nice(0) if hasattr(os, "nice") else 0  # Windows has no such number
    told["versions"] = {name: version_of(name) for name in libraries}
    told["here"] = all(is_here(*file) for file in files)
    with contextlib.suppress(OSError), open("/proc/meminfo", encoding="ascii") as lines:
        amounts = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        told["memory"] = 1024 * amounts["MemAvailable"]
    try:
        pickle.loads(code)  # noqa: S301 the driver's own, and what a training gets later
        from nas.hardware.machine import machine_id
        from nas.storage.home import home

        told["machine"] = machine_id()
        place = home()
        while not place.exists():
            place = place.parent
        told["place"], told["free"] = str(place), shutil.disk_usage(place).free if os.access(place, os.W_OK) else 0
    except BaseException as error:  # imported code may raise anything
        told["error"] = f"{type(error).__name__}: {error}"
    return told
