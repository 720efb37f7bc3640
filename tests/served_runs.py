"""A folder of runs as they come: finished, interrupted, empty, corrupt, and of a newer version."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from nas.serving.answers import Answer, Answers
from nas.serving.watching import Watch
from nas.storage.journal import JOURNAL, RECIPE

OLD_RUNS = Path(__file__).parent / "old_runs"
HOSTILE = "<img src=x onerror=alert(1)>&'\" run"


def runs_folder(folder: Path) -> Path:
    """Return a new folder with one run of each kind."""
    runs = folder / "runs"
    runs.mkdir()
    shutil.copytree(OLD_RUNS / "finished-0.6.0", runs / "finished")
    shutil.copytree(OLD_RUNS / "interrupted-0.6.0", runs / HOSTILE)
    empty = runs / "empty"
    empty.mkdir()
    shutil.copy(runs / "finished" / RECIPE, empty / RECIPE)
    corrupt = Path(shutil.copytree(runs / "finished", runs / "corrupt"))
    (corrupt / JOURNAL).write_bytes(b"no journal at all" * 100)
    newer = Path(shutil.copytree(runs / "finished", runs / "newer"))
    with closing(sqlite3.connect(newer / JOURNAL)) as connection:
        connection.execute("PRAGMA user_version = 99")
    (folder / "secret.txt").write_text("the secret", encoding="utf-8")
    return runs


def looked(runs: Path) -> tuple[Watch, Answers]:
    """Return a watch that has looked at all runs once, and what answers from it."""
    watch = Watch(runs)
    watch.look()
    return watch, Answers(watch)


def text_of(answer: Answer) -> str:
    """Return the body of an answer as text."""
    return answer.body.decode()
