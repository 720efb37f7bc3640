"""The only state of a run: immutable rows, appended to one SQLite file by the driver alone."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, final

from nas.errors import JournalError
from nas.storage import file_lock
from nas.values.evaluation import Evaluation

Kind = Literal["recipe", "evaluation", "fit", "trained", "round", "note", "cost", "bench"]

JOURNAL = "journal.db"
RECIPE = "recipe.toml"
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
        """Made by ``start`` or ``resume``, which hold the folder's ``lock``."""
        self._clock = clock
        self._lock = lock
        try:
            self._connection = _open(folder / JOURNAL)
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
        """A new run in ``folder``, which is made where it does not exist.

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
        """The journal of a run that was started before. Raises JournalError when there is none."""
        if not (folder / RECIPE).is_file():
            raise JournalError(f"{folder} must be the folder of a run, but has no {RECIPE}.")
        return cls(folder, _lock(folder), clock=clock)

    def append(self, kind: Kind, *bodies: Mapping[str, Any]) -> None:
        """Add rows, all or none. They are on disk when this returns.

        Raises:
            JournalError: the disk refuses, with what to do.
        """
        at = self._clock()
        texts = [json.dumps(body, allow_nan=False) for body in bodies]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT INTO rows (at, kind, body) VALUES (?, ?, ?)", [(at, kind, text) for text in texts]
            )
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

    def append_evaluations(self, evaluations: Iterable[Evaluation]) -> None:
        """Add evaluation rows, all or none."""
        self.append("evaluation", *(evaluation.to_json() for evaluation in evaluations))

    def bodies(self, kind: Kind) -> list[dict[str, Any]]:
        """The rows of one kind, oldest first."""
        return _read(self._connection, kind)

    def evaluations(self) -> list[Evaluation]:
        """All evaluations, oldest first."""
        return [Evaluation.from_json(body) for body in self.bodies("evaluation")]

    def close(self) -> None:
        """Give the run folder free for another writer."""
        self._connection.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_rows(folder: Path, kind: Kind) -> list[dict[str, Any]]:
    """Rows of a run without becoming its writer, while it runs too. Raises JournalError when there is none."""
    path = folder / JOURNAL
    if not path.is_file():
        raise JournalError(f"{folder} must be the folder of a run, but has no {JOURNAL}.")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        return _read(connection, kind)
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{path} must be a journal of this program, but SQLite says: {error}.") from error
    finally:
        connection.close()


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
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_SCHEMA)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _read(connection: sqlite3.Connection, kind: Kind) -> list[dict[str, Any]]:
    cursor = connection.execute("SELECT body FROM rows WHERE kind = ? ORDER BY number", (kind,))
    return [json.loads(body) for (body,) in cursor]


def _lock(folder: Path) -> IO[str]:
    try:
        return file_lock.take(folder / ".writer")
    except file_lock.HeldElsewhereError as error:
        raise JournalError(
            f"a run has one writer, but another process is writing to {folder}. Wait for it, or end it."
        ) from error
