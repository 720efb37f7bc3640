"""Which points of a front are picked when there are more than are wanted."""

from __future__ import annotations

import numpy as np
import pytest

from nas.winner_choice import spread_over_front


def test_the_best_in_the_first_objective_comes_first_and_then_what_adds_most() -> None:
    """By hypervolume over the scaled front: a point in a gap before one beside another."""
    losses = np.array([[0.0, 10.0], [0.1, 9.9], [0.5, 4.0], [1.0, 0.0]])
    assert spread_over_front(losses, 1) == [0]
    assert spread_over_front(losses, 2) == [0, 2]
    assert set(spread_over_front(losses, 3)) == {0, 2, 3}
    assert sorted(spread_over_front(losses, 9)) == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_is_picked_from_nothing(count: int) -> None:
    """An empty front has no winners."""
    assert spread_over_front(np.empty((0, 2)), count) == []


def test_objectives_that_do_not_vary_do_no_harm() -> None:
    """Equal values have no scale of their own."""
    assert sorted(spread_over_front(np.array([[1.0, 5.0], [1.0, 5.0]]), 2)) == [0, 1]
