"""The first proposals by a prior: the cheapest, and then what is best together."""

from __future__ import annotations

import numpy as np

from predictors.samplers.prior_front import first_by_hypervolume

LOSSES = np.array([[0.0, 9.0], [1.0, 1.0], [2.0, 0.5], [4.0, 0.0], [4.0, 9.0], [1.1, 1.1]])


def test_the_cheapest_comes_first_and_each_other_adds_the_most() -> None:
    """What is dominated never comes."""
    assert list(first_by_hypervolume(LOSSES, lambda place: True)) == [3, 1, 2, 0]


def test_what_is_refused_is_left_out() -> None:
    """Others take its place, and nothing comes twice."""
    assert list(first_by_hypervolume(LOSSES, lambda place: place not in (1, 3))) == [2, 5, 0]
    assert list(first_by_hypervolume(LOSSES, lambda place: False)) == []
    assert list(first_by_hypervolume(LOSSES[:0], lambda place: True)) == []


def test_each_cost_has_a_cheapest() -> None:
    """One that is cheapest in two costs comes once."""
    losses = np.array([[0.0, 3.0, 3.0], [1.0, 0.0, 5.0], [2.0, 5.0, 0.0]])
    assert list(first_by_hypervolume(losses, lambda place: True))[:2] == [1, 2]
    assert list(first_by_hypervolume(losses[:, [0, 1, 1]], lambda place: True)) == [1, 0]
