"""A task as training code of a user's sees it: all that the task can do, but for its test split."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.errors import DataError
from nas.tasks.batches import items_at
from nas.tasks.data_sets import DataSetTask
from nas.tasks.images.images import Images
from nas.tasks.task_to_fit import TaskToFit


def test_the_test_split_cannot_be_used(digits: Images) -> None:
    """It scores winners, so neither its items nor their number are given."""
    task = TaskToFit(digits, 1.0, with_validation=False)
    for use in (lambda: len(task.test), lambda: task.test[0], lambda: items_at(task.test, slice(0, 2))):
        with pytest.raises(DataError, match="so training may not use it"):
            use()


@pytest.mark.parametrize(("share", "with_validation"), [(1.0, False), (0.5, False), (1.0, True)])
def test_it_has_the_items_of_one_training(digits: Images, share: float, with_validation: bool) -> None:
    task = TaskToFit(digits, share, with_validation)
    wanted = round(share * len(digits.train)) + with_validation * len(digits.validation)
    assert len(task.train) == pytest.approx(wanted, abs=len(digits.classes))


def test_it_augments_and_corrupts_as_the_task_does(digits: Images) -> None:
    """Also what a DataLoader gives, a list of tensors."""
    task = TaskToFit(digits, 1.0, with_validation=False)
    raw = items_at(digits.train, slice(0, 8)).raw
    assert task.takes_strength
    assert task.corruptions == digits.corruptions
    for found, wanted in (
        (task.augmented_more([*raw], seeded(), 0.5), digits.augmented_more(raw, seeded(), 0.5)),
        (task.corrupted([*raw], "blur", 0.5, seeded()), digits.corrupted(raw, "blur", 0.5, seeded())),
        (task.augmented([*raw], seeded()), digits.augmented(raw, seeded())),
    ):
        torch.testing.assert_close(found, wanted)


def test_floats_are_in_single_precision() -> None:
    """As this project's own training gets them, whatever a DataLoader gives."""
    items = [(np.zeros(4), n % 2) for n in range(8)]
    task = TaskToFit(DataSetTask(items, items, items), 1.0, with_validation=False)
    raw, _ = next(iter(torch.utils.data.DataLoader(task.train, 4)))  # type: ignore[arg-type]
    assert raw.dtype == torch.float64
    assert [each.dtype for each in task.inputs_of(raw)] == [torch.float32]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
