"""Measurements that were taken for a finished run on one target: a journal of their own in the run's folder.

The run's own journal keeps its meaning: what the search found. A repeated command finds the rows here, and measures
nothing twice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

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


def later_folder(run_folder: Path, target: str, fingerprint: str | None) -> Path:
    """Return the folder of what was measured on a target.

    ``fingerprint`` is that of the bench; None where it has none, as for a table. Other hardware or versions have
    another folder, for their measurements do not compare.
    """
    name = _folder_name(target)
    if fingerprint is not None:
        name += f"-{hashlib.sha256(target_part(fingerprint).encode()).hexdigest()[:8]}"
    return run_folder / SOLVED / name


def _folder_name(target: str) -> str:
    """Return a name for a folder. The devices of a table are called as its author likes, also with slashes."""
    plain = target.replace(":", "_").replace("=", "")
    name = re.sub(r"[^A-Za-z0-9._-]", "_", plain)[:MOST_NAMED]
    return name if name == plain else f"{name}-{hashlib.sha256(target.encode()).hexdigest()[:8]}"


def later_rows(folder: Path) -> list[Evaluation]:
    """Return the rows of a folder, oldest first; none before there is a journal. Raises JournalError if damaged."""
    return read_rows(folder, Evaluation) if (folder / JOURNAL).is_file() else []


def later_journal(folder: Path, recipe_text: str, clock: Callable[[], float]) -> Journal:
    """Return the journal of a folder, to add rows to. A new one gets the text of the recipe, to tell what it is of.

    Raises:
        JournalError: the disk refuses, or another process is writing.
    """
    if (folder / RECIPE).is_file():
        return Journal.resume(folder, clock=clock)
    return Journal.start(folder, recipe_text, clock=clock)


def own_fingerprint(run: Run) -> str | None:
    """Return the fingerprint of the target that a run was measured on last; None if it recorded none."""
    if run.table is not None:
        return None
    with JournalReader(run.run_folder) as journal:
        used = journal.rows(BenchUsed)
    return used[-1].fingerprint if used else None
