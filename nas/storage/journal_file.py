"""The SQLite file of a journal: its table, its format, and which of its rows are as they were written."""

from __future__ import annotations

import math
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from nas.errors import JournalError

JOURNAL = "journal.db"
FORMAT = 2
"""The number of the journal's format, kept in SQLite's ``user_version``. Version 0.5.0 left it at 0, 0.6.0 at 1."""
WITH_CHECKSUMS = 2
"""The first format whose rows have checksums, and whose numbers have no gaps."""
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What is raised for a damaged file. The latter comes from messages that quote damaged names."""
_COLUMNS = ("number", "at", "kind", "body")
_SCHEMA = """
    CREATE TABLE rows (
        number INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL
    )
"""
_INTACT = ("ok", b"ok")


@dataclass(frozen=True)
class StoredRow:
    """A row as it lies in the file, with its number, from 1, and the time ``at`` which it was written."""

    number: int
    kind: str
    body: bytes
    at: float = math.nan


@dataclass
class Contents:
    """The rows of a journal, and in words which parts of it are damaged.

    Attributes:
        format: the format of the file.
        rows: the sound rows, oldest first.
        count: the number of the last row, sound or not.
        damages: a phrase for each damage, such as "row 14 is not what was written".
    """

    format: int
    rows: list[StoredRow] = field(default_factory=list)
    count: int = 0
    damages: list[str] = field(default_factory=list)


def is_locked(error: Exception) -> bool:
    """Return True if SQLite refused a file because another connection is using it."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def remedy_for(error: Exception) -> str:
    """Return what to do about a journal that SQLite cannot read or write."""
    if is_locked(error):
        return "Another program is using that file: wait until it has ended, or end it"
    return "Free some space or mend the folder"


def checksum_of(number: int, at: float, kind: bytes, body: bytes) -> int:
    """Return the checksum of a row, a CRC-32. It finds accidents, not forgeries."""
    return zlib.crc32(body, zlib.crc32(f"{number} {at!r} {kind.decode('utf-8', 'replace')} ".encode()))


def read_contents(path: Path, noted: int | None) -> Contents:
    """Return the rows of the journal at ``path``, all as they are at one moment.

    ``noted`` is the number of rows that the writer counted, where it is known.

    Raises:
        JournalError: the file is no journal, or one of a newer version.
    """
    try:
        with closing(_connect_to_read(path)) as connection:
            connection.execute("BEGIN")
            contents = Contents(_checked_format(connection, path))
            _examine(connection, contents)
    except UNREADABLE as error:
        raise JournalError(f"{path} must be a journal of this program, but SQLite says: {error}.") from error
    if noted is not None and contents.count < noted:
        contents.damages.append(
            f"{_span(contents.count + 1, noted)} lost: the latest rows of a run lie in {JOURNAL}-wal until it ends, "
            f"and that file must stay beside {JOURNAL}"
        )
    return contents


def open_to_write(path: Path) -> sqlite3.Connection:
    """Return a connection that appends to the journal at ``path``, which is made if it has no table yet.

    Raises:
        sqlite3.DatabaseError: the file is no database, or the disk refuses.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        if not _columns(connection):
            # Before the switch to WAL: the file then is a journal even if its -wal is lost.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")  # makes the files of the WAL, for which a full disk may have no room
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def format_of(connection: sqlite3.Connection) -> int:
    """Return the format of an open journal."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def insert(connection: sqlite3.Connection, at: float, kinds_and_bodies: list[tuple[str, str]]) -> int:
    """Insert rows after the last one, within the transaction that is open, and return the number of the last row."""
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM rows").fetchone()
    rows = [(last + n, at, kind, body) for n, (kind, body) in enumerate(kinds_and_bodies, start=1)]
    if format_of(connection) < WITH_CHECKSUMS:
        connection.executemany("INSERT INTO rows (number, at, kind, body) VALUES (?, ?, ?, ?)", rows)
    else:
        checked = [(*row, checksum_of(*row[:2], row[2].encode(), row[3].encode())) for row in rows]
        connection.executemany("INSERT INTO rows (number, at, kind, body, checksum) VALUES (?, ?, ?, ?, ?)", checked)
    return int(last) + len(rows)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    # Beside a journal on a medium that is read only, SQLite cannot put the files of a WAL, and needs none.
    is_fixed = not os.access(path.parent, os.W_OK) and not path.with_name(f"{JOURNAL}-wal").exists()
    how = "immutable=1" if is_fixed else "mode=ro"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)
    connection.text_factory = bytes  # a damaged text may not be UTF-8
    return connection


def _checked_format(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format of a journal. Raises JournalError for that of a newer version."""
    found = format_of(connection)
    if found > FORMAT:
        raise JournalError(
            f"{path} was written by a newer version of nas: its format is {found}, and this version reads up to "
            f"{FORMAT}. Upgrade with: pip install --upgrade nas."
        )
    return found


def _columns(connection: sqlite3.Connection) -> list[str]:
    names = [row[1] for row in connection.execute("PRAGMA table_info(rows)")]
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names]


def _examine(connection: sqlite3.Connection, contents: Contents) -> None:
    """Read all rows into ``contents``, the sound ones as rows and the others as damages."""
    columns = _columns(connection)
    if not columns:
        return
    is_checked = contents.format >= WITH_CHECKSUMS
    expected = [*_COLUMNS, "checksum"] if is_checked else [*_COLUMNS]
    if columns != expected:
        contents.damages.append(
            f"its table has the columns {', '.join(columns)}, but format {contents.format} has {', '.join(expected)}"
        )
        return
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict not in _INTACT:
        words = verdict.decode("utf-8", "replace") if isinstance(verdict, bytes) else verdict
        contents.damages.append(f"SQLite's check of the file says: {' '.join(words.split())}")
    # Named columns would be read as texts where the name is damaged: "x" is then the text x.
    cursor = connection.execute(f"SELECT {', '.join(f'rows.{name}' for name in expected)} FROM rows ORDER BY number")  # noqa: S608
    try:
        for row in _sound(cursor, contents, is_checked):
            contents.rows.append(row)
    except UNREADABLE as error:
        contents.damages.append(f"no row after row {contents.count} can be read, SQLite says: {error}")


def _sound(cursor: sqlite3.Cursor, contents: Contents, is_checked: bool) -> Iterator[StoredRow]:
    """Yield the sound rows of a cursor, and add the damages of the others."""
    for number, at, kind, body, *checksum in cursor:
        if number <= contents.count:
            contents.damages.append(f"row {number} does not follow row {contents.count}")
            continue
        if is_checked and number > contents.count + 1:
            contents.damages.append(f"{_span(contents.count + 1, number - 1)} missing")
        contents.count = number
        is_text = isinstance(kind, bytes) and isinstance(body, bytes)
        if not is_text or (is_checked and checksum[0] != checksum_of(number, at, kind, body)):
            contents.damages.append(f"row {number} is not what was written")
        else:
            when = float(at) if isinstance(at, int | float) else math.nan
            yield StoredRow(number, kind.decode("utf-8", "replace"), body, when)


def _span(first: int, last: int) -> str:
    return f"row {first} is" if first == last else f"rows {first} to {last} are"
