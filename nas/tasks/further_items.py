"""A task that trains on further items of other data, and is tested on its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from nas.errors import DataError
from nas.space.signature import Signature
from nas.tasks.batches import Examples, IntArray, Joined, Part, Tensors, in_order
from nas.tasks.criteria import Criterion
from nas.tasks.task import Preparation, Task

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
class EnlargedTask(Task):
    """A task with further items to train on: those of another one at ``places``, by split.

    Everything else is that of the task itself.
    """

    def __init__(self, task: Task, other: Task, places: Sequence[IntArray]) -> None:
        self._task = task
        self._other = other
        self._places = tuple(places)
        pairs = zip((other.train, other.validation, other.test), places, strict=True)
        self._further = Joined([Part(split, at) for split, at in pairs if len(at)])
        self.name, self.train, self.validation, self.test = task.name, task.train, task.validation, task.test
        self.noun = task.noun  # type: ignore[misc]

    def to_fit(self, share: float, with_validation: bool) -> Examples:
        """Return the task's items to train on, and after them the further ones."""
        return Joined((self._task.to_fit(share, with_validation), self._further))

    @property
    def signature(self) -> Signature:
        return self._task.signature

    @property
    def criterion(self) -> Criterion:
        return self._task.criterion

    def augmented(self, raw: Tensors, generator: torch.Generator) -> Tensors:
        return self._task.augmented(raw, generator)

    @property
    def takes_strength(self) -> bool:
        return self._task.takes_strength

    def augmented_more(self, raw: Tensors, generator: torch.Generator, strength: float) -> Tensors:
        return self._task.augmented_more(raw, generator, strength)

    def inputs_of(self, raw: Tensors) -> Tensors:
        return self._task.inputs_of(raw)

    @property
    def preparation(self) -> Preparation | None:
        return self._task.preparation

    def prepared_for(self, wishes: Mapping[str, Any]) -> Task:
        """Return the same items, all of them prepared as an architecture wishes."""
        if not wishes:
            return self
        return EnlargedTask(self._task.prepared_for(wishes), self._other.prepared_for(wishes), self._places)

    @property
    def answers(self) -> dict[str, Any]:
        return self._task.answers

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
