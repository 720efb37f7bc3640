"""Folds leave each item out once, keep groups together, and have all classes in each part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from nas.errors import DataError
from nas.tasks.batches import items_at
from nas.tasks.data_sets import DataSetTask
from nas.tasks.folds import check_folds, folds_of
from nas.tasks.loading import Loading
from nas.tasks.signals.signals import FEW, Signals
from nas.tasks.texts.loading import load_text


def numbers_of(examples: object) -> list[int]:
    """The first sample of each window, which numbers it."""
    batch = items_at(examples, slice(0, len(examples)))  # type: ignore[arg-type]
    return [round(float(each)) for each in batch.raw[0][:, 0, 0]]


def signals(count: int, groups: np.ndarray | None = None, classes: int = 2) -> Signals:
    """Windows whose first sample is their number, of classes in turn."""
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((count, 1, 16)).astype(np.float32)
    windows[:, 0, 0] = np.arange(count)
    return Signals.from_arrays(windows, np.arange(count) % classes, groups=groups)


def test_each_item_is_left_out_once() -> None:
    """What is left out of the training validates it; the test split is in none."""
    task = signals(60)
    folds = folds_of(task, 5)
    own = sorted(numbers_of(task.train) + numbers_of(task.validation))
    assert sorted(number for fold in folds for number in numbers_of(fold.validation)) == own
    for fold in folds:
        assert sorted(numbers_of(fold.train) + numbers_of(fold.validation)) == own
        with pytest.raises(DataError, match="may not use it"):
            len(fold.test)
    again = folds_of(signals(60), 5)
    assert [numbers_of(fold.validation) for fold in again] == [numbers_of(fold.validation) for fold in folds]


def test_classes_are_in_each_part() -> None:
    for fold in folds_of(signals(60, classes=3), 4):
        labels = items_at(fold.validation, slice(0, len(fold.validation))).targets.bincount()
        assert labels.max() - labels.min() <= 1


def test_windows_of_a_recording_are_in_one_part() -> None:
    """Otherwise models would be tested on what they have nearly seen."""
    groups = np.arange(90) // 3 * 2 % 59
    for fold in folds_of(signals(90, groups), 5):
        trained, tested = ({int(groups[n]) for n in numbers_of(part)} for part in (fold.train, fold.validation))
        assert tested
        assert not trained & tested


def test_inputs_are_prepared_as_those_of_the_whole_task() -> None:
    """Folds differ in their items alone."""
    task = signals(60)
    (fold, _) = folds_of(task, 2)
    raw = items_at(fold.train, slice(0, 4)).raw
    torch.testing.assert_close(fold.inputs_of(raw), task.inputs_of(raw))
    assert (fold.signature, fold.criterion) == (task.signature, task.criterion)


def test_values_and_data_sets_of_your_own_are_divided_at_random() -> None:
    values = Signals.from_arrays(np.random.default_rng(0).standard_normal((40, 1, 8)), np.linspace(0, 1, 40))
    assert sum(len(fold.validation) for fold in folds_of(values, 3)) == len(values.train) + len(values.validation)
    inputs, targets = torch.randn(20, 3), torch.arange(20) % 2
    own = DataSetTask(*(TensorDataset(inputs, targets) for _ in range(3)))
    assert [len(fold.validation) for fold in folds_of(own, 4)] == [10] * 4


@pytest.mark.parametrize("are_values", [True, False])
def test_groups_of_data_sets_of_your_own_stay_together(are_values: bool) -> None:
    """Their attribute ``groups`` numbers them. A group in two splits is told."""

    class Grouped(TensorDataset):
        groups: object = None

    def grouped(groups: object) -> Grouped:
        inputs = torch.arange(20.0)[:, None]
        made = Grouped(inputs, inputs / 20 if are_values else torch.arange(20) % 2)
        made.groups = groups
        return made

    numbers = np.arange(20) // 5
    task = DataSetTask(grouped(numbers), grouped(numbers + 4), grouped(numbers + 8))
    check_folds(task, 8)
    for fold in folds_of(task, 4):
        left_out = {float(each) for each in items_at(fold.validation, slice(0, len(fold.validation))).raw[0]}
        assert all(start in left_out for start in left_out if start % 5 == 0)
        assert len(fold.validation) == 10
    with pytest.raises(DataError, match="groups of items, 8, but got 9"):
        check_folds(task, 9)
    shared = DataSetTask(grouped(numbers), grouped(numbers + 1), grouped(numbers + 8))
    assert any("validation items share a group with items of an earlier split" in each for each in shared.warnings)
    check_folds(DataSetTask(*(grouped("abc") for _ in range(3))), 40)


def test_what_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at most the number of windows, 16, but got 17"):
        check_folds(signals(20), 17)
    with pytest.raises(DataError, match="at most the number of groups of windows, 8, but got 9"):
        check_folds(signals(40, np.arange(40) // 4), 9)
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("some words of a text " * 40)
    text = load_text(str(tmp_path), Loading(folder=tmp_path), context=16, root=str(tmp_path / "cache"))
    with pytest.raises(DataError, match="folds must be 1, because texts are split as a whole"):
        check_folds(text, 2)


def test_few_windows_are_divided_by_default() -> None:
    assert signals(60).training_defaults == {"training": {"folds": 5}}
    assert signals(2 * FEW).training_defaults == {}
