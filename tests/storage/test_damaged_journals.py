"""A damaged journal is never read as other rows unnoticed. What is sound is shown, and no run goes on from the rest."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_journals import (
    as_format_1,
    change_row,
    damage,
    rows_of_a_run,
    write_killed_run,
    write_run,
)

from nas.errors import JournalError
from nas.storage.journal import JOURNAL, RECIPE, Journal, JournalReader, read_rows
from nas.storage.journal_rows import KNOWN, Cost, RoundEnded
from nas.storage.writer_lock import WRITER, rows_noted
from nas.values.evaluation import Evaluation

DAMAGES = 300


def texts_of(opened: Journal | JournalReader) -> list[str]:
    """Return all rows, by class and then by age, as texts that can be compared."""
    return [f"{row.kind} {json.dumps(row.to_json())}" for kind in KNOWN for row in opened.rows(kind)]


def resume(folder: Path) -> list[str]:
    with Journal.resume(folder, clock=lambda: 2.0) as journal:
        return texts_of(journal)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_of_many_random_damages_none_is_read_as_other_rows(tmp_path: Path) -> None:
    """Bytes are changed and pages cut, in the file and in its -wal. Each is harmless, or refused in words."""
    rng = np.random.default_rng(20)
    sound = {
        "ended": write_run(tmp_path / "ended", rows_of_a_run()),
        "killed": write_killed_run(tmp_path / "killed", rows_of_a_run()),
    }
    with JournalReader(sound["ended"]) as reader:
        expected = texts_of(reader)
    outcomes: Counter[str] = Counter()
    for number in range(DAMAGES):
        kind = ("ended", "killed")[number % 2]
        folder = Path(shutil.copytree(sound[kind], tmp_path / "damaged"))
        done = damage(folder / (JOURNAL if kind == "ended" or number % 8 == 1 else f"{JOURNAL}-wal"), rng)
        shutil.copytree(folder, tmp_path / "again")
        try:
            with JournalReader(folder) as reader:
                found = texts_of(reader)
                damages = reader.damages
            assert not Counter(found) - Counter(expected), f"{done}: rows that were never written"
            assert damages or found == expected, f"{done}: rows are missing without a word"
            outcomes["read in part" if damages else "read"] += 1
        except JournalError:
            outcomes["unreadable"] += 1
        try:
            assert resume(tmp_path / "again") == expected, f"{done}: the run goes on with other rows"
            outcomes["resumed"] += 1
        except JournalError:
            outcomes["not resumed"] += 1
        shutil.rmtree(folder)
        shutil.rmtree(tmp_path / "again")
    assert outcomes["read"] + outcomes["read in part"] + outcomes["unreadable"] == DAMAGES
    assert outcomes["not resumed"] > outcomes["resumed"] > 0, outcomes


def cut(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda body: body.pop(key)


def put(value: object, *keys: str | int) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        place: Any = body
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


WRONG_ROWS: dict[str, tuple[Callable[[dict[str, Any]], object] | str, str]] = {
    "not JSON": ('{"stage": "train", ', "it is not JSON"),
    "a list": ("[1, 2]", "it must be a table of keys, but is a list"),
    "deeply nested": ("[" * 100_000, "it is not JSON"),
    "without a key": (cut("architecture"), "it lacks 'architecture'"),
    "an unknown stage": (put("guess", "stage"), "stage: Input should be 'measure', "),
    "a text as a value": (put("low", "values", "error"), "values.error: Input should be a valid number, but got 'low'"),
    "a number as text": (
        put("0.25", "values", "error"),
        "values.error: Input should be a valid number, but got '0.25'",
    ),
    "NaN": (put(float("nan"), "values", "error"), "NaN is no number of JSON"),
    "infinity": (put(float("inf"), "values", "params"), "Infinity is no number of JSON"),
    "a negative round": (put(-1, "round"), "round: Input should be greater than or equal to 0"),
    "a round and a half": (put(1.5, "round"), "round: Input should be a valid integer"),
    "no choices": (put({}, "architecture"), "architecture: "),
    "a curve of texts": (put(["a"], "details", "curve"), "details.curve.0: Input should be a valid number"),
    "negative seconds": (put(-5.0, "details", "seconds"), "details.seconds: "),
    "an absurd value": (put(1e300, "values", "params"), "values.params: Input should be less than or equal to 1000000"),
    "no error": (put({}, "values"), "a training must have an error"),
    "a failure without a reason": (put({"kind": "nan"}, "failure"), "it lacks 'failure.reason'"),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_a_row_of_another_shape_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    """In a run of version 0.6.0, which has no checksums, the shape alone tells. Resuming is refused with the reason."""
    change, words = WRONG_ROWS[name]
    run = as_format_1(write_run(tmp_path / "run", rows_of_a_run()))
    with JournalReader(run) as reader:
        whole = reader.rows(Evaluation)
        number = next(n for n, row in enumerate(rows_of_a_run(), 1) if row in whole and is_whole_training(row))
    change_row(run, number, change)
    with JournalReader(run) as reader:
        assert len(reader.rows(Evaluation)) == len(whole) - 1
        (told,) = reader.damages
    assert told.startswith(f"row {number}, of the kind evaluation, cannot be used: ")
    assert words in told
    with pytest.raises(JournalError, match=rf"journal\.db is damaged: row {number}, .* nas show .* shows what can"):
        resume(run)
    with pytest.raises(JournalError, match=f"row {number}, "):
        read_rows(run, Evaluation)


def is_whole_training(row: object) -> bool:
    return isinstance(row, Evaluation) and row.stage == "train" and not row.failed


def test_a_changed_row_is_noticed_though_it_makes_sense(tmp_path: Path) -> None:
    """The checksum tells, whichever digit was changed."""
    run = write_run(tmp_path / "run", rows_of_a_run())
    number = next(n for n, row in enumerate(rows_of_a_run(), 1) if is_whole_training(row))
    change_row(run, number, put(0.0001, "values", "error"))
    with JournalReader(run) as reader:
        rows = reader.rows(Evaluation)
        assert reader.damages == (f"row {number} is not what was written",)
    assert all(row.values.get("error") != 0.0001 for row in rows)
    with pytest.raises(JournalError, match=f"damaged: row {number} is not what was written"):
        resume(run)


def execute(run: Path, statement: str) -> None:
    with closing(sqlite3.connect(run / JOURNAL)) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM rows WHERE number IN (7, 8)", "rows 7 to 8 are missing"),
        ("DELETE FROM rows WHERE number = 9", "row 9 is missing"),
        (
            "DELETE FROM rows WHERE number > 40",
            "rows 41 to .* are lost: the latest rows of a run lie in journal.db-wal",
        ),
        ("UPDATE rows SET kind = 'guess' WHERE number = 9", "row 9 is not what was written"),
        ("UPDATE rows SET at = 7.5 WHERE number = 9", "row 9 is not what was written"),
        ("UPDATE rows SET number = 1000 WHERE number = 9", "row 9 is missing"),
        ("PRAGMA user_version = 0", "its table has the columns number, at, kind, body, checksum, but format 0 has"),
        ("ALTER TABLE rows RENAME COLUMN body TO text", "its table has the columns number, at, kind, text, checksum"),
        ("DROP TABLE rows", "rows 1 to .* are lost"),
    ],
)
def test_rows_that_are_gone_or_moved_are_noticed(tmp_path: Path, statement: str, told: str) -> None:
    """Rows have consecutive numbers, and the writer's lock counts them."""
    run = write_run(tmp_path / "run", rows_of_a_run())
    execute(run, statement)
    with JournalReader(run) as reader:
        assert reader.damages
    with pytest.raises(JournalError, match=told):
        resume(run)


class TestJournalsThatAreGone:
    def test_a_used_run_without_its_journal_is_refused(self, tmp_path: Path) -> None:
        """One sentence tells how many rows there were, and no journal is made."""
        run = write_run(tmp_path / "run", rows_of_a_run())
        (run / JOURNAL).unlink()
        with pytest.raises(
            JournalError, match=r"goes on from its journal of 46 rows, but .*run has no journal\.db\. B"
        ):
            resume(run)
        assert not (run / JOURNAL).exists()

    def test_so_is_one_of_an_older_version(self, tmp_path: Path) -> None:
        """Its lock counts nothing, so an empty run cannot be told from one that lost everything."""
        run = as_format_1(write_run(tmp_path / "run", rows_of_a_run()))
        (run / JOURNAL).unlink()
        with pytest.raises(JournalError, match=r"a run goes on from its journal, but .*run has no journal\.db"):
            resume(run)
        (run / JOURNAL).touch()
        with pytest.raises(
            JournalError, match=r"journal\.db holds no rows: the latest rows of a run lie in journal\.db-"
        ):
            resume(run)
        assert (run / JOURNAL).stat().st_size == 0

    def test_a_lost_wal_is_noticed(self, tmp_path: Path) -> None:
        """All rows of a short run lie in it until the run ends."""
        run = write_killed_run(tmp_path / "run", rows_of_a_run())
        (run / f"{JOURNAL}-wal").unlink()
        with JournalReader(run) as reader:
            assert reader.rows(Evaluation) == []
            assert len(reader.damages) == 1
        with pytest.raises(JournalError, match=r"rows 1 to 46 are lost: .* that file must stay beside journal\.db"):
            resume(run)

    def test_the_file_alone_is_enough_after_a_clean_end(self, tmp_path: Path) -> None:
        """Nothing lies beside it, and a copy of it and of the recipe is a whole run."""
        run = write_run(tmp_path / "run", rows_of_a_run())
        assert {path.name for path in run.iterdir()} == {JOURNAL, RECIPE, WRITER}
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in (JOURNAL, RECIPE):
            shutil.copy(run / name, copy)
        assert len(resume(copy)) == 46

    def test_a_run_that_recorded_nothing_yet_begins(self, tmp_path: Path) -> None:
        """It was killed after its recipe was written and before its first row."""
        run = write_run(tmp_path / "run", [])
        assert resume(run) == []
        (run / JOURNAL).unlink()
        assert resume(run) == []
        with JournalReader(run) as reader:
            assert reader.damages == ()

    def test_rows_that_were_not_counted_yet_are_sound(self, tmp_path: Path) -> None:
        """A writer may be killed between a row and its count."""
        run = write_run(tmp_path / "run", rows_of_a_run())
        assert rows_noted(run) == 46
        (run / WRITER).write_text(f"{45:20d}\n")
        assert len(resume(run)) == 46


def test_appending_counts_on_after_an_interruption(tmp_path: Path) -> None:
    """Numbers are taken from the file, so an append whose count was lost does not break the next one."""
    with Journal.start(tmp_path / "run", "", clock=lambda: 1.0) as journal:
        journal.append(RoundEnded(1), RoundEnded(2))
        journal._lock.note(1)
        journal.append(Cost(wall_s=1, device_s=0, joules=None, meter=""))
        assert rows_noted(tmp_path / "run") == 3


def test_samples_that_no_clock_can_tell_are_no_measurement(tmp_path: Path) -> None:
    """An interval over them would overflow, in the middle of a report."""
    run = as_format_1(write_run(tmp_path / "run", rows_of_a_run()))
    number = next(n for n, row in enumerate(rows_of_a_run(), 1) if isinstance(row, Evaluation) and row.measurements)
    change_row(run, number, put([1e-308], "measurements", "latency_ms", "rounds", 2))
    with JournalReader(run) as reader:
        reader.rows(Evaluation)
        (told,) = reader.damages
    assert "a sample should be 0, or at least 1e-12, but got 1e-308" in told
