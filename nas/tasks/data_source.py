"""The task that a recipe names, loaded once in each process."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

from nas.errors import DataError
from nas.progress import NullProgress, Progress
from nas.tasks.criteria import OF_CLASSES
from nas.tasks.deployed.inputs import Arrays
from nas.tasks.loading import IMAGES, Loading, load_task
from nas.tasks.task import Task

CALIBRATION_ITEMS = 256


class Arrival(Protocol):
    """The way on which a task comes from the process of the search to one that trains."""

    @property
    def is_needed(self) -> bool:
        """True on a machine that may lack the data."""
        ...

    def task(self) -> Task:
        """Return the task. Raises CandidateError if this machine cannot store its files."""
        ...


@dataclass(frozen=True)
class DataSource:
    """The source of a task: a given object, or a kind of task and the name of its data, loaded once in each process.

    ``options`` are those of the task, as JSON. Relative paths are taken from ``working_folder``, because Ray Tune moves
    each worker to another folder. With ``fingerprint``, the task of an installed kind must have it: a search compares
    candidates on the same data. In a process that trains, ``arrival`` brings a given task (``is_given``), and one that
    cannot be loaded there.
    """

    given: Task | None = None
    name: str = "digits"
    task: str = IMAGES
    options: str = "{}"
    validation_share: float | None = None
    working_folder: Path = field(default_factory=Path.cwd)
    fingerprint: str | None = field(default=None, compare=False)
    is_given: bool = False
    arrival: Arrival | None = None

    def load(self, progress: Progress | None = None) -> Task:
        """Return the task, which is made once in each process. Raises DataError and RecipeError like ``load_task``."""
        if self.given is not None:
            return self.given
        if self not in _LOADED:
            found = self._found(progress or NullProgress())
            _LOADED.clear()  # the data of one task are enough for the memory
            _LOADED[self] = found
        return _LOADED[self]

    def calibration_items(self, wishes: Mapping[str, Any]) -> Arrays:
        """Return the inputs of training items on which an int8 model finds its ranges, an array for each input.

        They are prepared as an architecture ``wishes``. Raises as ``load`` and ``Task.prepared_for`` do.
        """
        task = self.load().prepared_for(wishes)
        return task.prepared(task.sample(CALIBRATION_ITEMS).raw)

    def classifies(self) -> bool:
        """Return True if models answer with classes. Raises as ``load`` does."""
        return self.load().criterion.kind in OF_CLASSES

    def pinned(self) -> DataSource:
        """Return the source of the same data, which refuses them in other processes once they have changed."""
        return self if self.given is not None else replace(self, fingerprint=self.load().fingerprint)

    def __reduce__(self) -> tuple[Callable[..., DataSource], tuple[dict[str, Any]]]:
        """Let an executor that sends the task in its own way replace it by its arrival."""
        leave = _LEAVE.get()
        sent = self if leave is None else leave(self)
        return _made, ({each.name: getattr(sent, each.name) for each in fields(sent)},)

    def _found(self, progress: Progress) -> Task:
        if self.is_given:
            assert self.arrival is not None
            return self.arrival.task()
        loading = Loading(self.validation_share, self.working_folder, progress=progress)
        try:
            found = load_task(self.task, self.name, loading, json.loads(self.options))
        except DataError:
            if self.arrival is None or not self.arrival.is_needed:
                raise
            found = self.arrival.task()
        self._check_unchanged(found)
        return found

    def _check_unchanged(self, found: Task) -> None:
        """Check the fingerprint. Items of a user's own class may be random, so theirs need not be the same."""
        if self.fingerprint is None or ":" in self.task or found.fingerprint == self.fingerprint:
            return
        raise DataError(
            f"data must stay as they are during a search, but {self.name} has changed since it began: on "
            f"{socket.gethostname()} its fingerprint is {found.fingerprint}, not {self.fingerprint}. Restore it and "
            "resume the run, or start a new one."
        )


_LOADED: dict[DataSource, Task] = {}
_LEAVE: ContextVar[Callable[[DataSource], DataSource] | None] = ContextVar("leave", default=None)


@contextlib.contextmanager
def leaving(leave: Callable[[DataSource], DataSource]) -> Iterator[None]:
    """Let ``leave`` replace each source that is pickled within the context, by one with an arrival."""
    token = _LEAVE.set(leave)
    try:
        yield
    finally:
        _LEAVE.reset(token)


def _made(values: dict[str, Any]) -> DataSource:
    return DataSource(**values)
