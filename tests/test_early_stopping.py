"""Who goes on at a rung: everyone on the front, the better share of the rest, and all while there are few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.early_stopping import Rungs, rung_epochs, trust_in_rungs
from nas.pareto import ranks

points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("epochs", "reduction", "rungs"),
    [(8, 2, (1, 2, 4)), (9, 3, (1, 3)), (10, 2, (1, 2, 5)), (27, 3, (1, 3, 9)), (1, 2, ()), (3, 4, ())],
)
def test_rungs_are_the_epochs_divided_by_powers(epochs: int, reduction: int, rungs: tuple[int, ...]) -> None:
    """The lowest comes first, and the last epoch is no rung: nobody is stopped when it has finished."""
    assert rung_epochs(epochs, reduction) == rungs


def filled(losses: list[tuple[int, int]], *, keep: float, min_peers: int = 1) -> Rungs:
    rungs = Rungs((2,), keep=keep, min_peers=min_peers)
    for index, pair in enumerate(losses):
        rungs.record(f"c{index}", 2, pair)
    return rungs


@given(points, st.floats(0.01, 1))
def test_the_front_always_goes_on(losses: list[tuple[int, int]], keep: float) -> None:
    """However small the share that is kept, what nothing dominates is never stopped."""
    rungs = filled(losses, keep=keep)
    for index in np.flatnonzero(ranks(np.array(losses, dtype=float)) == 0):
        assert rungs.goes_on(f"c{index}", 2)


@given(points, st.floats(0.01, 1))
def test_the_better_share_goes_on(losses: list[tuple[int, int]], keep: float) -> None:
    """As many as the share says go on, or the whole front where that is larger, and no worse rank before a better."""
    rungs = filled(losses, keep=keep)
    going = np.array([rungs.goes_on(f"c{index}", 2) for index in range(len(losses))])
    found = ranks(np.array(losses, dtype=float))
    assert going.sum() == max(np.ceil(keep * len(losses)), (found == 0).sum())
    assert going.all() or found[going].max() <= found[~going].min()


def test_a_tie_within_a_rank_is_broken_by_crowding() -> None:
    """Among equals of one rank the lonely ones go on."""
    front, behind = [(0, 0)], [(1, 9), (4, 5), (5, 4), (9, 1)]
    rungs = filled([*front, *behind], keep=0.6)
    assert [rungs.goes_on(f"c{index}", 2) for index in range(5)] == [True, True, False, False, True]


def test_few_peers_stop_nobody() -> None:
    """The worst goes on until enough have reached the rung."""
    rungs = filled([(0, 0), (1, 1), (2, 2)], keep=0.1, min_peers=4)
    assert rungs.goes_on("c2", 2)
    rungs.record("c3", 2, (3, 3))
    assert not rungs.goes_on("c2", 2)


def test_other_epochs_and_strangers_go_on() -> None:
    """Only a candidate that was recorded at a rung can be stopped there."""
    rungs = filled([(0, 0), (1, 1), (2, 2)], keep=0.1)
    rungs.record("c2", 3, (9, 9))
    assert rungs.goes_on("c2", 3)
    assert rungs.goes_on("stranger", 2)
    assert not rungs.goes_on("c2", 2)


def test_a_candidate_stands_at_a_rung_once() -> None:
    """Recorded again, as when a run is resumed, it takes its own place and no second one."""
    rungs = filled([(0, 0), (1, 1)], keep=0.1, min_peers=3)
    rungs.record("c1", 2, (1, 1))
    assert rungs.goes_on("c1", 2)


def test_rungs_that_rank_as_the_end_does_are_relied_on() -> None:
    """From the first good one on; what comes later is a rung too, whatever it is worth by itself."""
    curves = [(0.5, 0.4, 0.9, 0.1), (0.6, 0.5, 0.8, 0.2), (0.3, 0.6, 0.7, 0.3), (0.4, 0.7, 0.6, 0.4)]
    trust = trust_in_rungs((1, 2, 3), curves, 0.5)
    assert trust.correlations == pytest.approx({1: -0.6, 2: 1.0, 3: -1.0})
    assert trust.relied_on == (2, 3)
    assert trust_in_rungs((1, 2, 3), curves, -0.6).relied_on == (1, 2, 3)


def test_rungs_that_tell_nothing_are_not_relied_on() -> None:
    """Where all have the same error there is nothing to rank by, early or late."""
    assert trust_in_rungs((1,), [(0.5, 0.1), (0.5, 0.2), (0.5, 0.3)], 0.1).relied_on == ()
    trust = trust_in_rungs((1,), [(0.4, 0.1), (0.5, 0.1), (0.6, 0.1)], 0.1)
    assert trust.correlations == {1: 0.0}
    assert trust.relied_on == ()
