"""A task that trains on further items of other data, and is tested on its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.errors import DataError
from nas.tasks.batches import Examples, IntArray, Joined, Part, in_order
from nas.tasks.task import Task
from nas.tasks.task_to_fit import OtherItems

READ_TOGETHER = 512


@dataclass(frozen=True)
class Further:
    """What other data add to a task.

    Attributes:
        name: the name of the other data.
        task: the task with the other data's items among those to train on.
        added: the number of items that it gains.
        tested: items that were left out, because the test split has them too.
        repeated: items that were left out, because they are in training already.
    """

    name: str
    task: EnlargedTask
    added: int
    tested: int
    repeated: int

    @property
    def in_words(self) -> str:
        """The numbers, for people."""
        noun = self.task.noun
        found = [f"{self.added:,} further {noun} to train on"]
        found += [f"{self.tested:,} left out because the test has them"] if self.tested else []
        found += [f"{self.repeated:,} left out because they are in training already"] if self.repeated else []
        return ", ".join(found)


def enlarged(task: Task, other: Task) -> Further:
    """Return a task with all items of ``other``, of each of its splits, to train on beside its own.

    Items that the task has already are left out: those of its test split would make the test too good, and repeated
    ones would count twice. Items are the same if all their numbers are.

    Raises:
        DataError: items of the two cannot be mixed, or ``other`` adds none.
    """
    _check_alike(task, other)
    tested, known = set(_digests(task.test)), {*_digests(task.train), *_digests(task.validation)}
    places: list[IntArray] = []
    counts = {"added": 0, "tested": 0, "repeated": 0}
    for split in (other.train, other.validation, other.test):
        kept = []
        for place, digest in enumerate(_digests(split)):
            kind = "tested" if digest in tested else "repeated" if digest in known else "added"
            counts[kind] += 1
            known.add(digest)
            kept += [place] if kind == "added" else []
        places.append(np.array(kept, dtype=np.int64))
    if not counts["added"]:
        raise DataError(
            f"further data must have items of their own, but all {counts['tested'] + counts['repeated']} {task.noun} "
            f"of {other.name} are among those of {task.name}. Leave them out, or name other data."
        )
    return Further(other.name, EnlargedTask(task, other, places), **counts)


def _check_alike(task: Task, other: Task) -> None:
    """Check that items of two tasks can be mixed. Raises DataError if not."""
    if task.why_closed:
        raise DataError(
            f"further data cannot be added, because {task.why_closed}. Add them to the data themselves, and search "
            "again."
        )
    ours, theirs = task.raw_form, other.raw_form
    changed = next((key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)), None)
    if changed is not None:
        raise DataError(
            f"further data must have the {changed} of {task.name}, {ours.get(changed)}, but {other.name} has "
            f"{theirs.get(changed)}."
        )


def _digests(examples: Examples) -> Iterator[bytes]:
    """Yield a digest of the inputs of each item."""
    for batch in in_order(examples, READ_TOGETHER):
        arrays = [np.ascontiguousarray(each.numpy()) for each in batch.raw]
        for place in range(len(batch.targets)):
            digest = hashlib.sha256()
            for each in arrays:
                digest.update(each[place].tobytes())
            yield digest.digest()


@final
class EnlargedTask(OtherItems):
    """A task with further items to train on: those of another one at ``places``, by split.

    Everything else is that of the task itself.
    """

    def __init__(self, task: Task, other: Task, places: Sequence[IntArray]) -> None:
        super().__init__(task, task.train, task.validation, task.test)
        self._other = other
        self._places = tuple(places)
        pairs = zip((other.train, other.validation, other.test), places, strict=True)
        self._further = Joined([Part(split, at) for split, at in pairs if len(at)])

    def to_fit(self, share: float, with_validation: bool) -> Examples:
        """Return the task's items to train on, and after them the further ones."""
        return Joined((self._task.to_fit(share, with_validation), self._further))

    def prepared_for(self, wishes: Mapping[str, Any]) -> Task:
        """Return the same items, all of them prepared as an architecture wishes."""
        if not wishes:
            return self
        return EnlargedTask(self._task.prepared_for(wishes), self._other.prepared_for(wishes), self._places)

    @property
    def memory_bytes(self) -> int:
        return self._task.memory_bytes + self._other.memory_bytes

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((*self._task.files, *self._other.files)))

    @cached_property
    def fingerprint(self) -> str:
        """That of the task, with the further items and their targets."""
        digest = hashlib.sha256(self._task.fingerprint.encode())
        for each in _digests(self._further):
            digest.update(each)
        for batch in in_order(self._further, READ_TOGETHER):
            digest.update(np.ascontiguousarray(batch.targets.numpy()).tobytes())
        return digest.hexdigest()[:12]
