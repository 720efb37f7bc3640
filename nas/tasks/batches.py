"""Batches of a torch data set: all of it in order, a part of it, or several sets joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any, NamedTuple, Protocol, cast, final, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Subset, TensorDataset, default_collate

from nas.errors import DataError

IntArray = npt.NDArray[np.int64]
Tensors = tuple[torch.Tensor, ...]
Places = IntArray | slice
"""The items of a batch: their indices, or a range of them."""


class Examples(Protocol):
    """Items with targets: any torch data set whose items are pairs of an input, or several in a tuple, and a target."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Items(NamedTuple):
    """Items of a data set together: a tensor for each input, and the targets. The first axis is that of the items."""

    raw: Tensors
    targets: torch.Tensor


@runtime_checkable
class GivesItems(Protocol):
    """A data set that gives many items at once, which is many times faster than one by one."""

    def items_at(self, places: Places) -> Items:
        """Return the items at ``places``, in this order."""
        ...


def items_at(examples: Examples, places: Places) -> Items:
    """Return the items at ``places`` together.

    Raises:
        DataError: an item is no pair of inputs and a target, or items have different shapes.
    """
    if isinstance(examples, GivesItems):
        return examples.items_at(places)
    indices = range(len(examples))[places] if isinstance(places, slice) else places.tolist()
    items = [examples[index] for index in indices]
    if not all(isinstance(item, (tuple, list)) and len(item) == 2 for item in items):
        raise DataError(f"an item of a data set must be a pair of inputs and a target, but got {items[0]!r:.80}.")
    try:
        inputs, targets = cast(Any, default_collate)(items)
    except (RuntimeError, TypeError) as error:
        raise DataError(f"items of a data set must have the same shapes and types: {error}") from error
    raw = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    if not all(isinstance(each, torch.Tensor) for each in (*raw, targets)):
        kinds = ", ".join(type(each).__name__ for each in (*raw, targets))
        raise DataError(f"inputs and targets must become tensors, but got {kinds}. Return arrays or numbers.")
    return Items(tuple(plain(each) for each in raw), plain(targets))


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return floats in single precision: those of Python and numpy are double."""
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def in_order(examples: Examples, size: int) -> Iterator[Items]:
    """Yield all items in order, ``size`` at a time; the last batch may be smaller."""
    for start in range(0, len(examples), size):
        yield items_at(examples, slice(start, min(start + size, len(examples))))


def targets_of(examples: Examples) -> npt.NDArray[Any] | None:
    """Return the targets of a data set that knows them without reading its items; None for any other.

    Torchvision's sets call them ``targets`` or ``labels``. Parts of a torch data set know those of the whole.
    """
    if isinstance(examples, Subset):
        whole = targets_of(cast(Examples, examples.dataset))
        return None if whole is None else whole[np.asarray(examples.indices, dtype=np.int64)]
    if isinstance(examples, TensorDataset) and len(examples.tensors) == 2:
        return np.asarray(examples.tensors[1])
    for name in ("targets", "labels"):
        found = getattr(examples, name, None)
        if isinstance(found, Sized) and len(found) == len(examples):
            return np.asarray(found)
    return None


def groups_of(examples: Examples) -> IntArray | None:
    """Return the number of each item's group, if a data set has them as ``groups``; None for any other.

    Parts of a torch data set know those of the whole.
    """
    if isinstance(examples, Subset):
        whole = groups_of(cast(Examples, examples.dataset))
        return None if whole is None else whole[np.asarray(examples.indices, dtype=np.int64)]
    found = getattr(examples, "groups", None)
    if found is None or callable(found) or np.shape(found) != (len(examples),):
        return None
    numbers = np.asarray(found)
    return numbers.astype(np.int64) if numbers.dtype.kind in "iu" else None


@final
class Part:
    """The items of a data set at ``indices``, in this order."""

    def __init__(self, whole: Examples, indices: IntArray) -> None:
        self.whole = whole
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.whole[int(self.indices[index])]

    @property
    def targets(self) -> npt.NDArray[Any] | None:
        """The targets, if the whole knows them."""
        known = targets_of(self.whole)
        return None if known is None else known[self.indices]

    @property
    def groups(self) -> IntArray | None:
        """The groups, if the whole knows them."""
        known = groups_of(self.whole)
        return None if known is None else known[self.indices]

    def items_at(self, places: Places) -> Items:
        """Return the items at ``places`` of this part."""
        return items_at(self.whole, self.indices[places])


@final
class Joined:
    """Data sets one after the other."""

    def __init__(self, parts: Sequence[Examples]) -> None:
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self.parts])

    @property
    def groups(self) -> IntArray | None:
        """The groups, if a part knows them: the items of others are groups of their own."""
        found = [groups_of(part) for part in self.parts]
        first = 1 + max((int(each.max()) for each in found if each is not None and len(each)), default=-1)
        numbers = []
        for part, each in zip(self.parts, found, strict=True):
            numbers.append(np.arange(first, first + len(part)) if each is None else each)
            first += len(part)
        return None if all(each is None for each in found) else np.concatenate(numbers).astype(np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Any:
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[number][index - int(self._ends[number]) + len(self.parts[number])]

    def items_at(self, places: Places) -> Items:
        """Return the items at ``places``, whichever parts hold them."""
        indices = np.arange(len(self))[places] if isinstance(places, slice) else places
        numbers = np.searchsorted(self._ends, indices, side="right")
        order = np.argsort(numbers, kind="stable")
        batches = [
            items_at(part, indices[numbers == number] - int(self._ends[number]) + len(part))
            for number, part in enumerate(self.parts)
            if (numbers == number).any()
        ]
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        raw = tuple(torch.cat(each)[back] for each in zip(*(batch.raw for batch in batches), strict=True))
        return Items(raw, torch.cat([batch.targets for batch in batches])[back])
