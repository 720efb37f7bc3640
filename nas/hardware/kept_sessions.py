"""Finished sessions of a measuring, kept in a file, so that a stop loses only the session under way."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from nas.hardware.runtimes.runtime import Deployed


@final
@dataclass(frozen=True)
class Visit:
    """A model's turn in a session: its samples with the references' readings, and the conditions of the process.

    ``began_c`` is how warm the device was before its first session, and ``doubt`` says that it was warm in this one.
    """

    model: str
    reply: Mapping[str, Any]
    conditions: Mapping[str, Any]
    began_c: float | None = None
    doubt: str = ""


@final
class KeptSessions:
    """The finished sessions in one file, a line each; without a ``path`` none is kept.

    They are found again by the bench's fingerprint, which changes with the target and with its recorded reference
    speed, and by what is in the models' files. A line that is not as it was written is left out, as after a power cut.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def __len__(self) -> int:
        return sum(1 for _ in self._lines())

    def names(self, models: Sequence[Deployed]) -> list[str]:
        """Return a name for each model by which its visits are found again. Equal models have names of their own."""
        if self._path is None:
            return [""] * len(models)
        seen: Counter[str] = Counter()
        names = []
        for digest in map(_digest, models):
            names.append(f"{digest}-{seen[digest]}")
            seen[digest] += 1
        return names

    def of(self, fingerprint: str) -> list[list[Visit]]:
        """Return the visits of each finished session of the bench with this fingerprint, in the order of time."""
        return [
            [Visit(**visit) for visit in session["visits"]]
            for session in self._lines()
            if session["fingerprint"] == fingerprint
        ]

    def add(self, fingerprint: str, visits: Sequence[Visit]) -> None:
        """Keep a session that has just been finished. It is on disk when this returns."""
        if self._path is None or not visits:
            return
        body = json.dumps({"fingerprint": fingerprint, "visits": [asdict(visit) for visit in visits]})
        with self._path.open("ab") as file:
            file.write(f"{zlib.crc32(body.encode()):08x} {body}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def clear(self) -> None:
        """Forget all sessions, once their measurements are kept elsewhere."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[dict[str, Any]]:
        if self._path is None or not self._path.is_file():
            return
        for line in self._path.read_bytes().splitlines():
            checksum, _, body = line.partition(b" ")
            if checksum == f"{zlib.crc32(body):08x}".encode():
                yield json.loads(body)


NOT_KEPT = KeptSessions()
"""Keeps no session, where measuring begins anew after a stop."""


def _digest(model: Deployed) -> str:
    """Return a hash of what is in a model's files."""
    found = hashlib.sha256()
    for file in model.files:
        found.update(file.read_bytes())
    return found.hexdigest()[:16]
