"""Which candidates become winners, and which points of a front are picked when there are more than are wanted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_predictor import fit_fake
from made_up_screen import screen_of
from tiny_space import TinySpace

from nas.recipe.recipe import Recipe
from nas.searching.knowledge import Knowledge
from nas.searching.search import Search
from nas.searching.winner_choice import WinnerChoice, spread_over_front
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement

BEST, GOOD, FAIR, POOR = list(enumerate_space(TinySpace()))[:4]


def state_of(errors: dict[Architecture, float], readings: dict[Architecture, tuple[float, float]]) -> Any:
    """A run that seeks the least error within a millisecond; each architecture that was measured has two readings.

    Where nothing was measured some microseconds are predicted.
    """
    screen = screen_of("latency_ms <= 1ms")
    everything = list(enumerate_space(TinySpace()))
    screen.rely_on(
        {
            "latency_ms": fit_fake(
                screen.describer, everything, np.linspace(1e-3, 2e-3, len(everything)), target="", seed=0
            )
        }
    )
    found = {a: Measurement("latency_ms", "", tuple((value,) for value in values)) for a, values in readings.items()}
    knowledge = Knowledge(
        [
            *(Evaluation("measure", a, measurements={"latency_ms": each}) for a, each in found.items()),
            *(Evaluation("train", a, values={"error": error}) for a, error in errors.items()),
        ]
    )
    said: list[str] = []
    return SimpleNamespace(
        recipe=Recipe(objectives=["error"], limits=["latency_ms <= 1ms"], retraining={"winners": 2}),
        screen=screen,
        knowledge=knowledge,
        journal=SimpleNamespace(bodies=lambda kind: []),
        progress=SimpleNamespace(say=said.append),
    )


def search_in(state: Any) -> Search:
    return Search(state, SimpleNamespace())  # type: ignore[arg-type]


def test_what_does_not_surely_meet_a_limit_hides_nothing_that_could() -> None:
    """The next best is measured, though the best has a median within the limit."""
    within_by_median = {BEST: (0.98, 1.01)}
    state = state_of({BEST: 0.1, GOOD: 0.2, POOR: 0.4}, within_by_median)
    assert state.screen.probably_meets(BEST, state.knowledge)
    (row,) = search_in(state).front_candidates(surely=False)
    assert row.architecture == GOOD
    assert search_in(state).front_candidates(surely=True) == []


def test_the_nearest_misses_are_near_by_what_is_sure_and_the_best_of_them() -> None:
    """Not whatever was trained first."""
    state = state_of(
        {POOR: 0.4, FAIR: 0.3, GOOD: 0.2, BEST: 0.1},
        {POOR: (0.9, 1.0), FAIR: (0.98, 1.02), GOOD: (0.98, 1.02), BEST: (2.0, 2.0)},
    )
    assert WinnerChoice(state, search_in(state)).choose(1) == [GOOD]
    excesses = [state.screen.total_excess(each, state.knowledge) for each in (FAIR, GOOD, POOR, BEST)]
    assert 0 < excesses[0] == excesses[1] < excesses[2] < excesses[3]


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
