"""The default predictor copes with sources and samples as users have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_devices import SPACE, TARGET_DEVICE, drawn, sources_of

from nas.prediction.predictor import FloatArray
from nas.values.other_target import Source
from predictors.bounded import BoundedPredictor
from predictors.quality import mape, spearman
from predictors.stacked import fit_stacked

SEEN, FRESH, ROWS = drawn(12, seed=0), drawn(100, seed=1), drawn(150, seed=2)
VALUES, TRUTHS = TARGET_DEVICE.latencies_ms(SEEN), TARGET_DEVICE.latencies_ms(FRESH)


def fitted(*sources: Source, values: FloatArray = VALUES) -> BoundedPredictor:
    """Fit the default predictor to twelve samples, or to the first of them."""
    return fit_stacked(SPACE, SEEN[: len(values)], values, target="made up", sources=sources, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-6, 1000.0, 12345.678])
def test_a_source_in_another_unit_tells_the_same(factor: float) -> None:
    one, other = sources_of(ROWS)
    plain, scaled = fitted(one, other), fitted(one, replace(other, values=other.values * factor))
    np.testing.assert_allclose(scaled.predict(FRESH).mean, plain.predict(FRESH).mean, rtol=1e-4)
    np.testing.assert_allclose(scaled.predict(FRESH).limit, plain.predict(FRESH).limit, rtol=1e-3)


def test_a_source_that_is_the_target_itself_is_believed() -> None:
    """Even beside two that differ, five samples tell."""
    same = Source("same", ROWS, TARGET_DEVICE.latencies_ms(ROWS))
    values = TARGET_DEVICE.latencies_ms(SEEN[:5])
    predictor = fitted(*sources_of(ROWS), same, values=values)
    assert mape(TRUTHS, predictor.predict(FRESH).mean) < 0.05
    assert spearman(TRUTHS, predictor.predict(FRESH).mean) > 0.99


@pytest.mark.slow
def test_sources_that_lack_all_samples_still_help() -> None:
    """They are known by other architectures, and by models of those."""
    rows = [row for row in ROWS if row not in SEEN]
    with_sources, alone = fitted(*sources_of(rows)), fitted()
    assert mape(TRUTHS, with_sources.predict(FRESH).mean) < mape(TRUTHS, alone.predict(FRESH).mean)


def test_five_samples_of_a_space_with_more_choices_are_enough() -> None:
    assert len(SPACE.choices) > 5
    predictor = fitted(values=VALUES[:5])
    predicted = predictor.predict(FRESH)
    assert (predicted.lower < predicted.mean).all()
    assert ((predicted.lower <= TRUTHS) & (predicted.upper >= TRUTHS)).mean() > 0.8
    assert spearman(TRUTHS, predicted.mean) > 0.5


@pytest.mark.parametrize("with_sources", [False, True])
def test_equal_values_are_predicted_of_all(with_sources: bool) -> None:
    sources = sources_of(ROWS) if with_sources else ()
    predicted = fitted(*sources, values=np.full(12, 3.0)).predict(FRESH)
    np.testing.assert_allclose(predicted.mean, 3.0, rtol=1e-3)
    assert np.isfinite(predicted.limit).all()


@pytest.mark.slow
def test_ties_of_a_coarse_clock_are_learned() -> None:
    """Values are rounded up to five different readings; the order of the truths is mostly found."""
    step = VALUES.max() / 5
    predicted = fitted(*sources_of(ROWS), values=np.ceil(VALUES / step) * step).predict(FRESH)
    assert spearman(TRUTHS, predicted.mean) > 0.9
    assert (np.abs(predicted.mean - TRUTHS) < 1.5 * step).mean() > 0.9


@pytest.mark.slow
def test_two_modes_of_a_device_widen_the_bounds_and_keep_the_order() -> None:
    """Each value is a third higher with a chance of a half."""
    is_slow = np.random.default_rng(0).random(12) < 0.5
    steady, moody = fitted(*sources_of(ROWS)), fitted(*sources_of(ROWS), values=VALUES * np.where(is_slow, 1.33, 1.0))
    assert spearman(TRUTHS, moody.predict(FRESH).mean) > 0.9
    widths = [
        np.median((each.upper - each.lower) / each.mean) for each in (moody.predict(FRESH), steady.predict(FRESH))
    ]
    assert widths[0] > 1.3 * widths[1]
