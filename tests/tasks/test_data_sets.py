"""A task of three torch data sets: what it finds in them, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from nas.errors import DataError
from nas.tasks import data_sets
from nas.tasks.batches import in_order, targets_of
from nas.tasks.criteria import Classification, Regression
from nas.tasks.data_sets import DataSetTask

X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 3
SOUND = TensorDataset(X, Y)
LONG = TensorDataset(torch.zeros(500, 4).index_fill(0, torch.tensor(307), float("nan")), torch.arange(500) % 3)
"""Items of which one has NaN, at place 307."""


class Items(Dataset[Any]):
    """Items that a function makes, of a stated length."""

    def __init__(self, make: Any, length: Any = 30) -> None:
        self.make, self.length = make, length

    def __len__(self) -> int:
        return self.length() if callable(self.length) else self.length

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield X[0], 0


def task(train: Any = SOUND, validation: Any = SOUND, test: Any = None) -> DataSetTask:
    return DataSetTask(train, validation, TensorDataset(X, Y) if test is None else test)


class TestData:
    def test_tell_inputs_and_classes(self) -> None:
        found = task()
        assert str(found.signature) == "inputs (float32, 4) → 3"
        assert found.criterion == Classification(3)
        assert found.answers == {"kind": "classification"}
        assert len(found.fingerprint) == 12
        assert found.fingerprint == task().fingerprint

    def test_may_have_several_inputs(self) -> None:
        found = [((X[n], np.zeros((2, 5), np.float32)), int(Y[n])) for n in range(30)]
        assert str(task(found, found, found).signature) == "input0 (float32, 4), input1 (float32, 2×5) → 3"

    def test_of_torchvision_name_their_classes(self) -> None:
        named = TensorDataset(X, Y)
        named.classes = ["cat", "dog", "eel"]  # type: ignore[attr-defined]
        assert task(named).answers["names"] == ["cat", "dog", "eel"]

    def test_with_values_are_standardised(self) -> None:
        """So that models can learn them; answers are in the units of the data."""
        values = TensorDataset(X, 1000 + 50 * X[:, 0])
        found = task(values, values, values)
        assert found.criterion == Regression(tuple(found.answers["scale"]))
        targets = torch.cat([batch.targets for batch in in_order(found.train, 7)])
        assert (float(targets.mean()), float(targets.std())) == pytest.approx((0, 1), abs=1e-5)
        back = targets * found.answers["scale"][0] + found.answers["offset"][0]
        torch.testing.assert_close(back, values.tensors[1])
        assert found.train[3][1] == pytest.approx(targets[3].item())

    def test_with_several_values_standardise_each(self) -> None:
        """One may be a thousand times as large as another."""
        values = TensorDataset(X, torch.stack([X[:, 0], 1000 * X[:, 1]], dim=1))
        found = task(values, values, values)
        (batch,) = in_order(found.train, 30)
        torch.testing.assert_close(batch.targets.std(dim=0), torch.ones(2))
        assert (found.signature.output, len(found.answers["scale"])) == ((2,), 2)

    @pytest.mark.parametrize("are_known", [True, False])
    def test_with_rare_values_are_standardised_by_more_than_a_sample(self, are_known: bool) -> None:
        """A few items would not show that values differ, or by how much."""
        inputs, targets = torch.zeros(4000, 2), torch.zeros(4000)
        targets[5::97] = 8.0
        values: Any = TensorDataset(inputs, targets)
        values = values if are_known else Items(lambda n: (inputs[n], float(targets[n])), 4000)
        (scale,) = task(values, values, values).answers["scale"]
        assert scale == pytest.approx(float(targets.std()), rel=1e-6 if are_known else 0.15)

    def test_know_targets_of_parts(self) -> None:
        """Reading items for them would take long."""
        part = Subset(SOUND, [4, 5, 7])
        assert targets_of(part).tolist() == [1, 2, 1]  # type: ignore[union-attr]
        assert targets_of(ConcatDataset([SOUND, part])) is None

    def test_may_call_the_number_of_their_classes_labels(self) -> None:
        """That is no target of any item."""
        numbered = TensorDataset(X, X, Y)
        numbered.labels = 3  # type: ignore[attr-defined]
        assert targets_of(numbered) is None  # type: ignore[arg-type]

    def test_that_change_are_told_and_have_no_fingerprint(self) -> None:
        found = task(Items(lambda n: (torch.randn(4), n % 3)))
        assert found.fingerprint == "changing"
        assert "differ from reading to reading" in found.warnings[-1]


DOUBTS = {
    "the same data to test": ((SOUND, SOUND, SOUND), "test and train are the same data set"),
    "a class without validation": (
        (SOUND, Subset(SOUND, [0, 3, 4]), None),
        "no validation item is of class 2, so errors there",
    ),
    "large inputs": ((TensorDataset(255 * X, Y), TensorDataset(255 * X, Y), None), "models learn better from values"),
    "classes as floats": ((*(TensorDataset(X, Y.float()),) * 2, TensorDataset(X, Y.float())), "If these are classes"),
}


@pytest.mark.parametrize("what", DOUBTS)
def test_what_is_doubtful_is_told(what: str) -> None:
    splits, text = DOUBTS[what]
    assert any(text in warning for warning in task(*splits).warnings)


def wrong(make: Any, length: Any = 30) -> tuple[Any, Any, Any]:
    items = Items(make, length)
    return items, items, items


def raising(index: int) -> Any:
    raise OSError("the disk is gone")


def all_of(data: Any) -> tuple[Any, Any, Any]:
    return data, data, data


FAULTS: dict[str, tuple[tuple[Any, Any, Any], str]] = {
    "a stream": (all_of(Stream()), "train is a Stream. Put an iterable's items into a list"),
    "a loader": (all_of(iter([])), "train is a list_iterator"),
    "none": (all_of([]), "at least one item, but train has none"),
    "no length": (wrong(lambda n: (X[0], 0), lambda: [][1]), "that of train raised IndexError"),
    "a length that lies": (
        all_of(Items(lambda n: SOUND[n], 50)),
        "each of the 50 items of train must be there, but item 30 raised IndexError",
    ),
    "a broken item": (wrong(raising), "item 0 raised OSError: the disk is gone"),
    "no pairs": (wrong(lambda n: X[n]), "must be a pair of inputs and a target, but item 0 of train is tensor"),
    "dicts": (
        wrong(lambda n: ({"x": X[n]}, 0)),
        "inputs must be tensors or arrays, but one of item 0 of train is {'x'",
    ),
    "text as targets": (wrong(lambda n: (X[n], "cat")), "is 'cat'. Number the classes from 0"),
    "text as inputs": (wrong(lambda n: ("word", 0)), "is 'word'"),
    "different shapes": (
        wrong(lambda n: (X[n, : 2 + n % 2], 0)),
        "item 0 has 2 of float32, a number of int64 and item",
    ),
    "different splits": ((SOUND, [(X[0, :2], 0)], SOUND), "train has 4 of float32, a number of int64 and validation"),
    "numbers as inputs": (wrong(lambda n: (1.0, n % 2)), "give it the shape (1,)"),
    "pixels": (wrong(lambda n: (X[n].byte(), n % 2)), "Pixels: image.float() / 255"),
    "whole numbers": (wrong(lambda n: (X[n].long(), n % 2)), "must be floats, but got torch.int64"),
    "half precision": (wrong(lambda n: (X[n].half(), n % 2)), "call .float() on them"),
    "NaN": (wrong(lambda n: (X[n] / (n != 29), n % 2)), "an input of item 29 of train has NaN or infinite"),
    "NaN as a target": (wrong(lambda n: (X[n], float("nan") if n == 29 else 1.0)), "the target of item 29 of train"),
    "NaN far from the items that are looked at": (
        (SOUND, Subset(LONG, range(9)), Subset(LONG, range(5, 500))),
        "an input of item 302 of test has NaN",
    ),
    "an infinite target in memory": (
        all_of(TensorDataset(torch.zeros(500, 4), torch.ones(500).index_fill(0, torch.tensor(307), float("inf")))),
        "the target of item 307 of train",
    ),
    "one class": (all_of(TensorDataset(X, Y * 0)), "at least 2 classes, but all targets are 0"),
    "one class that is not 0": (all_of(TensorDataset(X, Y * 0 + 4)), "but all targets are 4"),
    "classes from 1": (all_of(TensorDataset(X, Y + 1)), "train has none of class 0. Number them from 0: subtract 1"),
    "negative classes": (all_of(TensorDataset(X, Y - 1)), "whole numbers from 0, but got -1"),
    "gaps": (all_of(TensorDataset(X, Y * 2)), "none of class 1. Number them without gaps"),
    "a class for the test alone": (
        (Subset(SOUND, [0, 1, 3]), Subset(SOUND, [0, 1]), SOUND),
        "none of class 2, which test has. Split the data anew",
    ),
    "several classes an item": (all_of(TensorDataset(X, Y.reshape(15, 2).repeat(2, 1))), "Give floats for values"),
    "constant values": (all_of(TensorDataset(X, X[:, 0] * 0)), "targets must differ"),
    "pictures of PIL": (
        all_of([(Image.new("L", (8, 8), n), n % 2) for n in range(20)]),
        "one of item 0 of train is a picture of PIL. Give the data set transform=torchvision.transforms.ToTensor()",
    ),
    "a picture beside a tensor": (all_of([((X[0], Image.new("L", (8, 8))), 1)] * 9), "is a picture of PIL"),
    "a picture as a target": (
        all_of([(X[0], Image.new("L", (8, 8)))] * 9),
        "targets must be numbers, but that of item 0",
    ),
    "no target": (all_of([(X[0], None)] * 9), "targets must be numbers, but that of item 0 of train is None"),
    "an object as input": (all_of([(object(), 1)] * 9), "one of item 0 of train is <object object at"),
    "a sparse tensor": (all_of([(X[0].to_sparse(), 1)] * 9), "one of item 0 of train is tensor(indices="),
    "an array of text": (all_of([(np.array(["a"]), 1)] * 9), "one of item 0 of train is array(['a']"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_cannot_be_used_is_refused(what: str) -> None:
    """The message says what must be, which item breaks it, and what to do."""
    splits, text = FAULTS[what]
    with pytest.raises(DataError) as refused:
        task(*splits)
    assert text in str(refused.value)


def test_an_attribute_of_targets_must_be_theirs() -> None:
    lying = Items(lambda n: (X[n], n % 3))
    lying.targets = [0, 1] * 15  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="must have the targets of its items, but some differ"):
        task(lying)


def test_reading_all_classes_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to do without."""
    monkeypatch.setattr(data_sets, "TARGETS_S", -1.0)
    with pytest.raises(DataError, match="Give the data set an attribute targets"):
        task(Items(lambda n: (X[n], n % 3)))


def test_a_promise_of_a_task_without_its_method_is_named() -> None:
    """A class of one's own may list a corruption, or take a strength, and forget to write it."""
    items = [(torch.zeros(3), number % 2) for number in range(8)]
    task = DataSetTask(items, items, items)
    raw, generator = (torch.zeros(2, 3),), torch.Generator()
    with pytest.raises(DataError, match="lists the corruption 'fog', but has no method corrupted"):
        task.corrupted(raw, "fog", 0.5, generator)
    with pytest.raises(DataError, match="has no method augmented_more"):
        task.augmented_more(raw, generator, 0.5)
