"""A task as a training sees it: with other items to train on, and without the test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, final

import torch

from nas.errors import DataError
from nas.space.signature import Signature
from nas.tasks.batches import Examples, Tensors
from nas.tasks.criteria import Criterion
from nas.tasks.task import Preparation, Task


@final
class Sealed:
    """The test split, which nothing but the score of winners may use."""

    def __len__(self) -> NoReturn:
        self._refuse()

    def __getitem__(self, index: int) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise DataError("the test split scores winners, so training may not use it: take task.validation.")


class WithSplits(Task):
    """A task with other items to train on and to validate by; all else is as in the ``task``.

    ``inputs_of`` takes what torch's DataLoader gives: a tensor, or a list of them.
    """

    def __init__(self, task: Task, train: Examples, validation: Examples) -> None:
        self._task = task
        self.name, self.train, self.validation, self.test = task.name, train, validation, Sealed()
        self.noun = task.noun  # type: ignore[misc]

    @property
    def signature(self) -> Signature:
        return self._task.signature

    @property
    def criterion(self) -> Criterion:
        return self._task.criterion

    @property
    def preparation(self) -> Preparation | None:
        return self._task.preparation

    @property
    def answers(self) -> dict[str, Any]:
        return self._task.answers

    @property
    def fingerprint(self) -> str:
        return self._task.fingerprint

    @property
    def in_words(self) -> str:
        return self._task.in_words

    def augmented(self, raw: Any, generator: torch.Generator) -> Tensors:
        return self._task.augmented(_tensors(raw), generator)

    @property
    def takes_strength(self) -> bool:
        return self._task.takes_strength

    def augmented_more(self, raw: Any, generator: torch.Generator, strength: float) -> Tensors:
        return self._task.augmented_more(_tensors(raw), generator, strength)

    @property
    def corruptions(self) -> tuple[str, ...]:
        return self._task.corruptions

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
    return (raw,) if isinstance(raw, torch.Tensor) else tuple(raw)
