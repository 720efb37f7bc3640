"""The task that a recipe names, loaded once in each process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from nas.errors import DataError
from nas.progress import NullProgress, Progress
from nas.tasks.loading import IMAGES, Loading, load_task
from nas.tasks.task import Task


@dataclass(frozen=True)
class DataSource:
    """The source of a task: a given object, or a kind of task and the name of its data, loaded once in each process.

    ``options`` are those of the task, as JSON. Relative paths are taken from ``working_folder``, because Ray Tune moves
    each worker to another folder. With ``fingerprint``, the task of an installed kind must have it: a search compares
    candidates on the same data.
    """

    given: Task | None = None
    name: str = "digits"
    task: str = IMAGES
    options: str = "{}"
    validation_share: float | None = None
    working_folder: Path = field(default_factory=Path.cwd)
    fingerprint: str | None = field(default=None, compare=False)

    def load(self, progress: Progress | None = None) -> Task:
        """Return the task, which is made once in each process. Raises DataError and RecipeError like ``load_task``."""
        if self.given is not None:
            return self.given
        if self not in _LOADED:
            loading = Loading(self.validation_share, self.working_folder, progress=progress or NullProgress())
            found = load_task(self.task, self.name, loading, json.loads(self.options))
            self._check_unchanged(found)
            _LOADED.clear()  # the data of one task are enough for the memory
            _LOADED[self] = found
        return _LOADED[self]

    def pinned(self) -> DataSource:
        """Return the source of the same data, which refuses them in other processes once they have changed."""
        return self if self.given is not None else replace(self, fingerprint=self.load().fingerprint)

    def _check_unchanged(self, found: Task) -> None:
        """Check the fingerprint. Items of a user's own class may be random, so theirs need not be the same."""
        if self.fingerprint is None or ":" in self.task or found.fingerprint == self.fingerprint:
            return
        raise DataError(
            f"data must stay as they are during a search, but {self.name} has changed since it began. Restore it and "
            "resume the run, or start a new one."
        )


_LOADED: dict[DataSource, Task] = {}
