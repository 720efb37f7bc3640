"""A runtime of one's own for the tests of benches: a model is a text file that says how running it goes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.target import Target


class Acting:
    """Opens any file. What was opened is noted in ``opened.txt`` beside it."""

    def why_unavailable(self, target: Target) -> str | None:
        return None

    def version(self) -> str:
        return "acting 1.0"

    def open(self, model: Path, target: Target) -> Acted:
        with (model.parent / "opened.txt").open("a") as notes:
            notes.write(f"{model.stem}\n")
        return Acted(model)


class Acted:
    def __init__(self, model: Path) -> None:
        self._deed = model.read_text()
        self._stalls(model)
        if self._deed == "refuse":
            raise ValueError("not a model of mine")

    def run(self) -> None:
        if self._deed == "hang":
            time.sleep(1000)
        elif self._deed == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._deed == "raise":
            raise RuntimeError("out of registers")
        elif self._deed == "print":
            print('{"ok": false}', flush=True)
            os.write(1, b"\n\n")
        elif self._deed.startswith("take"):
            time.sleep(float(self._deed.split()[1]) / 1000)

    def conditions(self) -> Mapping[str, Any]:
        return {"deed": self._deed}

    def _stalls(self, model: Path) -> None:
        """Make the measuring process believe that its machine is as busy as the model says."""
        opened = (model.parent / "opened.txt").read_text().split().count(model.stem)
        busy = self._deed == "busy" or (self._deed == "busy at first" and opened == 1)
        measuring: Any = sys.modules["__main__"]
        measuring._stalled_s = lambda: time.perf_counter() / 2 if busy else 0.0


class Elsewhere(Acting):
    """Cannot be had on this machine."""

    def why_unavailable(self, target: Target) -> str | None:
        return f"{target} needs a board; attach one."


class Broken(Acting):
    """Fails in the process that measures."""

    def version(self) -> str:
        raise OSError("libboard.so is missing")


class Deadly(Acting):
    """Ends the process that measures before any model is opened."""

    def version(self) -> str:
        os._exit(7)
