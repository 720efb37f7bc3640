"""Shares of items: by group and by time."""

from __future__ import annotations

import numpy as np
import pytest

from nas.tasks.splitting import groups_taken, latest

LABELS = np.tile([0, 1], 30)


@pytest.mark.parametrize("groups", [2, 3, 5, 20])
def test_groups_stay_together(groups: int) -> None:
    """However few there are, one at least is taken, and one stays."""
    numbers = np.arange(60) // (60 // groups)
    taken = groups_taken(LABELS, numbers, 0.2, 0)
    assert 0 < taken.sum() < 60
    assert not set(numbers[taken]) & set(numbers[~taken])


def test_groups_of_one_class_each_leave_every_class() -> None:
    """Three persons may mostly do three things: then one of them is taken whose things others do too."""
    groups = np.repeat([0, 1, 2], 20)
    labels = groups.copy()
    assert not groups_taken(labels, groups, 0.2, 0).any()  # each class has one group alone
    labels[[0, 1]] = [1, 2]
    taken = groups_taken(labels, groups, 0.2, 0)
    assert set(labels[~taken]) == {0, 1, 2}
    assert set(groups[taken]) < {1, 2}


def test_items_without_label_and_values_have_groups_too() -> None:
    """Pictures without any of several labels are numbered -1, and values have no classes."""
    groups = np.arange(60) // 6
    assert 0 < groups_taken(np.full(60, -1), groups, 0.2, 0).sum() < 60
    assert 0 < groups_taken(np.zeros((60, 2)), groups, 0.2, 0).sum() < 60


def test_the_latest_are_taken() -> None:
    """About the share, and items of one moment stay together."""
    times = np.random.default_rng(0).permutation(100)
    assert sorted(times[latest(times, 0.2)]) == list(range(80, 100))
    days = np.arange(100) // 30
    assert set(days[latest(days, 0.2)]) == {3}
    assert set(days[latest(days, 0.5)]) == {2, 3}
    with pytest.raises(ValueError, match="at least two different times, but all are 4"):
        latest(np.full(9, 4), 0.2)
