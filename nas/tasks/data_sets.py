"""A task of three torch data sets, with no class of its own: their items tell what is learned."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, Subset, TensorDataset, default_collate

from nas.errors import DataError, raised_text
from nas.progress import one_line
from nas.space.own_code import own_code
from nas.space.signature import Signature, TensorType
from nas.tasks.batches import Examples, IntArray, Items, Places, Tensors, groups_of, items_at, targets_of
from nas.tasks.criteria import Classification, Criterion, Regression
from nas.tasks.doubts import few_groups_warnings, few_warnings, group_warnings, imbalance_warnings, missing_warnings
from nas.tasks.task import Task

SAMPLED = 64
"""Items of each split that are looked at before a search."""
READ_TARGETS = 1024
"""Items whose targets standardise all, where a data set does not know its targets."""
TARGETS_S = 60.0
"""Seconds in which the targets of items are read one by one, where a data set does not know them."""
CHECKED_TOGETHER = 4096
LARGE = 100.0
"""Inputs beyond this are told: models learn badly from them."""
FEW_VALUES = 20
"""Floats with at most this many different whole values look like classes."""


@final
class _Standardised:
    """Items whose targets are standardised: each value has a mean of 0 and a standard deviation of 1."""

    def __init__(self, whole: Examples, offset: torch.Tensor, scale: torch.Tensor) -> None:
        self.whole, self.offset, self.scale = whole, offset, scale
        self.groups = groups_of(whole)

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> Any:
        inputs, target = self.whole[index]
        return inputs, (torch.as_tensor(target, dtype=torch.float32) - self.offset) / self.scale

    def items_at(self, places: Places) -> Items:
        """Return the items at ``places``."""
        found = items_at(self.whole, places)
        return Items(found.raw, (found.targets - self.offset) / self.scale)


class DataSetTask(Task):
    """A task of three torch data sets, whose first items tell the types of inputs and targets.

    Whole numbers as targets are classes from 0. Other numbers are values to predict: they are standardised, and a
    bundle answers in the units of the data.
    """

    def __init__(self, train: Examples, validation: Examples, test: Examples, name: str = "given") -> None:
        """Look at some items of each.

        Raises:
            DataError: something is no data set, its items cannot be read or used, or they do not fit together.
        """
        self.name, self.train, self.validation, self.test = name, train, validation, test
        splits = {"train": train, "validation": validation, "test": test}
        found = {title: _sampled(title, each) for title, each in splits.items()}
        first = found["train"]
        _check_alike(found)
        several = len(first.raw) > 1
        inputs = tuple(_type_of(f"input{n}" if several else "inputs", each) for n, each in enumerate(first.raw))
        notes = [
            *_doubts(splits, found),
            *group_warnings({each: groups_of(split) for each, split in splits.items()}, "items"),
        ]
        notes += few_groups_warnings(groups_of(test))
        self._answers: dict[str, Any] = {}
        self._criterion: Criterion
        if first.targets.is_floating_point():
            targets = _values_to_learn(train, first.targets)
            _check_values(targets)
            offset, scale = targets.mean(dim=0), targets.std(dim=0)
            units = tuple(scale.reshape(-1).tolist())
            self._criterion, output = Regression(units), (len(units),)
            self._answers = {"offset": offset.reshape(-1).tolist(), "scale": list(units)}
            self.train, self.validation, self.test = (_Standardised(each, offset, scale) for each in splits.values())
        else:
            labels = {title: _labels(title, each, found[title].targets) for title, each in splits.items()}
            classes = _checked_classes(labels)
            names = getattr(train, "classes", None)
            if isinstance(names, (list, tuple)) and len(names) == classes and len(set(map(str, names))) == classes:
                self._answers = {"names": [str(each) for each in names]}
            self._criterion, output = Classification(classes), (classes,)
            titles = [f"class {number}" for number in range(classes)]
            notes += missing_warnings(
                {each: set(labels[each].tolist()) for each in ("validation", "test")}, titles, "item"
            )
            counts = np.bincount(labels["train"], minlength=classes)
            notes += few_warnings(counts, titles, self.noun)
            notes += imbalance_warnings(counts, titles, self.noun)
        self._signature, self._warnings = Signature(inputs, output), tuple(notes)
        self._changes = not _same(first, _read("train", train, _places(train)))
        if self._changes:
            self._warnings += (
                "items of train differ from reading to reading, such as by random augmentation: a resumed run cannot "
                "tell whether the data are the same.",
            )

    @property
    def signature(self) -> Signature:
        return self._signature

    @property
    def criterion(self) -> Criterion:
        return self._criterion

    @property
    def answers(self) -> dict[str, Any]:
        return {**super().answers, **self._answers}

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._warnings

    @property
    def fingerprint(self) -> str:
        return "changing" if self._changes else super().fingerprint


# Reading items


def _places(examples: Examples, most: int = SAMPLED) -> IntArray:
    """Return the places of some items: the first, the last, and others between."""
    return np.unique(np.linspace(0, len(examples) - 1, most).astype(np.int64))


def _sampled(title: str, examples: Examples) -> Items:
    """Return some items of a split. Raises DataError if it is no data set, or if they cannot be used."""
    if isinstance(examples, IterableDataset) or not hasattr(examples, "__getitem__"):
        raise DataError(
            f"data must be torch data sets with a length and items by number, but {title} is a "
            f"{type(examples).__name__}. Put an iterable's items into a list, or write them to files first."
        )
    try:
        with own_code():
            length = len(examples)
    except Exception as error:
        raise DataError(f"a data set must know its length, but that of {title} raised {raised_text(error)}.") from error
    if not length:
        raise DataError(f"a data set must have at least one item, but {title} has none.")
    found = _read(title, examples, _places(examples))
    _check_finite(title, (*found.raw, found.targets), _places(examples))
    _check_tensors(title, examples)
    return found


def _check_finite(title: str, tensors: Tensors, places: IntArray) -> None:
    """Check the values of the items at ``places``; the targets are the last of ``tensors``. Raises DataError."""
    for number, tensor in enumerate(tensors):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            place = places[int((~tensor.isfinite()).reshape(len(tensor), -1).any(dim=1).nonzero()[0])]
            what = "the target" if number == len(tensors) - 1 else "an input"
            raise DataError(f"values must be finite, but {what} of item {place} of {title} has NaN or infinite ones.")


def _check_tensors(title: str, examples: Any) -> None:
    """Check all values of a data set that lies in memory, or of a part of one."""
    places = np.arange(len(examples))
    while isinstance(examples, Subset):
        places, examples = np.asarray(examples.indices, dtype=np.int64)[places], examples.dataset
    if isinstance(examples, TensorDataset):
        for start in range(0, len(places), CHECKED_TOGETHER):
            part = torch.from_numpy(places[start : start + CHECKED_TOGETHER])
            numbers = np.arange(start, start + len(part))
            _check_finite(title, tuple(each[part] for each in examples.tensors), numbers)


def _read(title: str, examples: Examples, places: IntArray) -> Items:
    """Return items. Raises DataError, which names the item, if one cannot be read or used."""
    items = []
    for place in places.tolist():
        try:
            with own_code():
                item = examples[place]
        except Exception as error:
            raise DataError(
                f"each of the {len(examples)} items of {title} must be there, but item {place} raised "
                f"{raised_text(error)}."
            ) from error
        _check_item(title, place, item)
        items.append(item)
    try:
        return items_at(items, slice(None))
    except DataError:
        shapes = {place: _shapes_of(item) for place, item in zip(places.tolist(), items, strict=True)}
        first = next(iter(shapes))
        other = next((place for place, shape in shapes.items() if shape != shapes[first]), None)
        if other is None:
            raise
        raise DataError(
            f"items must have the same shapes and types, but of {title} item {first} has {shapes[first]} and item "
            f"{other} has {shapes[other]}. Cut, pad or scale them to one shape."
        ) from None


def _check_item(title: str, place: int, item: object) -> None:
    """Check that an item is a pair of inputs and a target that is a number. Raises DataError if it is not."""
    rule = f"an item must be a pair of inputs and a target, but item {place} of {title} is"
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DataError(f"{rule} {item!r:.80}.")
    inputs, target = item
    if isinstance(target, str | bytes):
        raise DataError(
            f"targets must be numbers, but that of item {place} of {title} is {target!r:.40}. Number the classes "
            "from 0."
        )
    if not _is_numeric(target):
        raise DataError(f"targets must be numbers, but that of item {place} of {title} is {one_line(repr(target))}.")
    for each in inputs if isinstance(inputs, (tuple, list)) else [inputs]:
        if hasattr(each, "convert") and hasattr(each, "mode"):
            raise DataError(
                f"inputs must be tensors or arrays, but one of item {place} of {title} is a picture of PIL. Give the "
                "data set transform=torchvision.transforms.ToTensor(), or search in the files: --data folder:PATH."
            )
        if not _is_numeric(each):
            shown = one_line(repr(each))
            raise DataError(f"inputs must be tensors or arrays, but one of item {place} of {title} is {shown:.60}.")


def _is_numeric(value: object) -> bool:
    """Return True for dense tensors, arrays of numbers, and numbers, which can be put together."""
    if isinstance(value, torch.Tensor):
        return value.layout is torch.strided
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufc"
    return isinstance(value, int | float)


def _shapes_of(item: Any) -> str:
    inputs = item[0] if isinstance(item[0], (tuple, list)) else [item[0]]
    return ", ".join(_shape_of(each) for each in (*inputs, item[1]))


def _shape_of(value: Any) -> str:
    tensor = default_collate([value])
    assert isinstance(tensor, torch.Tensor)
    return f"{'×'.join(map(str, tensor.shape[1:])) or 'a number'} of {str(tensor.dtype).removeprefix('torch.')}"


# What they have to be


def _check_alike(found: Mapping[str, Items]) -> None:
    kinds = {
        title: [(tuple(each.shape[1:]), each.dtype) for each in (*batch.raw, batch.targets)]
        for title, batch in found.items()
    }
    for title, kind in kinds.items():
        if kind != kinds["train"]:
            raise DataError(
                f"items must have the same shapes and types, but train has {_in_words(found['train'])} and {title} has "
                f"{_in_words(found[title])}."
            )


def _in_words(batch: Items) -> str:
    return ", ".join(_shape_of(each[0]) for each in (*batch.raw, batch.targets))


def _type_of(name: str, batch: torch.Tensor) -> TensorType:
    if batch.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        more = " Pixels: image.float() / 255." if batch.dtype == torch.uint8 else ""
        raise DataError(
            f"inputs of plain data sets must be floats, but got {batch.dtype}. Convert them, or write a nas.Task, "
            f"which says how many values its whole numbers have.{more}"
        )
    if batch.dtype != torch.float32:
        raise DataError(f"inputs must be floats in single precision, but got {batch.dtype}: call .float() on them.")
    if not batch.shape[1:]:
        raise DataError("an input must have at least one axis, but each is a single number: give it the shape (1,).")
    return TensorType(name, tuple(batch.shape[1:]))


def _values_to_learn(train: Examples, sampled: torch.Tensor) -> torch.Tensor:
    """Return the targets of all items where the data set knows them, else of ``READ_TARGETS`` items."""
    known = targets_of(train)
    if known is not None and known.dtype.kind == "f" and known.shape == (len(train), *sampled.shape[1:]):
        found = torch.from_numpy(known.astype(np.float32))
        if torch.equal(found[_places(train)], sampled):  # an attribute of that name may hold something else
            _check_finite("train", (found,), np.arange(len(found)))
            return found
    if len(train) <= SAMPLED:
        return sampled
    places = _places(train, READ_TARGETS)
    parts = [_read("train", train, places[start : start + SAMPLED]) for start in range(0, len(places), SAMPLED)]
    found = torch.cat([each.targets for each in parts])
    _check_finite("train", (found,), places)
    return found


def _check_values(targets: torch.Tensor) -> None:
    """Check that each value to predict differs from item to item. Raises DataError if one does not."""
    columns = targets.reshape(len(targets), -1)
    constant = (columns == columns[0]).all(dim=0).nonzero().flatten().tolist()
    if constant:
        which = f"value {constant[0]} of targets" if columns.shape[1] > 1 else "targets"
        raise DataError(
            f"{which} must differ, but the {len(targets)} of train that were looked at are all "
            f"{float(columns[0, constant[0]]):g}."
        )


def _labels(title: str, examples: Examples, sampled: torch.Tensor) -> npt.NDArray[np.int64]:
    """Return all classes of a split. Raises DataError if they are none, or if reading them takes too long."""
    if sampled.ndim != 1:
        raise DataError(
            f"classes must be one whole number an item, but a target of {title} has the shape "
            f"{tuple(sampled.shape[1:])}. Give floats for values to predict."
        )
    known = targets_of(examples)
    if known is None:
        began, read = time.monotonic(), []
        for place in range(len(examples)):
            read.append(int(_read(title, examples, np.array([place])).targets[0]))
            if time.monotonic() - began > TARGETS_S:
                raise DataError(
                    f"all classes must be known before the search, but reading them from {title} took longer than "
                    f"{TARGETS_S:g} s for {place + 1} of {len(examples)} items. Give the data set an attribute "
                    "targets, an array with the class of each item."
                )
        known = np.array(read)
    if known.shape != (len(examples),) or known.dtype.kind not in "iu":
        raise DataError(
            f"targets of a data set must be one whole number an item, but those of {title} are {known.dtype} of shape "
            f"{known.shape}."
        )
    places = _places(examples)
    if not np.array_equal(known[places], sampled.numpy()):
        raise DataError(f"the attribute targets of {title} must have the targets of its items, but some differ.")
    return known.astype(np.int64)


def _checked_classes(labels: Mapping[str, npt.NDArray[np.int64]]) -> int:
    """Return the number of classes. Raises DataError unless they are all whole numbers from 0 in train."""
    every = np.unique(np.concatenate(list(labels.values())))
    if every[0] < 0:
        raise DataError(f"classes must be whole numbers from 0, but got {every[0]}.")
    if len(every) < 2:
        raise DataError(f"there must be at least 2 classes, but all targets are {every[0]}.")
    there = np.unique(labels["train"])
    missing = np.setdiff1d(np.arange(every[-1] + 1), there)[:5]
    if len(missing):
        first = int(missing[0])
        holders = [title for title, values in labels.items() if title != "train" and (values == first).any()]
        also = f", which {' and '.join(holders)} has" if holders else ""
        hint = "Number them from 0: subtract 1." if first == 0 and not holders else "Number them without gaps."
        hint = "Split the data anew, so that train has each class." if holders else hint
        raise DataError(
            f"classes must be whole numbers from 0 to the largest, {every[-1]}, each with items in train, but train "
            f"has none of class {first}{also}. {hint}"
        )
    return len(there)


# What is doubtful


def _doubts(splits: Mapping[str, Examples], found: Mapping[str, Items]) -> list[str]:
    notes = []
    pairs = (("validation", "train"), ("test", "train"), ("test", "validation"))
    for one, other in pairs:
        if splits[one] is splits[other]:
            notes.append(f"{one} and {other} are the same data set: errors look better than they are.")
    floats = [each for each in found["train"].raw if each.is_floating_point() and each.numel()]
    largest = max((float(each.abs().max()) for each in floats), default=0.0)
    if largest > LARGE:
        notes.append(f"inputs reach {largest:g}: models learn better from values near 0. Standardise or scale them.")
    targets = found["train"].targets
    if targets.is_floating_point() and len(targets) > FEW_VALUES:
        distinct = np.unique(targets.numpy())
        if len(distinct) <= FEW_VALUES and bool((distinct == distinct.round()).all()):
            notes.append(
                f"targets are floats, so values are predicted, but they have only {len(distinct)} different whole "
                "values. If these are classes, give whole numbers."
            )
    return notes


def _same(one: Items, other: Items) -> bool:
    return all(torch.equal(a, b) for a, b in zip((*one.raw, one.targets), (*other.raw, other.targets), strict=True))
