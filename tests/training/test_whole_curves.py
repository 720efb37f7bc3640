"""The curves of whole trainings: what others would have reached, and how noisy early errors are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nas.training.whole_curves import LEAST_ERROR, WholeCurves

errors = st.floats(0, 1).map(lambda error: round(error, 6))
curves_of_three = st.lists(st.tuples(errors, errors, errors), max_size=12)


@given(curves_of_three, st.integers(1, 3))
def test_a_stopped_training_falls_as_the_median_training(curves: list[tuple[float, ...]], epoch: int) -> None:
    found = WholeCurves(curves).expected((0.5,) * epoch)
    ratios = [curve[-1] / curve[epoch - 1] for curve in curves if curve[epoch - 1] > 0]
    assert found == (pytest.approx(0.5 * float(np.median(ratios))) if ratios else None)


@given(curves_of_three, curves_of_three)
def test_answers_do_not_depend_on_when_they_were_asked_first(
    before: list[tuple[float, ...]], after: list[tuple[float, ...]]
) -> None:
    """A resumed run has all curves at once; the calm one asked before each."""
    grown = WholeCurves(before)
    grown.expected((0.5, 0.5))
    grown.noise(2)
    for curve in after:
        grown.add(curve)
    at_once = WholeCurves([*before, *after])
    assert grown.expected((0.5, 0.5)) == at_once.expected((0.5, 0.5))
    assert grown.noise(2) == at_once.noise(2)
    assert len(grown) == len(at_once) == len(before) + len(after)
    assert grown.first(3) == at_once.first(3) == [*before, *after][:3]


@given(st.lists(st.tuples(errors, errors), min_size=3, max_size=12))
def test_sums_give_the_noise_of_a_regression(curves: list[tuple[float, float]]) -> None:
    logs = np.log(np.maximum(curves, LEAST_ERROR))
    found = WholeCurves(curves).noise(1)
    if logs.std(axis=0).min() < 1e-9:
        return
    correlation = float(np.corrcoef(logs.T)[0, 1])
    if correlation > 1e-6:
        expected = logs[:, 0].std(ddof=1) * math.sqrt(max(0.0, 1 - correlation**2)) / correlation
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    elif correlation < -1e-6:
        assert found == math.inf


@pytest.mark.parametrize(
    ("curves", "noise"),
    [
        ([(0.2, 0.1), (0.4, 0.2), (0.8, 0.4)], 0.0),
        ([(0.2, 0.4), (0.4, 0.2), (0.8, 0.1)], np.inf),
        ([(0.2, 0.1), (0.2, 0.2), (0.2, 0.4)], np.inf),
        ([(0.5, 0.1 * np.e), (0.5 * np.e, 0.1), (0.5 * np.e, 0.1 * np.e**2), (0.5 * np.e**2, 0.1 * np.e)], np.inf),
        ([(0.5, 0.1), (0.5, 0.1 * np.e), (0.5 * np.e, 0.1 * np.e), (0.5 * np.e, 0.1 * np.e**2)], np.sqrt(1 / 3)),
    ],
)
def test_noise_is_the_unexplained_part_of_early_errors(curves: list[tuple[float, float]], noise: float) -> None:
    """The noise is 0 if early errors determine the last ones, and infinite if they are unrelated."""
    assert WholeCurves(curves).noise(1) == pytest.approx(noise, abs=1e-6)


def test_short_and_empty_curves_tell_nothing() -> None:
    """A training function may end early, and a simple model has no epochs."""
    curves = WholeCurves([(), (0.4,), (0.4, 0.2)])
    assert len(curves) == 2
    assert curves.expected((0.8, 0.6)) == pytest.approx(0.6)
    assert curves.expected((0.8, 0.6, 0.5)) is None
    assert curves.expected(()) is None
    assert curves.noise(2) == math.inf
