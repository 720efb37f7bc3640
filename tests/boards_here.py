"""Several boards for tests, which are all this machine: each has a lock and a folder of its own."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from quick_profile import known_profile

from nas.hardware.devices.pool import Pool
from nas.hardware.devices.registry import DeviceRecord, save
from nas.hardware.target_profile import fingerprint_of
from nas.storage.home import home
from nas.values.target import Target


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


def profile_boards(target: Target, pool: Pool) -> None:
    """Profile the first board of a pool, and let the others have a copy: all are this machine."""
    first, *others = pool.boards
    known = known_profile(target, first)
    targets = home() / "targets"
    for board in others:
        hardware = {**known.hardware, "machine": board.facts.machine_id}
        shutil.copytree(targets / known.fingerprint, targets / fingerprint_of(target, hardware), dirs_exist_ok=True)
