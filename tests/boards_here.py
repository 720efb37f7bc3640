"""Several boards for tests, which are all this machine: each has a lock and a folder of its own."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from nas.hardware.devices.registry import DeviceRecord, save


def boards_here(folder: Path, names: Sequence[str], url: str = "local:") -> list[DeviceRecord]:
    """Add boards, and a pool of them that is called ``pis``. Return the boards. Each has a Python of its own name."""
    path = os.environ.get("PYTHONPATH", "")
    found = []
    for name in names:
        own = folder / name
        own.mkdir()
        python = own / "python"
        python.write_text(f'#!/bin/sh\nNAS_DEVICE_LOCK={own}/lock PYTHONPATH={path} exec {sys.executable} "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        found.append(DeviceRecord(name, url, str(python), str(own), packages={"acting": ""}))
        save(found[-1])
    save(DeviceRecord("pis", f"pool:{','.join(names)}"))
    return found
