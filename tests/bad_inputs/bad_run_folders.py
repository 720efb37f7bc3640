"""Bad run folders: damaged, emptied, replaced or invented; to be shown, reported on, resumed and learnt from."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bad_inputs.bad_input import BadInput
from damaged_journals import as_format_1, change_row, rows_of_a_run, write_killed_run, write_run

from nas.storage.journal import JOURNAL, RECIPE
from nas.storage.writer_lock import WRITER

SHOW, RESUME = ("show", "run"), ("search", "--resume", "run")
LEFT_OUT = "What is damaged was left out"
FIRST_TRAINING = 8
"""The number of a row that is a training."""

Prepared = Callable[[Path], object]


def run_with(change: Prepared, *, old: bool = False) -> Prepared:
    """Return a preparation that writes a run, here or by version 0.6.0, and then changes its folder."""

    def prepare(folder: Path) -> None:
        run = write_run(folder / "run", rows_of_a_run())
        change(as_format_1(run) if old else run)

    return prepare


def row(number: int, body: str) -> Prepared:
    return lambda run: change_row(run, number, body)


def value(key: str, found: object) -> Prepared:
    return lambda run: change_row(run, FIRST_TRAINING, lambda body: body["values"].update({key: found}))


def sql(statement: str) -> Prepared:
    def change(run: Path) -> None:
        with closing(sqlite3.connect(run / JOURNAL)) as connection, connection:
            connection.execute(statement)

    return change


def file(name: str, content: bytes) -> Prepared:
    return lambda run: (run / name).write_bytes(content)


def of_version_0_4_0(run: Path) -> None:
    """Turn a run into one whose circumstances were noted as before version 0.6.0, by version 0.4.0."""
    as_format_1(run)
    sql("PRAGMA user_version = 0")(run)
    sql("UPDATE rows SET kind = 'note', body = replace(body, '0.7.0', '0.4.0') WHERE kind = 'began'")(run)


def gone(name: str) -> Prepared:
    return lambda run: (run / name).unlink()


def folder_as(name: str) -> Prepared:
    def change(run: Path) -> None:
        (run / name).unlink()
        (run / name).mkdir()

    return change


def link_as(name: str, target: str) -> Prepared:
    def change(run: Path) -> None:
        (run / name).unlink()
        (run / name).symlink_to(target)

    return change


def pipe_as(name: str) -> Prepared:
    def change(run: Path) -> None:
        (run / name).unlink()
        os.mkfifo(run / name)

    return change


def without_its_wal(folder: Path) -> None:
    (write_killed_run(folder / "run", rows_of_a_run()) / f"{JOURNAL}-wal").unlink()


def a_broken_run_among_others(folder: Path) -> None:
    (folder / "runs").mkdir()
    write_run(folder / "runs" / "whole", rows_of_a_run())
    broken = write_run(folder / "runs" / "broken", [])
    (broken / JOURNAL).write_bytes(b"this is no database" * 100)
    (folder / "runs" / "lost").mkdir()
    (folder / "runs" / "lost" / RECIPE).write_text("trials = 5\n")


def recipe_lost_twice(run: Path) -> None:
    (run / RECIPE).write_text("[[[")
    change_row(run, 1, '{"text": "[[["}')


def shown(words: str, change: Prepared, *, old: bool = False) -> BadInput:
    """Return a run that is shown in part."""
    return BadInput(SHOW, (words, LEFT_OUT), run_with(change, old=old), status=1)


def refused(arguments: tuple[str, ...], words: str, change: Prepared, *, old: bool = False) -> BadInput:
    return BadInput(arguments, (words,), run_with(change, old=old))


BAD_INPUTS = {
    # Shown in part
    "a row that is not JSON": shown(
        "row 8, of the kind evaluation, cannot be used: it is not JSON", row(8, "{"), old=True
    ),
    "a row that lacks a key": shown("it lacks 'architecture'", row(8, '{"stage": "train"}'), old=True),
    "a row that is null": shown("it must be a table of keys, but is a NoneType", row(8, "null"), old=True),
    "a value that is text": shown("values.error: Input should be a valid number", value("error", "low"), old=True),
    "a value that is NaN": shown("NaN is no number of JSON", value("error", float("nan")), old=True),
    "a value that is a list": shown("values.params: Input should be a valid number", value("params", [1]), old=True),
    "a note of another shape": shown(
        "row 2, of the kind began, cannot be used: it lacks 'space'", row(2, "{}"), old=True
    ),
    "a fit without samples": shown("it lacks 'round'", row(4, '{"metric": "latency_ms"}'), old=True),
    "a cost of minus text": shown("wall_s: Input should be a valid number", row(41, '{"wall_s": "-"}'), old=True),
    "a row that was edited": shown("row 8 is not what was written", value("error", 0.01)),
    "a row of an unknown kind": shown(
        "row 8 is not what was written", sql("UPDATE rows SET kind = 'x' WHERE number = 8")
    ),
    "a row that is gone": shown("row 8 is missing", sql("DELETE FROM rows WHERE number = 8")),
    "last rows that are gone": shown("are lost: the latest rows", sql("DELETE FROM rows WHERE number > 20")),
    "an emptied journal": shown("rows 1 to 46 are lost", file(JOURNAL, b"")),
    "a row of bytes": shown("row 8 is not what was written", sql("UPDATE rows SET body = x'ff00' WHERE number = 8")),
    "a recipe that is not TOML": shown("The journal has a copy, which is shown", file(RECIPE, b"[[[")),
    "a recipe that is not UTF-8": shown("The journal has a copy, which is shown", file(RECIPE, b"name = '\xff'")),
    "a recipe that is gone": shown("has no recipe.toml. The journal has a copy", gone(RECIPE)),
    "a recipe with an unknown key": shown("a recipe has no key 'trails'", file(RECIPE, b"trails = 5")),
    "a recipe that is a pipe": shown("has no recipe.toml. The journal has a copy", pipe_as(RECIPE)),
    "a recipe that was edited": shown(
        "was changed after the run began: trials was 5 and is 50 now", file(RECIPE, b'data = "digits"\ntrials = 50\n')
    ),
    "a report on damaged rows": BadInput(
        ("report", "run"), ("row 8 is not what was written", LEFT_OUT), run_with(value("error", 0.01)), status=1
    ),
    "a damaged run as JSON": BadInput(
        (*SHOW, "--json"), ("row 8 is not what was written",), run_with(value("error", 0.01)), status=1
    ),
    "a broken run among others": BadInput(
        ("show",),
        (
            "runs/broken cannot be read: runs/broken/journal.db must be a journal of this program",
            "runs/lost cannot be read: runs/lost must be the folder of a run, but has no journal.db",
        ),
        a_broken_run_among_others,
        status=1,
    ),
    # Not shown at all
    "no run": BadInput(SHOW, ("run must be the folder of a run, but it does not exist",)),
    "a file as a run": BadInput(SHOW, ("it is not a folder",), lambda folder: (folder / "run").write_text("x")),
    "a link to itself as a run": BadInput(
        SHOW, ("it does not exist",), lambda folder: (folder / "run").symlink_to("run")
    ),
    "a text as a journal": refused(
        SHOW, "must be a journal of this program, but SQLite says", file(JOURNAL, b"x" * 5000)
    ),
    "a pipe as a journal": refused(SHOW, "has no journal.db", pipe_as(JOURNAL)),
    "a journal of a newer version": refused(SHOW, "Upgrade with", sql("PRAGMA user_version = 9")),
    "a run of version 0.4.0": refused(
        SHOW, "was written by version 0.4.0 of nas, and this version reads", of_version_0_4_0
    ),
    "resuming a run of version 0.4.0": refused(RESUME, "pip install nas==0.4.0", of_version_0_4_0),
    "no recipe anywhere": BadInput(SHOW, ("a recipe is a TOML file, but",), run_with(recipe_lost_twice, old=True)),
    "a predictor of damaged rows": BadInput(
        ("predictor", "report", "run"), ("row 8 is not what was written",), run_with(value("error", 0.01))
    ),
    # Not resumed
    "resuming damaged rows": refused(RESUME, "is damaged: row 8 is not what was written", value("error", 0.01)),
    "resuming rows without a key": refused(RESUME, "it lacks 'stage'", row(8, "{}"), old=True),
    "resuming rows of unknown kinds": refused(
        RESUME, "row 8 has the unknown kind 'x'", sql("UPDATE rows SET kind = 'x' WHERE number = 8"), old=True
    ),
    "resuming without a journal": refused(RESUME, "journal of 46 rows, but run has no journal.db", gone(JOURNAL)),
    "resuming an emptied journal": refused(RESUME, "rows 1 to 46 are lost", file(JOURNAL, b"")),
    "resuming an older emptied journal": refused(RESUME, "journal.db holds no rows", file(JOURNAL, b""), old=True),
    "resuming without the -wal": BadInput(RESUME, ("rows 1 to 46 are lost",), without_its_wal),
    "resuming a journal that is a folder": refused(RESUME, "run/journal.db is a folder", folder_as(JOURNAL)),
    "resuming a journal that is a pipe": refused(RESUME, "run/journal.db is a named pipe", pipe_as(JOURNAL)),
    "resuming by a lock that is a link": refused(
        RESUME, "must be a file of its own, but it is a link", link_as(WRITER, "x")
    ),
    "resuming by a lock that is a folder": refused(RESUME, "the folder of a run must be one that", folder_as(WRITER)),
    "resuming by a lock that is a pipe": refused(RESUME, "must be a regular file, but it is none", pipe_as(WRITER)),
    "resuming a recipe row that is not TOML": refused(
        RESUME, "is damaged: a recipe is written in TOML", row(1, '{"text": "[[["}'), old=True
    ),
    "resuming a recipe that is a folder": refused(RESUME, "recipe.toml is a folder", folder_as(RECIPE)),
    "resuming another recipe": refused(
        RESUME, "trials was 5 and is 7 now", file(RECIPE, b'data = "digits"\ntrials = 7\n')
    ),
    # Not started
    "a run folder that is a file": BadInput(
        ("search", "--evaluate", "zero-cost", "--name", "run", "--runs", "."),
        ("the folder of a run must be one that can be written, but the system says",),
        lambda folder: (folder / "run").write_text("x"),
    ),
    "runs in a file": BadInput(
        ("search", "--evaluate", "zero-cost", "--runs", "runs"),
        ("the folder of a run must be one that can be written, but the system says",),
        lambda folder: (folder / "runs").write_text("x"),
    ),
    "a used run folder": BadInput(
        ("search", "--evaluate", "zero-cost", "--name", "run", "--runs", "."),
        ("already holds a run of another recipe", "--resume run"),
        run_with(lambda run: None),
    ),
}
