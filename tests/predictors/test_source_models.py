"""Predictions of sources for architectures that they did not measure, and features made from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from made_up_devices import SOURCE_DEVICES, SPACE, TARGET_DEVICE, Device, drawn, sources_of

from nas.prediction.predictor import FloatArray, Given, batch_of
from nas.space.architecture import Architecture
from nas.values.other_target import Source
from predictors.gp import fit_gp
from predictors.quality import spearman
from predictors.source_models import SourceModels, given_alone, logs_elsewhere, sift, source_models
from predictors.transfer import fit_transfer

ROWS = drawn(120, seed=900)
SOURCES = sources_of(ROWS)


def said(models: SourceModels, architectures: Sequence[Architecture]) -> FloatArray:
    """Return the standardised predictions of all sources, shape (N, sources), from their components."""
    _, blocks = models.describe(batch_of(SPACE, architectures))
    components = blocks.components * np.sqrt((models.deviations**2).sum())
    turned: FloatArray = components @ models.axes.T
    return turned


def test_sources_are_predicted_where_they_did_not_measure() -> None:
    """Each source's values of new architectures are ranked nearly correctly."""
    fresh = drawn(100, seed=1)
    predicted = said(source_models(SPACE, SOURCES, ()), fresh)
    for index, device in enumerate(SOURCE_DEVICES.values()):
        assert spearman(device.latencies_ms(fresh), predicted[:, index]) > 0.98


def test_a_long_table_is_sampled_whatever_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a table sorted by latency, the first rows would not cover slow architectures."""
    monkeypatch.setattr("predictors.source_models._MOST_ROWS", 60)
    device = Device()
    rows = drawn(240, seed=902)
    ordered = [rows[place] for place in np.argsort(device.latencies_ms(rows))]
    source = Source("sorted", ordered, device.latencies_ms(ordered))
    slow = ordered[-60:]
    predicted = said(source_models(SPACE, (source,), ()), slow)[:, 0]
    assert spearman(device.latencies_ms(slow), predicted) > 0.8


def test_noise_of_a_source_is_smoothed() -> None:
    """At a source's own rows, predictions are closer to the truth than measurements with 20 % noise."""
    device = Device()
    truth = np.sqrt(device.latencies_ms(ROWS))
    noisy = device.latencies_ms(ROWS) * np.exp(0.2 * np.random.default_rng(0).standard_normal(len(ROWS)))
    predicted = said(source_models(SPACE, (Source("noisy", ROWS, noisy),), ()), ROWS)[:, 0]
    assert np.corrcoef(truth, predicted)[0, 1] > np.corrcoef(truth, np.sqrt(noisy))[0, 1]


def test_blocks_are_of_unit_size() -> None:
    """Blocks have unit size over the rows of any number of sources."""
    _, blocks = source_models(SPACE, SOURCES, ()).describe(batch_of(SPACE, ROWS))
    assert blocks.common.shape == (120, 1)
    for block in (blocks.common, blocks.components, blocks.whitened):
        np.testing.assert_allclose(block.mean(axis=0), 0, atol=1e-3)
        assert (block**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-2)
    variances = blocks.whitened.var(axis=0)
    np.testing.assert_allclose(variances, variances[0], rtol=1e-2)


def test_sources_that_measured_the_same_share_a_kernel() -> None:
    """Other sources have separate groups, in their order."""
    elsewhere = sources_of(drawn(50, seed=901))
    models = source_models(SPACE, (*SOURCES, *elsewhere), ())
    assert [group.weights.shape[1] for group in models.groups] == [2, 2]
    assert said(models, ROWS[:3]).shape == (3, 4)
    again = source_models(SPACE, (SOURCES[0], elsewhere[0], SOURCES[1]), ())
    assert [group.weights.shape[1] for group in again.groups] == [2, 1]


def test_models_are_fitted_once() -> None:
    """The same sources return the cached object."""
    assert source_models(SPACE, SOURCES, ()) is source_models(SPACE, SOURCES, ())


def test_a_bad_source_is_named() -> None:
    """Too few values, non-positive values, and a wrong number of values are refused."""
    for values, message in (
        (np.ones(3), "source phone: a predictor must be fitted to at least 5 samples, but got 3"),
        (np.array([1.0, 1, 1, 1, -2]), "source phone: values must be positive and finite, but got -2"),
    ):
        with pytest.raises(ValueError, match=message):
            source_models(SPACE, (*SOURCES, Source("phone", ROWS[: len(values)], values)), ())
    with pytest.raises(
        ValueError, match=r"source phone: values must have one value for each architecture, shape \(120,\)"
    ):
        source_models(SPACE, (Source("phone", ROWS, np.ones(7)),), ())


def test_a_source_that_does_not_vary_says_nothing() -> None:
    """Features of the other source stay finite, with the same ranks."""
    constant = Source("constant", ROWS, np.full(len(ROWS), 3.0))
    _, blocks = source_models(SPACE, (SOURCES[0], constant), ()).describe(batch_of(SPACE, ROWS))
    assert np.isfinite(np.hstack([blocks.common, blocks.components, blocks.whitened])).all()
    assert abs(spearman(SOURCES[0].values, blocks.components[:, 0])) > 0.95
    _, alone = source_models(SPACE, (constant,), ()).describe(batch_of(SPACE, ROWS))
    assert np.isfinite(np.hstack([alone.common, alone.components, alone.whitened])).all()


def test_what_is_given_counts_as_a_source() -> None:
    """A given feature works with sources and alone, centred and scaled over the samples."""

    def log_latencies(architectures: Sequence[Architecture]) -> FloatArray:
        logs: FloatArray = np.log(TARGET_DEVICE.latencies_ms(architectures))
        return logs

    given = (Given("log latency_ms", log_latencies),)
    fresh = drawn(50, seed=1)
    models = given_alone(SPACE, batch_of(SPACE, drawn(30, seed=2), given))
    _, blocks = models.describe(batch_of(SPACE, fresh, given))
    assert models.groups == ()
    assert np.corrcoef(blocks.common[:, 0], log_latencies(fresh))[0, 1] == pytest.approx(1)
    both = source_models(SPACE, SOURCES, given)
    assert both.axes.shape[0] == 3


def test_costs_elsewhere_are_told_of_architectures_that_no_source_measured() -> None:
    fresh = drawn(100, seed=1)
    logs = logs_elsewhere(SPACE, fresh, SOURCES)
    assert logs.shape == (100, len(SOURCES))
    assert np.corrcoef(logs.mean(axis=1), np.log(TARGET_DEVICE.latencies_ms(fresh)))[0, 1] > 0.9
    assert logs_elsewhere(SPACE, fresh, ()).shape == (100, 0)


def test_transfer_without_sources_is_the_process_alone() -> None:
    """All predictions are equal."""
    seen, fresh = drawn(12, seed=0), drawn(20, seed=1)
    values = TARGET_DEVICE.latencies_ms(seen)
    one, other = (fit(SPACE, seen, values, target="made up", seed=0).predict(fresh) for fit in (fit_transfer, fit_gp))
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.upper, other.upper)


def test_a_target_in_other_units_is_as_close_to_its_sources() -> None:
    """Units do not matter: a source in seconds helps as much as one in milliseconds."""
    seen, fresh = drawn(10, seed=0), drawn(50, seed=1)
    in_seconds = tuple(Source(source.target, source.architectures, source.values / 1000) for source in SOURCES)
    values = TARGET_DEVICE.latencies_ms(seen)
    one, other = (
        fit_transfer(SPACE, seen, values, target="made up", sources=sources, seed=0).predict(fresh).mean
        for sources in (SOURCES, in_seconds)
    )
    np.testing.assert_allclose(one, other, rtol=1e-3)


def test_sources_that_follow_from_their_layers_are_told_from_noise() -> None:
    """Shuffled values, random numbers and equal values tell nothing; a source that errs by a fifth tells something."""
    rng = np.random.default_rng(0)
    first = SOURCES[0]
    rough = Source("rough", ROWS, first.values * np.exp(0.2 * rng.standard_normal(len(ROWS))))
    useless = (
        Source("shuffled", ROWS, rng.permutation(first.values)),
        Source("random", ROWS, rng.lognormal(size=len(ROWS))),
        Source("equal", ROWS, np.ones(len(ROWS))),
    )
    sifted = sift(SPACE, (useless[0], *SOURCES, *useless[1:], rough))
    assert sifted.believable == (*SOURCES, rough)
    assert sifted.ignored == ("shuffled", "random", "equal")
    few = Source("few", ROWS[:19], useless[0].values[:19])
    assert sift(SPACE, (few,)).believable == (few,)
    assert logs_elsewhere(SPACE, ROWS, useless).shape == (len(ROWS), 0)


def test_costs_on_other_targets_are_told_relative_to_their_medians() -> None:
    models = source_models(SPACE, SOURCES, ())
    logs = models.logs(batch_of(SPACE, ROWS))
    assert logs.shape == (len(ROWS), len(SOURCES))
    for column, source in zip(logs.T, SOURCES, strict=True):
        np.testing.assert_allclose(column, np.log(source.values / np.median(source.values)), atol=0.1)
