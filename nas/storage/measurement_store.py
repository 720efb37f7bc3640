"""Measurements kept across runs, found again by architecture, space and the target's fingerprint."""

from __future__ import annotations

import hashlib
import inspect
import json
import sqlite3
import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from nas.errors import TargetError
from nas.space.architecture import Architecture
from nas.space.layer import Layer
from nas.space.parts.device_parts import device_space, innermost
from nas.space.search_space import SearchSpace, choices_hash
from nas.space.signature import Signature
from nas.storage.journal_file import UNREADABLE, is_locked
from nas.values.measurement import Measurement
from nas.values.other_target import Source
from nas.values.profiled_network import PROFILE, ProfiledNetwork, profiled_network

STORE = "measurements.db"
LOCKED_S = 60.0
"""Seconds to wait for another process that writes."""
LEAST_OF_A_SOURCE = 20
"""A target with fewer measured architectures than this is no source to learn from."""
MOST_PROFILED = 200
"""The most networks that were profiled earlier to learn from."""
PROFILED = "profiled_"
"""What the name of a doubtful metric begins with whose profile alone is kept."""
_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS measurements (
        number INTEGER PRIMARY KEY, at REAL NOT NULL, fingerprint TEXT NOT NULL, space TEXT NOT NULL,
        architecture TEXT NOT NULL, metric TEXT NOT NULL, body TEXT NOT NULL, choices TEXT NOT NULL,
        checksum INTEGER
    )
    """,
    "CREATE INDEX IF NOT EXISTS places ON measurements (fingerprint, space, architecture)",
)


@final
@dataclass(frozen=True)
class _Kept:
    """A row of the store. ``checksum`` is None in rows before version 0.7."""

    fingerprint: str
    space: str
    architecture: str
    metric: str
    body: str
    choices: str
    checksum: int | None = None

    @property
    def expected_checksum(self) -> int:
        """The checksum of the row as it is."""
        return zlib.crc32(repr(astuple(self)[:-1]).encode())

    @property
    def measurement(self) -> Measurement | None:
        """The measurement; None where the row is not as it was written."""
        from nas.storage.row_shapes import is_measurement

        if self.checksum is not None and self.checksum != self.expected_checksum:
            return None
        try:
            body = json.loads(self.body)
            return Measurement.from_json(body) if is_measurement(body) and body["metric"] == self.metric else None
        except ValueError:  # not JSON, or impossible samples
            return None

    @property
    def settled(self) -> Architecture | None:
        """The architecture with its choices; None where they do not give the id that the row has."""
        try:
            found = Architecture(json.loads(self.choices))
        except (ValueError, TypeError):
            return None
        return found if found.id == self.architecture else None


class MeasurementStore:
    """One SQLite file in ``folder``. Any number of processes add rows, and the last row about an architecture counts.

    With ``fresh``, earlier measurements are ignored, while new ones are still kept for later runs. A row that is not as
    it was written is ignored, so that its architecture is measured again; rows before version 0.7 cannot tell.
    """

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        self._path = folder / STORE
        self._fresh = fresh

    def find(self, fingerprint: str, space: str, architecture: Architecture) -> dict[str, Measurement]:
        """Return the earlier measurements of an architecture on a target, by metric.

        Raises:
            TargetError: the file is no store of this program.
        """
        if self._fresh or not self._path.is_file():
            return {}
        rows = self._rows("fingerprint = ? AND space = ? AND architecture = ?", fingerprint, space, architecture.id)
        return {row.metric: measurement for row in rows if (measurement := row.measurement) is not None}

    @property
    def path(self) -> Path:
        """The file of the store."""
        return self._path

    def kept(self, fingerprint: str, space: str, metric: str) -> dict[Architecture, Measurement]:
        """Return the earlier measurements of ``metric`` in a space on a target, by architecture.

        ``space`` is its ``space_identity``. Architectures whose layers have changed since are among them.

        Raises:
            TargetError: the file is no store of this program.
        """
        return {architecture: found for _, architecture, found in self._of_space(space, metric, fingerprint)}

    def sources(
        self, space: str, metric: str, *, without: Collection[str], apart_from: Collection[Architecture] = ()
    ) -> list[Source]:
        """Return the measurements of ``metric`` in a space on each target, but those with a fingerprint in ``without``.

        ``space`` is its ``space_identity``. Architectures in ``apart_from``, which the caller measured itself, are left
        out: a source that knew them would tell more of them than of the next proposal, so that their held-out errors
        lied. Targets with fewer than ``LEAST_OF_A_SOURCE`` others are left out too.

        Raises:
            TargetError: the file is no store of this program.
        """
        found: dict[str, dict[Architecture, Measurement]] = {}
        for fingerprint, architecture, measurement in self._of_space(space, metric):
            # Predictors learn logarithms.
            if fingerprint not in without and architecture not in apart_from and measurement.median > 0:
                found.setdefault(fingerprint, {})[architecture] = measurement
        return [
            Source(last.target, tuple(each), np.array([measurement.median for measurement in each.values()]))
            for each in found.values()
            if len(each) >= LEAST_OF_A_SOURCE and (last := next(reversed(each.values())))
        ]

    def profiled(self, metric: str, fingerprint: str, space: str, *, before: float) -> list[ProfiledNetwork]:
        """Return networks whose ``metric``, a latency, was measured and profiled on a target before a time.

        ``fingerprint`` identifies the target's hardware and versions, without its reference speed. Networks of the
        space whose ``space_identity`` is ``space`` have their architectures. ``before`` is in seconds since 1970. There
        are ``MOST_PROFILED`` at most, the newest ones.

        Raises:
            TargetError: the file is no store of this program.
        """
        if self._fresh or not self._path.is_file():
            return []
        target = f"{fingerprint}-"
        where = "substr(fingerprint, 1, ?) = ? AND metric IN (?, ?) AND body LIKE ? AND at < ?"
        values = len(target), target, metric, PROFILED + metric, f'%"{PROFILE}"%', before
        found: dict[tuple[str, str], ProfiledNetwork] = {}
        for row in self._rows(where, *values, newest=2 * MOST_PROFILED):
            measurement = None if (row.space, row.architecture) in found else row.measurement
            if measurement is None:
                continue
            architecture = row.settled if row.space.startswith(f"{space}-") else None
            network = profiled_network(measurement, architecture, is_of_run=False)
            if network is not None and len(found) < MOST_PROFILED:
                found[row.space, row.architecture] = network
        return list(found.values())

    def _of_space(
        self, space: str, metric: str, fingerprint: str | None = None
    ) -> Iterator[tuple[str, Architecture, Measurement]]:
        """Yield what the sound rows about ``metric`` in a space hold, oldest first; the target is its fingerprint.

        With ``fingerprint``, they are those of that target alone.
        """
        if self._fresh or not self._path.is_file():
            return
        # Keys are a space's identity, and that of an architecture's layers after a dash.
        start = f"{space}-"
        where = "substr(space, 1, ?) = ? AND metric = ? AND coalesce(fingerprint = ?, TRUE)"
        for row in self._rows(where, len(start), start, metric, fingerprint):
            architecture, measurement = row.settled, row.measurement
            if architecture is not None and measurement is not None:
                yield row.fingerprint, architecture, measurement

    def add(self, fingerprint: str, space: str, architecture: Architecture, found: Mapping[str, Measurement]) -> None:
        """Keep measurements, all or none. Those with a flag are left out: a doubt must not outlive its run.

        The profile of a doubtful latency is kept all the same for later runs, under a name of its own, because some
        per cent of a latency are no doubt about its parts.

        Raises:
            TargetError: the file is no store of this program, or the disk refuses.
        """
        now, choices = time.time(), json.dumps(dict(architecture), allow_nan=False)
        sound = {name: each for name, each in found.items() if not each.flags}
        doubtful = (
            (PROFILED + name, each) for name, each in found.items() if each.flags and PROFILE in each.conditions
        )
        profiled = {name: replace(each, metric=name) for name, each in doubtful}
        bodies = {name: json.dumps(each.to_json(), allow_nan=False) for name, each in {**sound, **profiled}.items()}
        kept = [_Kept(fingerprint, space, architecture.id, name, body, choices) for name, body in bodies.items()]
        rows = [(now, *astuple(each)[:-1], each.expected_checksum) for each in kept]
        if not rows:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self._path, timeout=LOCKED_S, isolation_level=None)) as connection:
                # Take the lock first: reading before writing fails at once with "database is locked", without waiting.
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    connection.execute(statement)
                if "checksum" not in self._columns(connection):  # stores before version 0.7 lack it
                    connection.execute("ALTER TABLE measurements ADD COLUMN checksum INTEGER")
                connection.executemany(
                    "INSERT INTO measurements (at, fingerprint, space, architecture, metric, body, choices, checksum)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )
                connection.execute("COMMIT")
        except UNREADABLE as error:
            raise TargetError(self._unusable(error)) from error

    def _rows(self, where: str, *values: object, newest: int | None = None) -> list[_Kept]:
        """Return the rows that meet a condition, oldest first; or so many of the newest, these first."""
        try:
            with closing(sqlite3.connect(self._path, timeout=LOCKED_S)) as connection:
                # Another process may have just created the file, and stores before version 0.7 lack checksums.
                there = self._columns(connection)
                names = [name if name in there else "NULL" for name in _Kept.__dataclass_fields__]
                query = f"SELECT {', '.join(names)} FROM measurements WHERE {where} ORDER BY number"  # noqa: S608
                query += "" if newest is None else f" DESC LIMIT {newest}"
                return [_Kept(*row) for row in connection.execute(query, values)] if there else []
        except UNREADABLE as error:
            raise TargetError(self._unusable(error)) from error

    def _columns(self, connection: sqlite3.Connection) -> set[str]:
        """Return the names of the table's columns; none if there is no table.

        Raises:
            TargetError: the store was begun by a version that did not keep choices.
        """
        names = {row[1] for row in connection.execute("PRAGMA table_info(measurements)")}
        if "fingerprint" in names and "choices" not in names:
            raise TargetError(
                f"measurements are kept in {self._path}, but a version before 0.5.0 wrote it, and its rows do not say "
                "of which choices they are. Move that file away, or set NAS_HOME to another folder."
            )
        return names

    def _unusable(self, error: Exception) -> str:
        if is_locked(error):
            return (
                f"measurements are kept in {self._path}, but another process has been writing to it for "
                f"{LOCKED_S:g} s. Wait for that process, or end it, then try again."
            )
        return (
            f"measurements are kept in {self._path}, but SQLite says: {error}. Move that file away, free some space, "
            "or set NAS_HOME to another folder."
        )


def space_identity(space: SearchSpace, signature: Signature) -> str:
    """Return a hash of everything in a space that latencies depend on: choices, shapes and its source code.

    Choices that affect training only do not count, so that spaces which differ only in them share measurements.
    """
    inner = innermost(space)
    seen = choices_hash(device_space(space))
    # A space that joins others depends on their code too.
    source = "".join(map(_source, (inner, *getattr(inner, "parts", ()))))
    text = json.dumps([type(inner).__qualname__, seen, *signature.key, source])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def layers_identity(layers: Sequence[Layer], operators: Sequence[str] = ()) -> str:
    """Return a hash of an architecture's layers, and of the operators that it runs.

    Layers alone know neither the activation nor the dilation, and the space's code may choose these by an argument of
    its constructor, or lie in a notebook or in several files.
    """
    return hashlib.sha256(repr((tuple(layers), tuple(operators))).encode()).hexdigest()[:16]


def _source(space: SearchSpace) -> str:
    """Return a hash of the file, or the whole package, that defines the space's class. Any change there counts."""
    digest = hashlib.sha256()
    try:
        file = Path(inspect.getfile(type(space)))
        inside_package = (file.parent / "__init__.py").is_file()
        for each in sorted(file.parent.glob("*.py")) if inside_package else [file]:
            digest.update(each.read_bytes())
    except (TypeError, OSError):  # defined at a prompt or on standard input, or the file was moved
        return ""
    return digest.hexdigest()[:16]
