"""The task that a recipe names, loaded once in each process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from nas.progress import NullProgress, Progress
from nas.tasks.loading import IMAGES, Loading, load_task
from nas.tasks.task import Task


@dataclass(frozen=True)
class DataSource:
    """The source of a task: a given object, or a kind of task and the name of its data, loaded once in each process.

    ``options`` are those of the task, as JSON. Relative paths are taken from ``working_folder``, because Ray Tune moves
    each worker to another folder.
    """

    given: Task | None = None
    name: str = "digits"
    task: str = IMAGES
    options: str = "{}"
    validation_share: float | None = None
    working_folder: Path = field(default_factory=Path.cwd)

    def load(self, progress: Progress | None = None) -> Task:
        """Return the task, which is made once in each process. Raises DataError and RecipeError like ``load_task``."""
        if self.given is not None:
            return self.given
        if self not in _LOADED:
            loading = Loading(self.validation_share, self.working_folder, progress=progress or NullProgress())
            found = load_task(self.task, self.name, loading, json.loads(self.options))
            _LOADED.clear()  # the data of one task are enough for the memory
            _LOADED[self] = found
        return _LOADED[self]


_LOADED: dict[DataSource, Task] = {}
