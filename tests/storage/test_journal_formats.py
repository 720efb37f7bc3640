"""Journals of version 0.5.0 open and go on; those of a newer version are refused before anything is changed."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.errors import JournalError
from nas.results.run_folder import load_run
from nas.space.architecture import Architecture
from nas.storage.journal import FORMAT, JOURNAL, RECIPE, Journal, JournalReader, read_rows
from nas.storage.journal_rows import Began, Ended, RoundEnded, RungsJudged, TrainingsEnded, TurnedAway
from nas.values.evaluation import Evaluation

OLD_RUNS = Path(__file__).parents[1] / "old_runs"
WIDE = Architecture({"width": 8})
TRAINED = Evaluation(
    "train", WIDE, 1, values={"error": 0.5}, details={"turned_away": {"macs <= 1": 4}, "near_limits": [dict(WIDE)]}
)
OLD_ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("note", {"data set": {"name": "digits"}, "space": {}, "machine": {}, "versions": {"nas": "0.5.0"}}),
    ("evaluation", TRAINED.to_json()),
    ("note", {"early_stopping": {"Spearman after epoch 1": 0.5, "trainings": 3, "stops after": None}}),
    ("trained", {"round": 1, "turned_away": {"macs <= 1": 2}}),
    ("note", {"ended by": "ten failures"}),
)


def write_old_journal(folder: Path, rows: Iterable[tuple[str, dict[str, Any]]] = OLD_ROWS) -> None:
    """Write the journal as version 0.5.0 did, which left ``user_version`` at 0."""
    (folder / RECIPE).write_text("")
    connection = sqlite3.connect(folder / JOURNAL)
    connection.execute("PRAGMA journal_mode = WAL")
    with connection:
        connection.execute(
            "CREATE TABLE rows (number INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL)"
        )
        bodies = [(kind, json.dumps(body)) for kind, body in rows]
        connection.executemany("INSERT INTO rows (at, kind, body) VALUES (1.5, ?, ?)", bodies)
    connection.close()


def format_of(folder: Path) -> int:
    connection = sqlite3.connect(folder / JOURNAL)
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(found)


class TestOldJournals:
    def test_give_rows_of_today(self, tmp_path: Path) -> None:
        """Readers and writers find the classes of today in the old kinds."""
        write_old_journal(tmp_path)
        with JournalReader(tmp_path) as reader, Journal.resume(tmp_path, clock=time.time) as journal:
            for opened in (reader, journal):
                assert opened.rows(Began) == [Began({}, {}, {"nas": "0.5.0"}, data_set={"name": "digits"})]
                assert opened.rows(Evaluation) == [TRAINED]
                assert opened.rows(RungsJudged) == [RungsJudged(3, {"1": 0.5}, None)]
                assert opened.rows(TrainingsEnded) == [TrainingsEnded(1)]
                assert opened.rows(Ended) == [Ended("ten failures")]
                assert opened.rows(TurnedAway) == [
                    TurnedAway(1, {"macs <= 1": 4}, (WIDE,)),
                    TurnedAway(1, {"macs <= 1": 2}),
                ]

    def test_go_on_with_rows_of_today_after_the_old_ones(self, tmp_path: Path) -> None:
        """The old rows stay as they were written, and both are read together."""
        write_old_journal(tmp_path)
        with Journal.resume(tmp_path, clock=time.time) as journal:
            journal.append(TurnedAway(2, {"macs <= 1": 1}), RoundEnded(1), Ended(None))
        assert [row.round for row in read_rows(tmp_path, TurnedAway)] == [1, 1, 2]
        assert read_rows(tmp_path, Ended) == [Ended("ten failures"), Ended(None)]
        connection = sqlite3.connect(tmp_path / JOURNAL)
        kept = connection.execute("SELECT kind, body FROM rows ORDER BY number").fetchmany(len(OLD_ROWS))
        connection.close()
        assert [(kind, json.loads(body)) for kind, body in kept] == list(OLD_ROWS)
        assert format_of(tmp_path) == 0


def test_a_new_journal_tells_its_format(tmp_path: Path) -> None:
    """A later version, or this one, can then tell how to read it; resuming keeps the number."""
    for opened in (Journal.start, None):
        journal = Journal.resume(tmp_path, clock=time.time) if opened is None else opened(tmp_path, "", clock=time.time)
        journal.close()
        assert format_of(tmp_path) == FORMAT > 0


def read(folder: Path) -> None:
    with JournalReader(folder):
        pass


def resume(folder: Path) -> None:
    Journal.resume(folder, clock=time.time)


openers = pytest.mark.parametrize("opened", [read, resume, nas.load_run], ids=["read", "resume", "load_run"])


class TestNewerJournals:
    @openers
    def test_are_refused_with_what_to_do(self, tmp_path: Path, opened: Callable[[Path], object]) -> None:
        """The message names both format numbers and how to upgrade; the file stays as it was."""
        Journal.start(tmp_path, "", clock=time.time).close()
        connection = sqlite3.connect(tmp_path / JOURNAL)
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
        connection.close()
        before = (tmp_path / JOURNAL).read_bytes()
        message = (
            f"{tmp_path / JOURNAL} was written by a newer version of nas: its format is {FORMAT + 1}, and this version "
            f"reads up to {FORMAT}. Upgrade with: pip install --upgrade nas."
        )
        for _ in range(2):  # the first refusal must give the writer's lock back
            with pytest.raises(JournalError, match=f"^{re.escape(message)}$"):
                opened(tmp_path)
        assert (tmp_path / JOURNAL).read_bytes() == before


class TestFoldersWithoutAJournal:
    @pytest.mark.parametrize(("opened", "missing"), [(read, JOURNAL), (resume, RECIPE)])
    @pytest.mark.parametrize("exists", [True, False])
    def test_are_refused_with_the_missing_file(
        self, tmp_path: Path, opened: Callable[[Path], object], missing: str, exists: bool
    ) -> None:
        """One sentence names the folder and the missing file, and no file is made."""
        folder = tmp_path if exists else tmp_path / "none"
        message = f"{folder} must be the folder of a run, but has no {missing}."
        with pytest.raises(JournalError, match=f"^{re.escape(message)}$"):
            opened(folder)
        assert list(tmp_path.iterdir()) == []
        why = f"it has no {RECIPE}" if exists else "it does not exist"
        with pytest.raises(JournalError, match=rf"must be the folder of a run, but {why}\."):
            nas.load_run(folder)
        assert list(tmp_path.iterdir()) == []


ROUNDS = "SELECT body FROM rows WHERE kind = 'round'"


def test_counts_by_round_of_the_first_runs_of_version_0_5_0_are_reported(tmp_path: Path) -> None:
    """They kept what limits turned away in the row of each round alone."""
    run = Path(shutil.copytree(OLD_RUNS / "finished", tmp_path / "run"))
    with contextlib.closing(sqlite3.connect(run / JOURNAL)) as connection, connection:
        connection.execute("DELETE FROM rows WHERE kind = 'trained'")
        connection.execute("UPDATE rows SET body = json_remove(body, '$.details.turned_away', '$.details.near_limits')")
        wanted = [json.loads(body)["turned_away"] for (body,) in connection.execute(ROUNDS)]
    total = sum(map(Counter, wanted), Counter[str]())
    assert total
    told = {reason.replace("1.3", "1.3ms"): count for reason, count in total.most_common()}
    assert load_run(run).notes["turned away before training, by a limit"] == told
