"""Hypervolume over evaluations, and the estimate of what random search would have had."""

from __future__ import annotations

import numpy as np
import pytest

from nas.reports.analysis.growth import (
    Points,
    balanced_weights,
    counts_looked_at,
    effective_count,
    growth,
    random_growth,
    reference_point,
)
from nas.space.architecture import Architecture
from nas.values.pareto import hypervolume


def points_of(*losses: tuple[float, ...], owner: list[int] | None = None, evaluations: int | None = None) -> Points:
    owners = np.arange(len(losses)) if owner is None else np.array(owner)
    return Points(np.array(losses, dtype=np.float64), owners, evaluations or len(losses))


def test_growth_of_three_boxes_by_hand() -> None:
    """Boxes of 3, 4 and 3 overlap by 2 and 2, so that they cover 3, 5 and 6; a dominated point adds nothing."""
    points = points_of((1, 3), (2, 2), (3, 3), (3, 1))
    assert growth(points, np.array([4.0, 4.0])).tolist() == [3, 5, 5, 6]


def test_evaluations_without_a_point_count_too() -> None:
    """The first and the third evaluation failed; the second found two points, as two precisions of one training."""
    points = points_of((1, 3), (2, 2), (3, 1), owner=[1, 1, 3], evaluations=4)
    assert growth(points, np.array([4.0, 4.0])).tolist() == [0, 5, 5, 6]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_growth_equals_the_hypervolume_of_each_prefix(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    losses, reference = rng.random((40, objectives)), np.full(objectives, 0.9)
    grown = growth(Points(losses, np.arange(40), 40), reference)
    inside = [losses[:n][(losses[:n] < reference).all(axis=1)] for n in range(1, 41)]
    assert grown == pytest.approx([hypervolume(each, reference) for each in inside])


def test_the_reference_point_is_not_moved_by_one_diverged_training() -> None:
    """It lies 5 % of the span beyond the third quartile, or beyond the worst of the front, and within the limits."""
    losses = np.array([(0.1, 5.0), (0.2, 4.0), (0.3, 3.0), (0.4, 2.0), (1e6, 6.0)])
    error, cost = reference_point(losses, [np.inf, np.inf])
    assert error == pytest.approx(0.4 + 0.05 * 0.3)
    assert cost == pytest.approx(5.0 + 0.05 * 3.0)
    assert reference_point(losses, [0.35, 4.5]).tolist() == [0.35, 4.5]


def test_the_reference_point_of_one_evaluation_leaves_it_some_volume() -> None:
    losses = np.array([(0.2, 3.0)])
    assert growth(points_of((0.2, 3.0)), reference_point(losses, [np.inf, np.inf]))[0] > 0


def test_counts_begin_at_one_and_end_at_all() -> None:
    assert counts_looked_at(3).tolist() == [1, 2, 3]
    assert counts_looked_at(0).tolist() == []
    counts = counts_looked_at(50_000)
    assert (counts[0], counts[-1]) == (1, 50_000)
    assert len(counts) <= 42


def test_random_growth_has_the_expected_volume() -> None:
    """Of two points with 3 and 3 of 5, draws of one have 3, and two of them have 3 or 5, each half of the time."""
    points = points_of((1, 3), (3, 1))
    reference = np.array([4.0, 4.0])
    rng = np.random.default_rng(0)
    drawn = random_growth(points, reference, np.array([1, 2]), np.ones(2), rng, resamples=2000)
    assert set(drawn[:, 0]) == {3.0}
    assert set(drawn[:, 1]) == {3.0, 5.0}
    assert drawn[:, 1].mean() == pytest.approx(4.0, abs=0.1)


def test_random_growth_follows_the_weights_and_counts_failures() -> None:
    """One evaluation in four found something, and comes with a weight of three: it is drawn half of the time."""
    points = points_of((1, 1), owner=[2], evaluations=4)
    weights = np.array([1.0, 1.0, 3.0, 1.0])
    drawn = random_growth(
        points, np.array([2.0, 2.0]), np.array([1]), weights, np.random.default_rng(0), resamples=4000
    )
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)


def test_weights_make_options_equally_frequent() -> None:
    """Three of four have kernel 3, so they share half of the weight; a choice that only some have is balanced there."""
    architectures = [
        Architecture({"kernel": 3, "block": "plain"}),
        Architecture({"kernel": 3, "block": "plain"}),
        Architecture({"kernel": 3, "block": "plain"}),
        Architecture({"kernel": 5, "block": "plain"}),
    ]
    weights = balanced_weights(architectures)
    assert weights == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    assert effective_count(weights) == pytest.approx(16 / (3 * 4 / 9 + 4))


def test_a_bool_is_no_number_and_an_absent_choice_no_option() -> None:
    architectures = [Architecture({"a": True}), Architecture({"a": 1}), Architecture({"b": 1}), Architecture({"b": 1})]
    assert balanced_weights(architectures) == pytest.approx([1, 1, 1, 1])
    skewed = [Architecture({"a": 1, "b": 1}), Architecture({"a": 1, "b": 2}), Architecture({"a": 2})]
    first, second, third = balanced_weights(skewed)
    assert (first + second, first) == pytest.approx((third, second))


def test_weights_bring_the_estimate_nearer_to_real_random_search() -> None:
    """A search that prefers good options looks too good as random search; weights take most of that away."""
    rng = np.random.default_rng(3)
    names = [f"choice{place}" for place in range(5)]

    def losses(codes: np.ndarray) -> np.ndarray:
        return 1 - np.column_stack([codes[:, :3].mean(axis=1), codes[:, 3:].mean(axis=1)]) / 3

    uniform = rng.integers(0, 4, (4000, 5))
    chosen = rng.choice(4, size=(200, 5), p=(0.1, 0.2, 0.3, 0.4))
    reference, counts = np.array([1.0, 1.0]), np.array([5, 10, 20])
    architectures = [Architecture(dict(zip(names, row.tolist(), strict=True))) for row in chosen]

    def mean(codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
        points = Points(losses(codes), np.arange(len(codes)), len(codes))
        return random_growth(points, reference, counts, weights, np.random.default_rng(0)).mean(axis=0)

    truth = mean(uniform, np.ones(len(uniform)))
    plain, weighted = mean(chosen, np.ones(len(chosen))), mean(chosen, balanced_weights(architectures))
    assert (np.abs(weighted - truth) < np.abs(plain - truth)).all()
