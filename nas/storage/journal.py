"""The journal: the only state of a run. The driver alone appends immutable rows to one SQLite file."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, final

from nas.errors import JournalError
from nas.paths import why_no_file
from nas.signals import check
from nas.storage.journal_file import (
    FORMAT as FORMAT,
    JOURNAL as JOURNAL,
    WITH_CHECKSUMS,
    Contents,
    StoredRow,
    format_of,
    insert,
    open_to_write,
    read_contents,
    remedy_for,
)
from nas.storage.journal_rows import KNOWN, OLD_KINDS, Began, Row, parse
from nas.storage.row_json import UnfitRowError, read_json
from nas.storage.writer_lock import WriterLock, rows_noted

R = TypeVar("R", bound=Row)

RECIPE = "recipe.toml"
OTHERS_MAY_NOT_WRITE = 0o775  # of a new run folder; the user's own mask takes away from that


@final
class Journal:
    """Appends rows to a run folder's journal and reads them back; one writer at a time.

    Each append is one transaction on disk before it returns (WAL, synchronous FULL), so ``kill -9``
    loses at most what was not yet appended.
    """

    def __init__(self, folder: Path, lock: WriterLock, *, clock: Callable[[], float]) -> None:
        """Use ``start`` or ``resume`` instead, which take the folder's ``lock``."""
        self._clock = clock
        self._lock = lock
        self.folder = folder
        self._path = folder / JOURNAL
        try:
            self._connection = open_to_write(self._path)
        except sqlite3.OperationalError as error:
            raise JournalError(
                f"{self._path} must be a file that can be written, but SQLite says: {error}. "
                f"{remedy_for(error)}, then try again."
            ) from error
        except sqlite3.DatabaseError as error:
            raise JournalError(
                f"{self._path} must be a journal of this program that can be written, but SQLite says: {error}."
            ) from error

    @classmethod
    def start(cls, folder: Path, recipe_text: str, *, clock: Callable[[], float]) -> Journal:
        """Return the journal of a new run in ``folder``, which is made if it does not exist.

        A folder that could not be filled, as on a full disk, is removed again.

        Raises:
            JournalError: the folder holds a run already, or cannot be written.
        """
        with _told_if_unwritable():
            is_new = _made(folder)
            lock = WriterLock.take(folder)
            try:
                _check_free(folder, recipe_text)
                with _cleared_if_unfinished(folder, is_new):
                    lock.note(0)
                    write_aside(folder / RECIPE, recipe_text.encode())
                    return cls(folder, lock, clock=clock)
            except BaseException:
                lock.close()
                raise

    @classmethod
    def resume(cls, folder: Path, *, clock: Callable[[], float]) -> Journal:
        """Return the journal of a run that was started before.

        Raises:
            JournalError: there is none, it is damaged, or rows of it are lost.
        """
        if not (folder / RECIPE).is_file():
            raise JournalError(f"{folder} must be the folder of a run, but has no {RECIPE}.")
        with _told_if_unwritable():
            lock = WriterLock.take(folder)
        try:
            _check_whole(folder, lock.noted)
            _remove_leftovers(folder)
            return cls(folder, lock, clock=clock)
        except BaseException:
            lock.close()
            raise

    def append(self, *rows: Row) -> None:
        """Add rows of any kinds, all or none. They are on disk when this returns.

        Raises:
            JournalError: the disk refuses.
            Stopped: a signal came, and a library caught the exception. The row may be wrong, such as a failure.
        """
        check()
        at = float(self._clock())
        texts = [(row.kind, json.dumps(row.to_json(), allow_nan=False)) for row in rows]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            last = insert(self._connection, at, texts)
            self._connection.execute("COMMIT")
            self._lock.note(last)
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                said = f"SQLite says: {error}"
            elif isinstance(error, OSError):
                said = f"the system says: {error}"
            else:
                raise
            raise JournalError(
                f"rows must reach the disk before the run goes on, but {said}. "
                f"{remedy_for(error)}, then resume the run."
            ) from error

    def rows(self, row: type[R]) -> list[R]:
        """Return all rows of one class, oldest first. Raises JournalError when one is damaged."""
        return [found for _, found in self.timed_rows(row)]

    def timed_rows(self, row: type[R]) -> list[tuple[float, R]]:
        """Return all rows of one class, oldest first, each with the time of ``clock`` when it was appended.

        Raises:
            JournalError: one is damaged.
        """
        try:
            kinds = _kinds_of(row, format_of(self._connection))
            any_of = ", ".join("?" * len(kinds))
            query = f"SELECT number, kind, body, at FROM rows WHERE kind IN ({any_of}) ORDER BY number"  # noqa: S608
            stored = (StoredRow(*each) for each in self._connection.execute(query, kinds))
            return [(each.at, found) for each in stored for found in _parsed(row, each)]
        except sqlite3.OperationalError as error:
            raise JournalError(
                f"{self._path} must be a file that can be read, but SQLite says: {error}. "
                f"{remedy_for(error)}, then resume the run."
            ) from error
        except (sqlite3.DatabaseError, UnfitRowError) as error:
            raise _damaged(self._path, [str(error)]) from error

    def close(self) -> None:
        """Release the run folder for another writer."""
        self._connection.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@final
class JournalReader:
    """Reads a run's journal without the writer's lock, also while the run goes on. Use it in a ``with`` statement.

    All rows are read when the ``with`` statement begins. Damaged ones are left out, and ``damages`` names them.
    ``rows`` adds those that it finds to be unfit.

    Raises:
        JournalError: on entering, the folder has no journal, or one that this version cannot read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        if not self._path.is_file():
            raise JournalError(f"{folder} must be the folder of a run, but has no {JOURNAL}.")

    def __enter__(self) -> Self:
        # The count of rows first: rows that are appended meanwhile are more than it says, never fewer.
        noted = rows_noted(self._path.parent)
        self._contents = _read(self._path, noted)
        self._parsed: dict[type[Row], list[tuple[float, Any]]] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def damages(self) -> tuple[str, ...]:
        """What is damaged, a phrase each; empty for a sound journal."""
        return tuple(self._contents.damages)

    def rows(self, row: type[R]) -> list[R]:
        """Return all sound rows of one class, oldest first."""
        return [found for _, found in self.timed_rows(row)]

    def timed_rows(self, row: type[R]) -> list[tuple[float, R]]:
        """Return all sound rows of one class, oldest first, each with the writer's time: usually seconds since 1970.

        A time that is damaged is NaN.
        """
        if row not in self._parsed:
            self._parsed[row] = _sound_rows(self._contents, row)
        return list(self._parsed[row])

    def check(self) -> None:
        """Raise JournalError if anything is damaged, as far as it was read."""
        if self.damages:
            raise _damaged(self._path, self.damages)


def began_at(journal: Journal | JournalReader) -> float:
    """Return when a run began, by its writer's clock: usually seconds since 1970. It is NaN where that is unknown."""
    return min((at for at, _ in journal.timed_rows(Began)), default=math.nan)


def read_rows(folder: Path, row: type[R]) -> list[R]:
    """Return a run's rows of one class, oldest first. Raises JournalError if any of the journal is damaged."""
    with JournalReader(folder) as reader:
        rows = reader.rows(row)
        reader.check()
        return rows


def write_aside(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: beside its place, flushed, then renamed onto it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)
        with aside.open("xb") as stream:  # a new file: a link that somebody put there is not followed
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def _remove_leftovers(folder: Path) -> None:
    """Remove files that a killed writer of the run had begun beside their places, see ``write_aside``."""
    for path in (*folder.glob(".*.*"), *folder.glob("*/*/.*.*"), *folder.glob("*/*/*/.*.*")):
        if re.fullmatch(r"\..+\.[0-9]+", path.name):
            path.unlink()


def _check_free(folder: Path, recipe_text: str) -> None:
    """Raise JournalError if ``folder`` holds a run."""
    if not ((folder / JOURNAL).exists() or (folder / RECIPE).exists()):
        return
    held = (folder / RECIPE).read_bytes() if (folder / RECIPE).is_file() else None
    what = "this recipe's run" if held == recipe_text.encode() else "a run of another recipe"
    raise JournalError(
        f"a new run needs a folder of its own, but {folder} already holds {what}. "
        f"Go on with it by --resume {folder}, or choose another --name."
    )


def _read(path: Path, noted: int | None) -> Contents:
    """Return what a journal holds. Raises JournalError as ``read_contents``, and for one of before version 0.5.0."""
    contents = read_contents(path, noted)
    notes = (each.body for each in contents.rows if contents.format == 0 and each.kind == "note")
    found = next(filter(None, (re.search(rb'"versions": {.*?"nas": "(0\.[0-4]\.\d+)"', note) for note in notes)), None)
    if found is not None:
        version = found[1].decode()
        raise JournalError(
            f"{path} was written by version {version} of nas, and this version reads runs of 0.5.0 and later. Search "
            f"again, or read it by that version: pip install nas=={version}."
        )
    return contents


def _check_whole(folder: Path, noted: int | None) -> None:
    """Check that a run's journal is there, has all of its rows, and that each is as it was written.

    Raises:
        JournalError: not so. A run that recorded nothing yet may lack its journal.
    """
    path = folder / JOURNAL
    # A start that was killed while it made the file is undone by SQLite, from its own journal.
    if noted == 0 and (not path.exists() or path.with_name(f"{JOURNAL}-journal").exists()):
        return
    why = why_no_file(path)
    if why is not None:
        counted = "" if noted is None else f" of {noted} rows"
        what = f"{folder} has no {JOURNAL}" if why == "does not exist" else f"{path} {why}"
        raise JournalError(
            f"a run goes on from its journal{counted}, but {what}. Bring it back from a copy, or start a new run."
        )
    contents = _read(path, noted)
    if contents.format < WITH_CHECKSUMS:  # only their shape tells if rows are sound
        contents.damages += [unfit for each in contents.rows if (unfit := _why_unfit(each, contents.format))]
    if contents.damages:
        raise _damaged(path, contents.damages)
    if not contents.count and noted != 0:
        raise JournalError(
            f"a run goes on from its journal, but {path} holds no rows: the latest rows of a run lie in {JOURNAL}-wal "
            "until it ends, and that file may have been lost. Bring it back from a copy, or start a new run."
        )


def _kinds_of(row: type[Row], format_number: int) -> tuple[str, ...]:
    """Return the kinds in which rows of a class are stored.

    A run that version 0.5.0 began keeps its format number, for its first rows have that version's kinds.
    """
    return (row.kind, *(OLD_KINDS.get(row.kind, ()) if format_number == 0 else ()))


def _parsed(row: type[R], stored: StoredRow) -> list[R]:
    """Return the rows of a class that a stored row stands for. Raises UnfitRowError, which names it."""
    try:
        return parse(row, stored.kind, read_json(stored.body))
    except UnfitRowError as error:
        raise UnfitRowError(f"row {stored.number}, of the kind {stored.kind}, cannot be used: {error}") from error


def _sound_rows(contents: Contents, row: type[R]) -> list[tuple[float, R]]:
    """Return the rows of a class with their times, and add those that cannot be used to the damages."""
    kinds = _kinds_of(row, contents.format)
    found: list[tuple[float, R]] = []
    for each in contents.rows:
        if each.kind in kinds:
            try:
                found += [(each.at, parsed) for parsed in _parsed(row, each)]
            except UnfitRowError as error:
                if str(error) not in contents.damages:
                    contents.damages.append(str(error))
    return found


def _why_unfit(stored: StoredRow, format_number: int) -> str | None:
    """Return why a row cannot be used; None if it can."""
    classes = [row for row in KNOWN if stored.kind in _kinds_of(row, format_number)]
    try:
        for row in classes:
            _parsed(row, stored)
    except UnfitRowError as error:
        return str(error)
    return None if classes else f"row {stored.number} has the unknown kind {stored.kind!r}"


def _damaged(path: Path, damages: Sequence[str]) -> JournalError:
    more = "" if len(damages) == 1 else f" (and {len(damages) - 1} further damages)"
    return JournalError(
        f"{path} is damaged: {damages[0]}{more}. A run goes on only from rows that are as they were written: bring the "
        f"file back from a copy, or start a new run. nas show {path.parent} shows what can still be read."
    )


@contextlib.contextmanager
def _told_if_unwritable() -> Iterator[None]:
    """Turn an OSError into a JournalError."""
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"the folder of a run must be one that can be written, but the system says: {error}. "
            "Free some space, mend the folder, or choose another one."
        ) from error


@contextlib.contextmanager
def _cleared_if_unfinished(folder: Path, is_new: bool) -> Iterator[None]:
    """Remove what a failed start left in ``folder``, and the folder itself if it is new: half a run is of no use."""
    try:
        yield
    except BaseException:
        for name in (RECIPE, JOURNAL):
            (folder / name).unlink(missing_ok=True)
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _made(folder: Path) -> bool:
    """Make ``folder``, and return True if it is new."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=OTHERS_MAY_NOT_WRITE)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    return True
