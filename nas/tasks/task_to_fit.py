"""A task with other items, such as a training sees it: with other ones to train on, and without the test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, final

import torch

from nas.errors import DataError
from nas.tasks.batches import Examples, Tensors, plain
from nas.tasks.task import Task


@final
class Sealed:
    """The test split, which nothing but the score of winners may use."""

    def __len__(self) -> NoReturn:
        self._refuse()

    def __getitem__(self, index: int) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise DataError("the test split scores winners, so training may not use it: take task.validation.")


def _of_task(member: str) -> Any:
    """Return a member of a class that is the same member of its ``_task``."""
    return property(lambda self: getattr(self._task, member))


class OtherItems(Task):
    """A task with other items, which are prepared, augmented, corrupted and scored as those of the ``task``."""

    signature = _of_task("signature")
    criterion = _of_task("criterion")
    preparation = _of_task("preparation")
    answers = _of_task("answers")
    in_words = _of_task("in_words")
    augmented = _of_task("augmented")
    takes_strength = _of_task("takes_strength")
    augmented_more = _of_task("augmented_more")
    corruptions = _of_task("corruptions")
    corrupted = _of_task("corrupted")
    inputs_of = _of_task("inputs_of")

    def __init__(self, task: Task, train: Examples, validation: Examples, test: Examples) -> None:
        self._task = task
        self.name, self.train, self.validation, self.test = task.name, train, validation, test
        self.noun = task.noun  # type: ignore[misc]


class WithSplits(OtherItems):
    """A task with other items to train on and to validate by; all else is as in the ``task``.

    ``inputs_of`` takes what torch's DataLoader gives: a tensor, or a list of them.
    """

    fingerprint = _of_task("fingerprint")

    def __init__(self, task: Task, train: Examples, validation: Examples) -> None:
        super().__init__(task, train, validation, Sealed())

    def augmented(self, raw: Any, generator: torch.Generator) -> Tensors:
        return self._task.augmented(_tensors(raw), generator)

    def augmented_more(self, raw: Any, generator: torch.Generator, strength: float) -> Tensors:
        return self._task.augmented_more(_tensors(raw), generator, strength)

    def corrupted(self, raw: Any, name: str, strength: float, generator: torch.Generator) -> Tensors:
        return self._task.corrupted(_tensors(raw), name, strength, generator)

    def inputs_of(self, raw: Any) -> Tensors:
        return self._task.inputs_of(_tensors(raw))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_task":
            raise AttributeError(name)
        return getattr(self._task, name)


@final
class TaskToFit(WithSplits):
    """A task whose ``train`` holds the items of one training: a share of them, or with the validation items too."""

    def __init__(self, task: Task, share: float, with_validation: bool) -> None:
        super().__init__(task, task.to_fit(share, with_validation), task.validation)


def _tensors(raw: torch.Tensor | Sequence[torch.Tensor]) -> Tensors:
    """Return the inputs as other training code gets them: a tuple, with floats in single precision."""
    return tuple(map(plain, (raw,) if isinstance(raw, torch.Tensor) else raw))
