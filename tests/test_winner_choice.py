"""Which points of a front are picked when there are more than are wanted."""

from __future__ import annotations

import numpy as np
import pytest

from nas.winner_choice import spread_over_front


def test_the_best_in_the_first_objective_comes_first_and_then_what_adds_most() -> None:
    """By hypervolume over the scaled front: a point in a gap before one beside another."""
    losses = np.array([[0.0, 10.0], [0.1, 9.9], [0.5, 4.0], [1.0, 0.0]])
    assert spread_over_front(losses, 1) == [0]
    assert spread_over_front(losses, 2) == [0, 3]
    assert set(spread_over_front(losses, 3)) == {0, 2, 3}
    assert sorted(spread_over_front(losses, 9)) == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_few_stand_for_a_flat_front_at_even_distances(count: int) -> None:
    """Its ends, or nearly, among them."""
    first = np.linspace(0, 1, 61)
    picked = sorted(spread_over_front(np.column_stack([first, 1 - first]), count))
    assert picked[0] == 0
    assert picked[-1] >= 57
    assert np.diff(picked) == pytest.approx(60 / (count - 1), abs=3)


def test_an_exchange_makes_up_for_a_choice_that_came_too_early() -> None:
    """What is best beside the first end alone gives way to the middle and the other end."""
    losses = np.array([[0.0, 1.0], [0.3, 0.62], [0.5, 0.45], [0.7, 0.25], [1.0, 0.0]])
    assert sorted(spread_over_front(losses, 3)) == [0, 2, 4]


def test_three_objectives_and_one() -> None:
    """Of three each corner, or its neighbour, is among six; where there is one, it decides."""
    grid = [(a, b, 10 - a - b) for a in range(11) for b in range(11 - a)]
    picked = {grid[index] for index in spread_over_front(np.array(grid, dtype=np.float64), 6)}
    assert len(picked) == 6
    assert min(max(point[axis] for point in picked) for axis in range(3)) >= 9
    assert spread_over_front(np.array([[2.0]]), 4) == [0]


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_is_picked_from_nothing(count: int) -> None:
    """An empty front has no winners."""
    assert spread_over_front(np.empty((0, 2)), count) == []


def test_objectives_that_do_not_vary_do_no_harm() -> None:
    """Equal values have no scale of their own."""
    assert sorted(spread_over_front(np.array([[1.0, 5.0], [1.0, 5.0]]), 2)) == [0, 1]
