"""The journal: the only state of a run. The driver alone appends immutable rows to one SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar, final

from nas.errors import JournalError
from nas.storage import file_lock
from nas.storage.journal_rows import OLD_KINDS, Row, parse

R = TypeVar("R", bound=Row)

JOURNAL = "journal.db"
RECIPE = "recipe.toml"
FORMAT = 1
"""The number of the journal's format, kept in SQLite's ``user_version``. Version 0.5.0 left it at 0."""
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS rows (
        number INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL
    )
"""


@final
class Journal:
    """Appends rows to a run folder's journal and reads them back; one writer at a time.

    Each append is one transaction on disk before it returns (WAL, synchronous FULL), so ``kill -9``
    loses at most what was not yet appended.
    """

    def __init__(self, folder: Path, lock: IO[str], *, clock: Callable[[], float]) -> None:
        """Use ``start`` or ``resume`` instead, which take the folder's ``lock``."""
        self._clock = clock
        self._lock = lock
        try:
            self._connection = _open(folder / JOURNAL)
        except JournalError:
            self._lock.close()
            raise
        except sqlite3.OperationalError as error:
            self._lock.close()
            raise JournalError(
                f"{folder / JOURNAL} must be a file that can be written, but SQLite says: {error}. "
                "Free some space or mend the folder, then resume the run."
            ) from error
        except sqlite3.DatabaseError as error:
            self._lock.close()
            raise JournalError(
                f"{folder / JOURNAL} must be a journal of this program that can be written, but SQLite says: {error}."
            ) from error

    @classmethod
    def start(cls, folder: Path, recipe_text: str, *, clock: Callable[[], float]) -> Journal:
        """Return the journal of a new run in ``folder``, which is made if it does not exist.

        Raises:
            JournalError: the folder holds a run already.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
        try:
            if (folder / JOURNAL).exists() or (folder / RECIPE).exists():
                held = (folder / RECIPE).read_text(encoding="utf-8") if (folder / RECIPE).exists() else None
                what = "this recipe's run" if held == recipe_text else "a run of another recipe"
                raise JournalError(
                    f"a new run needs a folder of its own, but {folder} already holds {what}. "
                    f"Go on with it by --resume {folder}, or choose another --name."
                )
            write_aside(folder / RECIPE, recipe_text.encode())
            return cls(folder, lock, clock=clock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def resume(cls, folder: Path, *, clock: Callable[[], float]) -> Journal:
        """Return the journal of a run that was started before. Raises JournalError if there is none."""
        if not (folder / RECIPE).is_file():
            raise JournalError(f"{folder} must be the folder of a run, but has no {RECIPE}.")
        return cls(folder, _lock(folder), clock=clock)

    def append(self, *rows: Row) -> None:
        """Add rows of any kinds, all or none. They are on disk when this returns.

        Raises:
            JournalError: the disk refuses.
        """
        at = self._clock()
        texts = [(at, row.kind, json.dumps(row.to_json(), allow_nan=False)) for row in rows]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO rows (at, kind, body) VALUES (?, ?, ?)", texts)
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if not isinstance(error, sqlite3.OperationalError):
                raise
            raise JournalError(
                f"rows must reach the disk before the run goes on, but SQLite says: {error}. "
                "Free some space or mend the folder, then resume the run."
            ) from error

    def rows(self, row: type[R]) -> list[R]:
        """Return all rows of one class, oldest first."""
        return _read(self._connection, row)

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

    Raises:
        JournalError: on entering, the folder has no journal, or one that this version cannot read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        if not self._path.is_file():
            raise JournalError(f"{folder} must be the folder of a run, but has no {JOURNAL}.")

    def __enter__(self) -> Self:
        try:
            self._connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
            )
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error
        try:
            self._connection.execute("BEGIN")  # all rows are read as they are at one moment
            _check_format(self._connection, self._path)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise self._unreadable(error) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def rows(self, row: type[R]) -> list[R]:
        """Return all rows of one class, oldest first. Raises JournalError when the file is damaged."""
        try:
            return _read(self._connection, row)
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.DatabaseError) -> JournalError:
        return JournalError(f"{self._path} must be a journal of this program, but SQLite says: {error}.")


def read_rows(folder: Path, row: type[R]) -> list[R]:
    """Return a run's rows of one class, oldest first, as ``JournalReader`` reads them."""
    with JournalReader(folder) as reader:
        return reader.rows(row)


def write_aside(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: beside its place, flushed, then renamed onto it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _check_format(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'rows'").fetchone():
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Raise JournalError for a journal of a newer version."""
    found = _format_of(connection)
    if found > FORMAT:
        raise JournalError(
            f"{path} was written by a newer version of nas: its format is {found}, and this version reads up to "
            f"{FORMAT}. Upgrade with: pip install --upgrade nas."
        )


def _format_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _read(connection: sqlite3.Connection, row: type[R]) -> list[R]:
    # A run that version 0.5.0 began keeps its format number, for its first rows have that version's kinds.
    kinds = (row.kind, *(OLD_KINDS.get(row.kind, ()) if _format_of(connection) == 0 else ()))
    query = f"SELECT kind, body FROM rows WHERE kind IN ({', '.join('?' * len(kinds))}) ORDER BY number"  # noqa: S608
    cursor = connection.execute(query, kinds)
    return [found for kind, body in cursor for found in parse(row, kind, json.loads(body))]


def _lock(folder: Path) -> IO[str]:
    try:
        return file_lock.take(folder / ".writer")
    except file_lock.HeldElsewhereError as error:
        raise JournalError(
            f"a run has one writer, but another process is writing to {folder}. Wait for it, or end it."
        ) from error
