"""Folders that one process of a machine makes for all, such as tokens of a text: whole or not there, and never old."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.storage.file_lock import HeldElsewhereError, take, waiting_for

SPARE_BYTES = 2**28
"""The part of the disk that is left free."""
OLD_S = 7 * 86400
"""Folders that nobody has used for so long are removed."""
_MAKING, _LOCK = ".making-", ".lock"


@dataclass(frozen=True)
class MadeFolders:
    """The folders in ``place``, named by their keys. Those that hold the file ``mark`` are whole."""

    place: Path
    mark: str

    def folder(self, key: str, size: int, make: Callable[[Path], None]) -> Path:
        """Return the folder of ``key``, which ``make`` fills with up to ``size`` bytes if it is not there.

        Other processes wait meanwhile. Raises OSError if the disk has no room, or if the place cannot be used.
        """
        folder = self.place / key
        self.place.mkdir(parents=True, exist_ok=True)
        if not (folder / self.mark).is_file():
            with waiting_for(self.place / f"{key}{_LOCK}"):
                if not (folder / self.mark).is_file():
                    self._make(folder, size, make)
        with contextlib.suppress(OSError):  # a place that users share may be read-only
            os.utime(folder / self.mark)
        self._remove_old()
        return folder

    def _make(self, folder: Path, size: int, make: Callable[[Path], None]) -> None:
        """Fill a folder beside, and rename it: a killed process leaves no half of one."""
        making = folder.with_name(f"{_MAKING}{folder.name}")
        shutil.rmtree(making, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        free = shutil.disk_usage(self.place).free - SPARE_BYTES
        if size > free:
            raise OSError(f"the disk has room for {max(0, free) / 2**20:,.0f} MiB")
        try:
            making.mkdir()
            make(making)
            (making / self.mark).touch()
            os.replace(making, folder)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise

    def _remove_old(self) -> None:
        """Remove what nobody has used for long, and what killed processes left. Who has opened a file keeps it."""
        for making in self.place.glob(f"{_MAKING}*"):
            lock = making.with_name(f"{making.name.removeprefix(_MAKING)}{_LOCK}")
            with contextlib.suppress(HeldElsewhereError), take(lock):
                shutil.rmtree(making, ignore_errors=True)
        for mark in self.place.glob(f"[!.]*/{self.mark}"):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                if time.time() - mark.stat().st_mtime > OLD_S:
                    mark.unlink()
                    shutil.rmtree(mark.parent, ignore_errors=True)
