"""Measurements that were taken for a finished run on one target: rows of a journal of their own in its folder.

The run's own journal keeps its meaning: what the search found. A repeated command finds the rows here, and measures
nothing twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import final

from nas.hardware.bench import target_part
from nas.results.run import Run
from nas.storage.journal import RECIPE, Journal, JournalReader, read_rows
from nas.storage.journal_file import JOURNAL
from nas.storage.journal_rows import BenchUsed
from nas.values.evaluation import Evaluation

SOLVED = "solved"
"""The folder within a run's folder that holds a journal for each target."""
MOST_NAMED = 80
"""The most characters of a folder's name, beside the hash of the whole."""


@final
class KeptMeasurements:
    """The journal of one target. ``fingerprint`` is that of the bench; None where it has none, as for a table.

    Other hardware or versions have another journal, for their measurements do not compare. ``recipe_text`` is written
    beside the rows, so that they tell what they are of.
    """

    def __init__(
        self,
        run_folder: Path,
        target: str,
        fingerprint: str | None,
        recipe_text: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        name = _folder_name(target)
        if fingerprint is not None:
            name += f"-{hashlib.sha256(target_part(fingerprint).encode()).hexdigest()[:8]}"
        self.folder = run_folder / SOLVED / name
        self._fingerprint = fingerprint
        self._recipe_text = recipe_text
        self._clock = clock

    def rows(self) -> list[Evaluation]:
        """Return the rows that are kept, oldest first. Raises JournalError if the journal is damaged."""
        return read_rows(self.folder, Evaluation) if (self.folder / JOURNAL).is_file() else []

    def append(self, *rows: Evaluation) -> None:
        """Add rows. They are on disk when this returns.

        Raises:
            JournalError: the disk refuses, or another process is writing.
        """
        with contextlib.closing(self._opened()) as journal:
            known = {row.fingerprint for row in journal.rows(BenchUsed)}
            is_new = self._fingerprint is not None and self._fingerprint not in known
            journal.append(*([BenchUsed(self._fingerprint)] if is_new and self._fingerprint else []), *rows)

    def _opened(self) -> Journal:
        if (self.folder / RECIPE).is_file():
            return Journal.resume(self.folder, clock=self._clock)
        return Journal.start(self.folder, self._recipe_text, clock=self._clock)


def _folder_name(target: str) -> str:
    """Return a name for a folder. The devices of a table are called as its author likes, also with slashes."""
    plain = target.replace(":", "_").replace("=", "")
    name = re.sub(r"[^A-Za-z0-9._-]", "_", plain)[:MOST_NAMED]
    return name if name == plain else f"{name}-{hashlib.sha256(target.encode()).hexdigest()[:8]}"


def own_fingerprint(run: Run) -> str | None:
    """Return the fingerprint of the target that a run was measured on last; None if it recorded none."""
    if run.table is not None:
        return None
    with JournalReader(run.run_folder) as journal:
        used = journal.rows(BenchUsed)
    return used[-1].fingerprint if used else None
