"""Early stopping: the front and the better share of the rest continue at a rung, and so do a few candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nas.recipe.training_sections import EarlyStoppingRecipe
from nas.training.early_stopping import (
    EarlyStopping,
    Rungs,
    RungTrust,
    rung_epochs,
    rung_subsets,
    trust_in_rungs,
)
from nas.training.whole_curves import WholeCurves
from nas.values.pareto import ranks

EVERYONE = 100

points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("epochs", "reduction", "rungs"),
    [
        (8, 2, (1, 2, 4)),
        (9, 3, (1, 3)),
        (10, 2, (1, 2, 5)),
        (27, 3, (1, 3, 9)),
        (1, 2, ()),
        (3, 4, ()),
        (18, 1.5, (1, 2, 3, 5, 8, 12)),
        (4, 1.5, (1, 2)),
        (3, 1.1, (1, 2)),
    ],
)
def test_rungs_are_the_epochs_divided_by_powers(epochs: int, reduction: float, rungs: tuple[int, ...]) -> None:
    """The lowest rung comes first; the last epoch is no rung, because a finished training cannot be stopped."""
    assert rung_epochs(epochs, reduction) == rungs


def filled(
    losses: Sequence[tuple[float, ...]], *, keep: float, min_peers: int = 1, neighbours: int = EVERYONE
) -> Rungs:
    rungs = Rungs((2,), keep=keep, min_peers=min_peers, neighbours=neighbours)
    for index, pair in enumerate(losses):
        rungs.record(f"c{index}", 2, pair)
    return rungs


@given(points, st.floats(0.01, 1))
def test_the_front_always_continues(losses: list[tuple[int, int]], keep: float) -> None:
    """A candidate that nothing dominates is never stopped, however small the kept share is."""
    rungs = filled(losses, keep=keep)
    for index in np.flatnonzero(ranks(np.array(losses, dtype=float)) == 0):
        assert rungs.goes_on(f"c{index}", 2)


@pytest.mark.slow
@given(points, st.floats(0.01, 1))
def test_the_better_share_continues(losses: list[tuple[int, int]], keep: float) -> None:
    """The kept share continues, or the whole front if it is larger; a better rank always comes first."""
    rungs = filled(losses, keep=keep)
    going = np.array([rungs.goes_on(f"c{index}", 2) for index in range(len(losses))])
    found = ranks(np.array(losses, dtype=float))
    assert going.sum() == max(np.ceil(keep * len(losses)), (found == 0).sum())
    assert going.all() or found[going].max() <= found[~going].min()


def test_a_tie_within_a_rank_is_broken_by_crowding() -> None:
    """Within one rank, the least crowded candidates continue."""
    front, behind = [(0, 0)], [(1, 9), (4, 5), (5, 4), (9, 1)]
    rungs = filled([*front, *behind], keep=0.6)
    assert [rungs.goes_on(f"c{index}", 2) for index in range(5)] == [True, True, False, False, True]


def test_with_few_peers_all_continue() -> None:
    """The worst candidate continues until enough candidates have reached the rung."""
    rungs = filled([(0, 0), (1, 1), (2, 2)], keep=0.1, min_peers=4)
    assert rungs.goes_on("c2", 2)
    rungs.record("c3", 2, (3, 3))
    assert not rungs.goes_on("c2", 2)


def test_other_epochs_and_unrecorded_candidates_continue() -> None:
    """Only a candidate that was recorded at a rung can be stopped there."""
    rungs = filled([(0, 0), (1, 1), (2, 2)], keep=0.1)
    rungs.record("c2", 3, (9, 9))
    assert rungs.goes_on("c2", 3)
    assert rungs.goes_on("stranger", 2)
    assert not rungs.goes_on("c2", 2)


def test_a_candidate_stands_at_a_rung_once() -> None:
    """A candidate that is recorded again, as in a resumed run, replaces its first record."""
    rungs = filled([(0, 0), (1, 1)], keep=0.1, min_peers=3)
    rungs.record("c1", 2, (1, 1))
    assert rungs.goes_on("c1", 2)


def test_candidates_are_compared_with_those_of_similar_cost() -> None:
    """A large network that learns slowly survives small networks that dominate it early."""
    small, large = [(0.2, 1.0), (0.21, 1.1), (0.22, 1.2)], [(0.5, 100.0), (0.51, 110.0), (0.6, 120.0)]
    everyone = filled([*small, *large], keep=0.2)
    similar = filled([*small, *large], keep=0.2, neighbours=2)
    assert [everyone.goes_on(f"c{index}", 2) for index in range(6)] == [True, True, False, False, False, False]
    assert [similar.goes_on(f"c{index}", 2) for index in range(6)] == [True, False, False, True, False, False]


def test_similar_is_by_the_ratio_of_costs() -> None:
    """Twice as large is as far as half as large, in any unit, and each of several costs has the same weight."""
    rungs = filled([(0.5, 4.0), (0.4, 2.1), (0.6, 7.0), (0.6, 0.5)], keep=0.1, neighbours=1)
    assert rungs.goes_on("c0", 2)  # by ratio, 7 is nearer to 4 than 2.1 is
    scaled = [(0.5, 1e-3, 50.0), (0.4, 1e-3, 20.0), (0.45, 0.9e-3, 50.0)]
    assert filled(scaled, keep=0.1, neighbours=1).goes_on("c1", 2)
    assert not filled(scaled, keep=0.1, neighbours=1).goes_on("c0", 2)


def test_without_costs_errors_are_compared_with_all() -> None:
    """Without costs the error is the only objective, and all candidates are compared."""
    rungs = filled([(0.3,), (0.1,), (0.2,), (0.4,)], keep=0.5, neighbours=1)
    assert [rungs.goes_on(f"c{index}", 2) for index in range(4)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("epochs", "reduction", "subset", "subsets"),
    [
        (4, 2, 0.4, (0.1, 0.2, 0.4, 0.4)),
        (6, 3, 0.9, (0.3, 0.3, 0.9, 0.9, 0.9, 0.9)),
        (9, 3, 1.0, (1 / 9, *(1 / 3,) * 2, *(1.0,) * 6)),
        (1, 2, 0.5, (0.5,)),
    ],
)
def test_subsets_grow_at_each_rung(epochs: int, reduction: float, subset: float, subsets: tuple[float, ...]) -> None:
    """The share grows by the same factor as the rungs, and is complete after the last rung."""
    assert rung_subsets(epochs, reduction, subset) == pytest.approx(subsets)


def test_stopping_waits_for_whole_trainings() -> None:
    """The judgement of the rungs is reported; candidates are stopped only from the first reliable rung on."""
    whole = WholeCurves()
    told: list[tuple[RungTrust, int]] = []
    settings = EarlyStoppingRecipe(check=3, keep=0.1, min_peers=2)
    stopping = EarlyStopping(settings, 4, whole=lambda: whole, tell=lambda trust, count: told.append((trust, count)))
    for name, error in (("a", 0.1), ("b", 0.2), ("c", 0.3)):
        for epoch in (1, 2):
            stopping.record(name, epoch, error, (1.0,))
    assert stopping.goes_on("c", 1)
    for curve in ([0.9, 0.1, 0.1, 0.1], [0.8, 0.2, 0.2, 0.2], [0.7, 0.3, 0.3, 0.3], [0.1, 0.4, 0.4, 0.4]):
        whole.add(curve)
    assert stopping.goes_on("c", 1)
    assert not stopping.goes_on("c", 2)
    assert stopping.goes_on("a", 2)
    [(trust, count)] = told
    assert count == 3
    assert trust.correlations == pytest.approx({1: -1.0, 2: 1.0})
    assert trust.relied_on == (2,)


def test_rungs_are_judged_anew_by_twice_as_many() -> None:
    """More trainings may add rungs that fewer did not support, but never remove one."""
    told: list[tuple[RungTrust, int]] = []
    settings = EarlyStoppingRecipe(check=3, keep=0.1, min_peers=2)
    bad = [[0.3, 0.3, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2], [0.1, 0.1, 0.3, 0.3]]
    good = [[0.9, 0.4, 0.4, 0.4], [0.8, 0.5, 0.5, 0.5], [0.7, 0.6, 0.6, 0.6]]
    worst = [[0.1, 0.01 * index, 0.1, 1 - 0.01 * index] for index in range(6)]
    whole = WholeCurves(bad)
    stopping = EarlyStopping(settings, 4, whole=lambda: whole, tell=lambda trust, count: told.append((trust, count)))
    for name, error in (("a", 0.1), ("b", 0.2), ("c", 0.9)):
        stopping.record(name, 2, error, (1.0,))
    assert stopping.goes_on("c", 2)
    for curve in good[:2]:
        whole.add(curve)
    assert stopping.goes_on("c", 2)
    for curve in good[2:]:
        whole.add(curve)
    assert not stopping.goes_on("c", 2)
    for curve in worst:
        whole.add(curve)
    stopping.goes_on("c", 2)
    assert [(trust.relied_on, count) for trust, count in told] == [((), 3), ((1, 2), 6), ((1, 2), 12)]
    assert told[2][0].correlations[2] < 0


def test_a_candidate_gets_the_benefit_of_the_noise() -> None:
    """A candidate continues if it is dominated by less than the noise, and is stopped otherwise."""
    rungs = filled([(0.2, 1.0), (0.23, 1.0), (0.26, 1.0), (0.3, 1.0)], keep=0.1)
    assert [rungs.goes_on(f"c{index}", 2, 0.2) for index in range(4)] == [True, True, False, False]
    assert [rungs.goes_on(f"c{index}", 2, 0.3) for index in range(4)] == [True, True, True, False]
    assert all(rungs.goes_on(f"c{index}", 2, np.inf) for index in range(4))


def test_rungs_that_rank_like_the_end_are_relied_on() -> None:
    """All rungs after the first good one are relied on, whatever their own correlation."""
    curves = [(0.5, 0.4, 0.9, 0.1), (0.6, 0.5, 0.8, 0.2), (0.3, 0.6, 0.7, 0.3), (0.4, 0.7, 0.6, 0.4)]
    trust = trust_in_rungs((1, 2, 3), curves, 0.5)
    assert trust.correlations == pytest.approx({1: -0.6, 2: 1.0, 3: -1.0})
    assert trust.relied_on == (2, 3)
    assert trust_in_rungs((1, 2, 3), curves, -0.6).relied_on == (1, 2, 3)


def test_rungs_without_information_are_not_relied_on() -> None:
    """Equal errors cannot be ranked, neither at a rung nor at the end."""
    assert trust_in_rungs((1,), [(0.5, 0.1), (0.5, 0.2), (0.5, 0.3)], 0.1).relied_on == ()
    trust = trust_in_rungs((1,), [(0.4, 0.1), (0.5, 0.1), (0.6, 0.1)], 0.1)
    assert trust.correlations == {1: 0.0}
    assert trust.relied_on == ()
