"""A local Ray's private folder, and the process that removes it and ends Ray's processes when the search ends."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from typing import final

from nas.jobs import watchdog
from nas.signals import advice, before_ending_at_once
from nas.storage.scratch import scratch_folder

LONGEST = 34
"""Ray adds 65 characters to its folder's path, and a socket's path has at most 103 on macOS and 107 on Linux."""
PATIENCE_S = 15.0


@final
class RayCleanup:
    """Watches over a local Ray from before its start until ``end``.

    ``folder`` is where Ray keeps its files. Nobody but this user can enter it.
    """

    def __init__(self) -> None:
        places = {scratch_folder(), scratch_folder(LONGEST)}
        self.folder = scratch_folder(LONGEST) / f"r{next(_numbers)}"
        self.folder.mkdir(mode=0o700)
        folders = [str(self.folder), *map(str, places)]
        # Python's own library is all that it needs: -I and -S leave out the user's paths and installed packages.
        self._process = subprocess.Popen(  # noqa: S603 this program, by an argument list
            [sys.executable, "-I", "-S", watchdog.__file__, str(os.getpid()), *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",  # a folder's name may not be UTF-8
            start_new_session=sys.platform != "win32",
        )
        self._tell(advice())
        _watching.add(self)
        self._take_back = before_ending_at_once(lambda: self._tell(watchdog.TOLD))

    def end(self) -> None:
        """End what is left of Ray's processes, and remove its folder."""
        _watching.discard(self)
        self._take_back()
        self._tell(watchdog.GOODBYE)
        self.close_pipe()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE_S)

    def close_pipe(self) -> None:
        """Close this process's end of the pipe."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _tell(self, text: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # somebody has killed it: Ray's own clean-up has to do
            self._process.stdin.write(f"{text}\n")
            self._process.stdin.flush()


_numbers = itertools.count(1)
_watching: set[RayCleanup] = set()


def _let_go_in_child() -> None:
    """Close the pipe in a forked process, which must not keep it open after its parent's end."""
    for each in _watching:
        each.close_pipe()
    _watching.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
