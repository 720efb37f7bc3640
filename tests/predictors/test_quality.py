"""Rank correlation, relative error and coverage, against values by hand and by scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from nas.prediction.predictor import HeldOut
from predictors.conformal import Calibration, calibrate, hold_out, split_folds
from predictors.quality import coverage, held_out_error, kendall, mape, spearman, width, within

TRUTHS = np.array([1.0, 2.0, 4.0, 10.0])
PREDICTIONS = np.array([1.1, 1.9, 5.0, 10.0])


def test_values_by_hand() -> None:
    """The relative errors are 10, 5, 25 and 0 %."""
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
    """Different shapes, empty arrays, NaN and truths without a relative error are refused."""
    with pytest.raises(ValueError, match=r"must be the same \(N,\).* but got \(4,\) and \(3,\)"):
        mape(TRUTHS, PREDICTIONS[:3])
    with pytest.raises(ValueError, match="N of at least 1"):
        spearman(np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match="must be finite"):
        within(TRUTHS, np.array([1.0, np.nan, 1.0, 1.0]))
    with pytest.raises(ValueError, match=r"must be positive .* but got 0"):
        mape(np.zeros(1), np.ones(1))


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=3, max_size=12))
def test_kendall_counts_pairs_and_corrects_for_ties(pairs: list[tuple[int, int]]) -> None:
    """Concordant minus discordant pairs are divided by the root of the pairs without ties on either side."""
    first, second = np.array(pairs, dtype=np.float64).T
    signs = [
        (np.sign(first[one] - first[other]), np.sign(second[one] - second[other]))
        for one in range(len(first))
        for other in range(one)
    ]
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    if min(untied) > 0:
        expected = sum(one * other for one, other in signs) / math.sqrt(untied[0] * untied[1])
        assert kendall(first, second) == pytest.approx(expected)
    else:
        assert math.isnan(kendall(first, second))


def test_held_out_error_gathers_all() -> None:
    """Each field equals the function of the same name."""
    lower, upper = np.array([0.9, 1.8, 4.5, 9.0]), np.array([1.2, 2.0, 5.5, 12.0])
    error = held_out_error(HeldOut(TRUTHS, PREDICTIONS, lower, upper))
    assert (error.samples, error.coverage) == (4, 0.75)
    assert error.mape == mape(TRUTHS, PREDICTIONS)
    assert error.within_5_percent == within(TRUTHS, PREDICTIONS, 0.05)
    assert error.within_10_percent == within(TRUTHS, PREDICTIONS)
    assert error.spearman == spearman(TRUTHS, PREDICTIONS)
    assert error.kendall == kendall(TRUTHS, PREDICTIONS)
    assert error.width == width(lower, PREDICTIONS, upper)


def test_width_is_the_median_relative_to_the_prediction() -> None:
    """The widths are 0.2, 0.5 and 3 by hand."""
    assert width(np.array([0.9, 1.5, 1.0]), np.array([1.0, 2.0, 1.0]), np.array([1.1, 2.5, 4.0])) == pytest.approx(0.5)


def test_bounds_are_the_finite_sample_quantiles() -> None:
    """Of 39 scores, the two-sided bound is the 36th smallest magnitude, the one-sided bound the 38th smallest."""
    scores = np.arange(1.0, 40.0) * np.where(np.arange(39) % 2 == 0, 1, -1)
    calibration = calibrate(scores)
    assert calibration.either == 36
    assert calibration.above == 37  # of the 20 odd ones above zero, the second largest
    calibration = calibrate(np.arange(-9.0, 10.0))
    assert (calibration.either, calibration.above) == (9, 9)


def test_few_scores_widen_the_bounds() -> None:
    """With fewer than 19 scores above, or 9 on either side, the largest magnitude counts, widened."""
    ten = np.array([0.0] * 9 + [-2.0])
    assert (calibrate(ten).either, calibrate(ten).above) == (2, 2)
    five = calibrate(np.array([0.0, 0.1, -1.0, 0.2, 0.3]))
    assert five.either == pytest.approx(1.32)
    assert five.above == pytest.approx(1.32)


@pytest.mark.parametrize("count", [5, 8, 12, 19, 40])
def test_bounds_hold_normal_scores(count: int) -> None:
    """Averaged over many calibrations, 90 % lie within the bounds and 95 % below the limit."""
    rng = np.random.default_rng(count)
    calibrations = [calibrate(row) for row in rng.standard_normal((3000, count))]
    outside = 2 * stats.norm.sf([calibration.either for calibration in calibrations]).mean()
    above = stats.norm.sf([calibration.above for calibration in calibrations]).mean()
    assert 0.05 < outside < 0.112
    assert 0.02 < above < 0.056


def test_the_limit_never_lies_below_the_prediction() -> None:
    """With negative scores alone, the limit equals the mean."""
    calibration = calibrate(np.linspace(-0.2, -0.1, 30))
    assert calibration.above == 0
    assert calibration.either > 0.19


def test_bounds_are_factors_of_the_prediction() -> None:
    """By hand: a mean of two has bounds at a factor of two, or of four with double spread."""
    calibration = Calibration(either=math.log(2), above=math.log(1.5))
    known = np.array([True, False])
    prediction = calibration.bound(np.log([2.0, 2.0]), np.array([1.0, 2.0]), known)
    np.testing.assert_allclose(prediction.mean, [2, 2])
    np.testing.assert_allclose(prediction.lower, [1, 0.5])
    np.testing.assert_allclose(prediction.upper, [4, 8])
    np.testing.assert_allclose(prediction.limit, [3, 4.5])
    assert prediction[1].known is False
    assert prediction[0].limit == pytest.approx(3)


def test_coverage_leaves_out_the_residual_that_it_checks() -> None:
    """One outlier among thirty lies outside the bounds from the others, and widens their bounds."""
    values = np.exp(np.linspace(-0.1, 0.1, 30))
    values[7] = 3.0
    held_out = hold_out(values, np.zeros(30), np.ones(30))
    inside = (held_out.lower <= values) & (values <= held_out.upper)
    assert not inside[7]
    others = np.delete(np.log(values), 7)
    assert held_out.upper[7] == pytest.approx(math.exp(calibrate(others).either))


def test_surer_predictions_have_narrower_held_out_bounds() -> None:
    """Held-out bounds are proportional to the spreads."""
    spreads = np.where(np.arange(40) % 2 == 0, 1.0, 3.0)
    values = np.exp(0.1 * spreads * np.where(np.arange(40) % 4 < 2, 1, -1))
    held_out = hold_out(values, np.zeros(40), spreads)
    np.testing.assert_allclose(np.log(held_out.upper), 0.1 * spreads)
    np.testing.assert_allclose(np.log(held_out.lower), -0.1 * spreads)


def test_folds_hold_out_each_sample_once() -> None:
    """There are ten folds, or one for each sample if there are fewer."""
    for count, expected in ((5, 5), (10, 10), (37, 10)):
        folds = split_folds(count, seed=3)
        assert len(folds) == expected
        assert sorted(np.concatenate(folds).tolist()) == list(range(count))
