"""What the workers of a search do now, in a file of its run's folder, and how many trainings another command allows."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from nas.errors import RecipeError
from nas.progress import command_text
from nas.storage.file_lock import holder_of, is_held
from nas.storage.journal import write_aside
from nas.storage.run_files import ALLOWED_WORKERS, WORKERS
from nas.storage.writer_lock import WRITER

EVERY_S = 2.0
"""How often the file is written, at most."""
MOST = 100_000


@dataclass(frozen=True)
class Doing:
    """A training that runs: the id of its job, its node, its last epoch, and when it was handed out, in Unix time.

    The node is empty until the first report, and the epoch is None.
    """

    job: str
    node: str
    epoch: int | None
    began_at: float


@final
class WorkersNow:
    """Written by the process that searches, from ``begin`` to ``end``: nothing is left behind.

    What another command allows holds so long. A resumed run begins with what its recipe says.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._next_s = float("-inf")
        self._told: Mapping[str, Any] | None = None

    def begin(self) -> None:
        """Forget what a killed process left."""
        self.end()

    def end(self) -> None:
        """Take the files away, as far as nobody has them open."""
        self._told = None
        for name in (WORKERS, ALLOWED_WORKERS):
            with contextlib.suppress(OSError):
                (self._folder / name).unlink(missing_ok=True)

    @property
    def is_due(self) -> bool:
        """True if the file may be written again."""
        return self._clock() >= self._next_s

    def tell(self, at_once: int, nodes: Sequence[Mapping[str, Any]], doing: Sequence[Doing]) -> None:
        """Write how many trainings may run at once, what each node is, and what runs, if something has changed.

        A node has its ``name``, the number of trainings ``at_once`` for which it has room, and why it is ``left_out``,
        or None. Where the file cannot be written, such as on a full disk, the search goes on without it.
        """
        self._next_s = self._clock() + EVERY_S
        told = {
            "process": os.getpid(),
            "at_once": at_once,
            "nodes": list(nodes),
            "trainings": [asdict(each) for each in doing],
        }
        if told != self._told:
            with contextlib.suppress(OSError):  # on Windows also while another process reads it
                write_aside(self._folder / WORKERS, json.dumps(told).encode())
                self._told = told

    @property
    def allowed(self) -> int | None:
        """How many trainings another command allows at once; None if none has said so."""
        try:
            count = int((self._folder / ALLOWED_WORKERS).read_text())
        except (OSError, ValueError):  # nobody has asked, or not by the command
            return None
        return count if 1 <= count <= MOST else None


def read_workers(folder: Path) -> dict[str, Any] | None:
    """Return what the workers of a run do now, as it was told last; None if no search with workers trains.

    A process that was killed leaves its file, but writes to the run no more, and another one may go on with it.
    """
    if is_held(folder / WRITER) is False:
        return None
    try:
        found = json.loads((folder / WORKERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    writer = holder_of(folder / WRITER)
    is_live = isinstance(found, dict) and (not writer or found.get("process") == writer)
    return found if is_live else None


def allow_workers(folder: Path, count: int) -> None:
    """Ask the search that writes to a run's folder to train at most ``count`` at once.

    Raises:
        RecipeError: no search with workers trains there, or the number cannot be.
    """
    if not 1 <= count <= MOST:
        raise RecipeError(f"trainings at once must be from 1 to {MOST:,}, but got {count:,}.")
    if read_workers(folder) is None:
        resume = command_text(["nas", "search", "--resume", str(folder), "--set", f"execution.workers={count}"])
        raise RecipeError(
            f"the number of workers can be changed while they train, but {folder} has none now. For a search that "
            f"stopped: {resume}"
        )
    write_aside(folder / ALLOWED_WORKERS, str(count).encode())
