"""Telling values apart: what counts as a difference, and where points stand among others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nas.values.comparison import is_surely_less, standings, wilson_interval
from nas.values.measurement import Estimate, Interval, Measurement


def around(value: float, reach: float) -> Estimate:
    return Estimate(value, Interval(value - reach, value + reach))


def shares(wrong: int, count: int) -> Estimate:
    return Estimate(wrong / count, Interval(*wilson_interval(wrong, count)))


def test_medians_within_their_joint_interval_are_not_told_apart() -> None:
    """Two real winners of one search: 0.7 % apart, with intervals of ±1.3 %."""
    one = Estimate(0.03986, Interval(0.03939, 0.04039))
    other = Estimate(0.04014, Interval(0.03958, 0.04059))
    assert not is_surely_less(one, other)
    assert not is_surely_less(other, one)


@pytest.mark.parametrize(("difference", "is_apart"), [(1.0, False), (1.4, False), (1.42, True), (2.0, True)])
def test_halves_of_intervals_add_in_quadrature(difference: float, is_apart: bool) -> None:
    """Two intervals of ±1 may overlap and their values differ beyond doubt: the joint half is √2."""
    one, other = around(10.0, 1.0), around(10.0 + difference, 1.0)
    assert is_surely_less(one, other) is is_apart
    assert not is_surely_less(other, one)


def test_exact_values_differ_if_they_differ() -> None:
    """Counts and values from tables have no doubt, and equal ones are equal."""
    assert is_surely_less(Estimate.exact(1000.0), Estimate.exact(1001.0))
    assert not is_surely_less(Estimate.exact(1000.0), Estimate.exact(1000.0))
    assert is_surely_less(around(1.0, 0.4), Estimate.exact(1.5))


@pytest.mark.parametrize(
    ("wrong", "other_wrong", "count", "is_apart"),
    [(2, 4, 359, False), (2, 20, 359, True), (0, 1, 42, False), (24, 28, 42, False), (0, 42, 42, True)],
)
def test_test_errors_are_told_apart_by_the_number_of_images(
    wrong: int, other_wrong: int, count: int, is_apart: bool
) -> None:
    assert is_surely_less(shares(wrong, count), shares(other_wrong, count)) is is_apart


@pytest.mark.parametrize("count", [42, 359, 2000])
@pytest.mark.parametrize("error", [0.01, 0.1, 0.5])
def test_equal_models_are_told_apart_in_one_test_of_twenty(count: int, error: float, rng: np.random.Generator) -> None:
    """About so: with few images and a small error, the interval is wider than it need be."""
    wrong = rng.binomial(count, error, size=(2000, 2))
    apart = [
        is_surely_less(shares(int(a), count), shares(int(b), count))
        or is_surely_less(shares(int(b), count), shares(int(a), count))
        for a, b in wrong
    ]
    assert np.mean(apart) < 0.08


def test_equal_latencies_are_rarely_told_apart(rng: np.random.Generator) -> None:
    """Medians of 15 rounds with a spread of 2 %: about one pair of twenty."""

    def measured() -> Estimate:
        found = Measurement("latency_ms", "cpu", tuple((value,) for value in rng.lognormal(0, 0.02, 15)))
        return Estimate(found.median, found.interval)

    pairs = [(measured(), measured()) for _ in range(400)]
    assert np.mean([is_surely_less(a, b) or is_surely_less(b, a) for a, b in pairs]) < 0.09


def test_no_points_have_no_standings() -> None:
    assert standings({}) == {}


def test_a_point_that_is_only_just_dominated_is_on_the_front() -> None:
    """It stands beside the point that it cannot be told from, and a third is surely beaten."""
    found = standings(
        {
            "first": [Estimate.exact(0.1), around(1.00, 0.02)],
            "second": [Estimate.exact(0.1), around(1.01, 0.02)],
            "beaten": [Estimate.exact(0.1), around(1.10, 0.02)],
        }
    )
    assert [found[name].on_front for name in found] == [True, True, False]
    assert found["first"].same_as == ("second",)
    assert found["second"].same_as == ("first",)
    assert found["beaten"].same_as == ()


def test_a_lead_that_cannot_be_told_is_named() -> None:
    """The more accurate one leads by two images, and is surely slower."""
    found = standings({"accurate": [shares(2, 359), around(2.0, 0.02)], "fast": [shares(4, 359), around(1.0, 0.02)]})
    assert found["accurate"].on_front
    assert found["accurate"].barely_ahead_of == ("fast",)
    assert found["fast"] == type(found["fast"])(on_front=True)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.5])), min_size=2, max_size=2), min_size=1
    )
)
def test_a_front_is_never_empty_and_being_the_same_is_mutual(points: list[list[tuple[int, float]]]) -> None:
    """A point off the front is dominated by one on it, or by one that is itself dominated."""
    named = {str(i): [around(float(value), reach) for value, reach in point] for i, point in enumerate(points)}
    found = standings(named)
    assert any(standing.on_front for standing in found.values())
    for name, standing in found.items():
        assert name not in standing.same_as
        assert all(name in found[other].same_as for other in standing.same_as)
        assert not set(standing.same_as) & set(standing.barely_ahead_of)
        values = [each.value for each in named[name]]
        others = [[each.value for each in point] for point in named.values()]
        dominated = any(all(map(float.__le__, other, values)) and other != values for other in others)
        assert standing.on_front or dominated


def test_the_interval_of_a_share_stays_within_0_and_1() -> None:
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0
    lower, upper = wilson_interval(5, 10)
    assert math.isclose(lower, 0.2366, abs_tol=1e-4)
    assert math.isclose(upper, 0.7634, abs_tol=1e-4)
