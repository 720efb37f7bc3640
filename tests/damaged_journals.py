"""Journals with rows of many kinds, and accidents that happen to their files."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from run_record_example import example_record

from nas.space.architecture import Architecture
from nas.storage.journal import JOURNAL, Journal
from nas.storage.journal_rows import (
    Began,
    BenchUsed,
    Cost,
    RecipeText,
    RoundEnded,
    Row,
    RungsJudged,
    TrainingsEnded,
    TurnedAway,
)
from nas.storage.writer_lock import WRITER

RECIPE_TEXT = 'data = "digits"\ntrials = 5\n'
PAGE = 4096


def rows_of_a_run(evaluations: int = 30) -> list[Row]:
    """Return rows of all common kinds."""
    record = example_record()
    return [
        RecipeText(RECIPE_TEXT),
        Began({"choices": "abc"}, {"processor": "Example CPU"}, {"nas": "0.7.0"}, data_set={"name": "digits"}),
        BenchUsed("fingerprint"),
        *record.fits,
        *record.rows[:evaluations],
        TurnedAway(1, {"latency_ms <= 0.5": 3}, (Architecture({"width": 8}),)),
        RungsJudged(3, {"1": 0.5}, [1, 2]),
        TrainingsEnded(1),
        RoundEnded(1),
        Cost(wall_s=9.5, device_s=1.5, joules=None, meter="no meter"),
        *record.rows[-4:],
        RoundEnded(2),
    ]


def write_run(folder: Path, rows: Iterable[Row]) -> Path:
    """Write a run whose writer has closed its journal."""
    with Journal.start(folder, RECIPE_TEXT, clock=lambda: 1.25) as journal:
        for row in rows:
            journal.append(row)
    return folder


def write_killed_run(folder: Path, rows: Iterable[Row]) -> Path:
    """Write a run as a killed writer leaves it: the rows lie in the -wal."""
    live = folder.with_name(f"{folder.name}-live")
    with Journal.start(live, RECIPE_TEXT, clock=lambda: 1.25) as journal:
        for row in rows:
            journal.append(row)
        shutil.copytree(live, folder)
    shutil.rmtree(live)
    return folder


def as_format_1(folder: Path) -> Path:
    """Turn a run into one of version 0.6.0, whose rows have no checksums and whose lock counts nothing."""
    with contextlib.closing(sqlite3.connect(folder / JOURNAL)) as connection, connection:
        connection.execute("ALTER TABLE rows DROP COLUMN checksum")
        connection.execute("PRAGMA user_version = 1")
    (folder / WRITER).write_bytes(b"")
    return folder


def change_row(folder: Path, number: int, change: Callable[[dict[str, Any]], object] | str) -> None:
    """Change the JSON of one row, as somebody with an editor for databases might; a text replaces it."""
    with contextlib.closing(sqlite3.connect(folder / JOURNAL)) as connection, connection:
        (text,) = connection.execute("SELECT body FROM rows WHERE number = ?", (number,)).fetchone()
        if isinstance(change, str):
            text = change
        else:
            body = json.loads(text)
            change(body)
            text = json.dumps(body)
        connection.execute("UPDATE rows SET body = ? WHERE number = ?", (text, number))


def damage(path: Path, rng: np.random.Generator) -> str:
    """Damage a file at random, and return what was done."""
    content = bytearray(path.read_bytes())
    places = rng.integers(0, len(content), 4).tolist()
    pages = max(1, len(content) // PAGE)
    kind = ("flip a bit", "change bytes", "clear a page", "cut", "swap pages", "scribble")[int(rng.integers(0, 6))]
    if kind == "flip a bit":
        content[places[0]] ^= 1 << int(rng.integers(0, 8))
    elif kind == "change bytes":
        for place in places:
            content[place] = int(rng.integers(0, 256))
    elif kind == "clear a page":
        start = int(rng.integers(0, pages)) * PAGE
        content[start : start + PAGE] = bytes(len(content[start : start + PAGE]))
    elif kind == "cut":
        del content[places[0] :]
    elif kind == "swap pages":
        one, other = (slice(n * PAGE, (n + 1) * PAGE) for n in rng.integers(0, pages, 2).tolist())
        content[one], content[other] = content[other], content[one]
    else:
        content[places[0] : places[0] + 40] = rng.bytes(40)
    path.write_bytes(content)
    return f"{kind} at {places[0]} of {path.name}"
