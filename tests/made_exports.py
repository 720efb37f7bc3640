"""Exports of a user's own: one of a file, one that can follow a run, and something else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import nas

NO_EXPORT = "a text"


class IdList(nas.FileExport):
    """The ids of a run's architectures, one a line."""

    default_name = "ids.txt"

    def content(self, run: nas.Run) -> bytes:
        return "".join(f"{record.architecture.id}\n" for record in run.records).encode()


class RowList(nas.TrackedExport):
    """A file with the id and the stage of each row, which can follow a run."""

    def write(self, run: nas.Run, place: str | None) -> nas.Exported:
        self._file(run.run_folder, place).unlink(missing_ok=True)
        self.add_all(run, place)
        return nas.Exported(str(self._file(run.run_folder, place)))

    def follow(self, run_folder: Path, place: str | None) -> RowTracker:
        return RowTracker(self._file(run_folder, place))

    def _file(self, run_folder: Path, place: str | None) -> Path:
        return Path(place) if place is not None else run_folder / "rows.jsonl"


class RowTracker:
    """Appends rows to a file, but for those that are in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: list[str] = []
        self._place = 0

    def begin(self, facts: nas.RunFacts) -> None:
        self._path.touch()
        self._known = self._path.read_text(encoding="utf-8").splitlines()

    def add(self, rows: Sequence[nas.Evaluation]) -> None:
        lines = [json.dumps([row.architecture.id, row.stage]) for row in rows]
        new = lines[max(0, len(self._known) - self._place) :]
        self._place += len(lines)
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in new)

    def end(self, status: str) -> None: ...
