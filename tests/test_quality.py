"""Rank correlation, relative error and coverage, against values by hand and scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from predictors.conformal import assess, calibrate, split_folds
from predictors.quality import coverage, held_out_error, mape, spearman, within

TRUTHS = np.array([1.0, 2.0, 4.0, 10.0])
PREDICTIONS = np.array([1.1, 1.9, 5.0, 10.0])


def test_values_by_hand() -> None:
    """Errors of 10, 5, 25 and 0 %."""
    assert mape(TRUTHS, PREDICTIONS) == pytest.approx(0.1)
    assert within(TRUTHS, PREDICTIONS, 0.1001) == 0.75
    assert within(TRUTHS, PREDICTIONS, 0.05001) == 0.5
    assert spearman(TRUTHS, PREDICTIONS) == pytest.approx(1)
    assert spearman(TRUTHS, -PREDICTIONS) == pytest.approx(-1)
    assert coverage(TRUTHS, np.array([1.0, 2.1, 3.0, 9.0]), np.array([1.0, 3.0, 5.0, 9.5])) == 0.5


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=3, max_size=30))
def test_spearman_equals_scipys_with_ties(pairs: list[tuple[int, int]]) -> None:
    """Ties share their mean rank."""
    first, second = np.array(pairs, dtype=np.float64).T
    if np.ptp(first) > 0 and np.ptp(second) > 0:
        assert spearman(first, second) == pytest.approx(float(stats.spearmanr(first, second).statistic))
    else:
        assert math.isnan(spearman(first, second))


def test_unfit_arrays_are_refused() -> None:
    """Shapes that differ, nothing at all, NaN, and truths that have no relative error."""
    with pytest.raises(ValueError, match=r"must be the same \(N,\).* but got \(4,\) and \(3,\)"):
        mape(TRUTHS, PREDICTIONS[:3])
    with pytest.raises(ValueError, match="N of at least 1"):
        spearman(np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match="must be finite"):
        within(TRUTHS, np.array([1.0, np.nan, 1.0, 1.0]))
    with pytest.raises(ValueError, match=r"must be positive .* but got 0"):
        mape(np.zeros(1), np.ones(1))


def test_held_out_error_gathers_all() -> None:
    """Each field is the function of its name."""
    error = held_out_error(TRUTHS, PREDICTIONS, np.array([True, True, False, True]))
    assert (error.samples, error.coverage) == (4, 0.75)
    assert error.mape == mape(TRUTHS, PREDICTIONS)
    assert error.within_10_percent == within(TRUTHS, PREDICTIONS)
    assert error.spearman == spearman(TRUTHS, PREDICTIONS)


def test_bounds_are_the_finite_sample_quantiles() -> None:
    """With 39 residuals the 38th smallest on each side; with 19 the largest."""
    residuals = np.arange(-19.0, 20.0)
    bounds = calibrate(residuals)
    assert (bounds.lower, bounds.upper) == (-18, 18)
    bounds = calibrate(np.arange(-9.0, 10.0))
    assert (bounds.lower, bounds.upper) == (-9, 9)


def test_few_residuals_widen_the_bounds() -> None:
    """Below 19 the largest in magnitude counts on both sides, and below 9 it is widened."""
    assert calibrate(np.array([0.0] * 9 + [-2.0])).upper == 2
    bounds = calibrate(np.array([0.0, 0.1, -1.0, 0.2, 0.3]))
    assert bounds.upper == pytest.approx(1.32)
    assert bounds.lower == pytest.approx(-1.32)


@pytest.mark.parametrize("count", [5, 8, 12, 19, 40])
def test_one_sided_bounds_hold_95_percent_of_normal_residuals(count: int) -> None:
    """On average over many calibrations, on each side."""
    rng = np.random.default_rng(count)
    residuals = rng.standard_normal((3000, count))
    above = stats.norm.sf([calibrate(row).upper for row in residuals]).mean()
    below = stats.norm.cdf([calibrate(row).lower for row in residuals]).mean()
    assert 0.02 < above < 0.056
    assert 0.02 < below < 0.056


def test_bounds_never_exclude_the_prediction() -> None:
    """Residuals that are all on one side give a bound of zero on the other."""
    bounds = calibrate(np.linspace(0.1, 0.2, 30))
    assert bounds.lower == 0
    assert bounds.upper > 0.19


def test_coverage_leaves_out_the_residual_that_it_checks() -> None:
    """The one outlier among thirty lies outside the bounds that the others give."""
    log_means = np.zeros(30)
    values = np.ones(30)
    values[7] = 3.0
    assert assess(values, log_means).coverage == pytest.approx(29 / 30)


def test_folds_hold_out_each_sample_once() -> None:
    """Ten folds, or one a sample when there are fewer."""
    for count, expected in ((5, 5), (10, 10), (37, 10)):
        folds = split_folds(count, seed=3)
        assert len(folds) == expected
        assert sorted(np.concatenate(folds).tolist()) == list(range(count))
