"""Measurements that the others contradict: which are found, and that fits do without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from made_up_devices import SPACE, TARGET_DEVICE, Device, drawn, jumping_latencies_ms, sources_of

from nas.prediction.predictor import FloatArray, Given, batch_of, load_predictor
from nas.space.architecture import Architecture
from predictors.features import feature_map
from predictors.gp import fit_gp
from predictors.outliers import find_outliers
from predictors.processes.kernel import Inputs
from predictors.stacked import fit_stacked

METHODS = ("additive", "gp", "stacked", "transfer", "trees")
latencies_ms = Device().latencies_ms


def found(architectures: Sequence[Architecture], values: FloatArray) -> list[int]:
    """Return the indexes of outliers."""
    inputs = Inputs.of(feature_map(SPACE).of(batch_of(SPACE, architectures)))
    return find_outliers(inputs, values, seed=0).tolist()


def spoilt(values: FloatArray, factors: dict[int, float]) -> FloatArray:
    """Return values with some of them multiplied."""
    result = values.copy()
    for index, factor in factors.items():
        result[index] *= factor
    return result


@pytest.mark.parametrize(("count", "factor"), [(20, 0.01), (20, 100.0), (60, 0.2), (60, 5.0)])
def test_one_that_is_far_off_is_found(count: int, factor: float) -> None:
    """With more samples, one that is less far off is found too. Latencies of the space are up to fortyfold apart."""
    for index in range(count // 4):
        seen = drawn(count, seed=index)
        assert index in found(seen, spoilt(latencies_ms(seen), {index: factor}))


def test_several_are_found_though_each_hides_the_others() -> None:
    seen = drawn(60, seed=0)
    assert found(seen, spoilt(latencies_ms(seen), {3: 20.0, 17: 0.1, 40: 4.0, 59: 100.0})) == [3, 17, 40, 59]


@pytest.mark.slow
@pytest.mark.parametrize("values_ms", [latencies_ms, jumping_latencies_ms], ids=["smooth", "jumping"])
def test_no_outlier_is_seen_where_there_is_none(
    values_ms: Callable[[Sequence[Architecture]], FloatArray],
) -> None:
    """Nor is the smallest or the largest network, with a tenth of noise."""
    for seed in range(10):
        noise = np.exp(0.1 * np.random.default_rng(seed).standard_normal(60))
        seen = drawn(60, seed=seed)
        predictor = fit_gp(SPACE, seen, values_ms(seen) * noise, target="made up", seed=0)
        assert not predictor.grounds


def test_at_most_a_tenth_is_found_and_none_of_few() -> None:
    """More are no outliers, but another mode of the device; and five samples are the fewest that can be fitted."""
    seen = drawn(40, seed=0)
    halves = spoilt(latencies_ms(seen), dict.fromkeys(range(0, 40, 3), 10.0))
    assert len(found(seen, halves)) <= 4
    for count, most in ((6, 1), (15, 1), (35, 3)):
        several = drawn(count, seed=0)
        assert len(found(several, spoilt(latencies_ms(several), dict.fromkeys(range(0, count, 5), 100.0)))) <= most
    few = drawn(5, seed=0)
    assert not found(few, spoilt(latencies_ms(few), {2: 100.0}))


def test_readings_of_a_coarse_clock_are_no_outliers() -> None:
    """Neighbouring readings are, even where one is three times the other."""
    seen = drawn(20, seed=0)
    coarse = np.ceil(latencies_ms(seen) / np.median(latencies_ms(seen)))
    assert len(set(coarse.tolist())) < 8
    assert not found(seen, coarse)
    assert not found(seen, np.where(np.arange(20) == 7, 3.0, 1.0))
    assert not found(seen, np.full(20, 2.0))


def test_many_samples_are_compared_in_groups() -> None:
    seen = [*dict.fromkeys(drawn(900, seed=0))]
    assert len(seen) > 400
    assert found(seen, spoilt(latencies_ms(seen), {3: 30.0, 300: 0.05})) == [3, 300]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_fitted_without_outliers_and_names_them(name: str) -> None:
    """Predictions are those of a fit to the other samples; held-out predictions are of all, in their order."""
    seen, fresh = drawn(20, seed=0), drawn(50, seed=1)
    values = spoilt(latencies_ms(seen), {4: 100.0})
    fit = load_predictor(name)
    predictor = fit(SPACE, seen, values, target="made up", seed=0)
    without = fit(SPACE, seen[:4] + seen[5:], np.delete(values, 4), target="made up", seed=0)
    np.testing.assert_array_equal(predictor.predict(fresh).mean, without.predict(fresh).mean)
    np.testing.assert_array_equal(predictor.predict(fresh).upper, without.predict(fresh).upper)
    assert predictor.held_out == replace(without.held_out, samples=20)
    held_out, others = predictor.held_out_predictions, without.held_out_predictions
    np.testing.assert_array_equal(held_out.values, values)
    np.testing.assert_array_equal(np.delete(held_out.mean, 4), others.mean)
    assert held_out.mean[4] == predictor.predict([seen[4]]).mean[0]
    assert held_out.lower[4] < held_out.mean[4] < held_out.upper[4] < values[4]
    sentence = predictor.grounds[0]  # type: ignore[attr-defined]
    assert sentence.startswith(
        f"1 of 20 measurements is left out, because the others contradict it: {seen[4].id}, "
        f"{values[4] / held_out.mean[4]:,.0f} times too large."
    )
    assert sentence.endswith(" Measure it again.")


def test_what_the_fit_itself_tells_is_no_outlier() -> None:
    """The slowest of ten networks runs outside the cache; a fit without it tells its latency within a factor of two."""
    seen = drawn(10, seed=0)
    values = jumping_latencies_ms(seen)
    given = [Given("other", lambda architectures: np.log(latencies_ms(architectures)), is_cost=True)]
    predictor = fit_stacked(SPACE, seen, values, target="made up", given=given, seed=0)
    assert not any("left out" in sentence for sentence in predictor.grounds)
    assert predictor.held_out.samples == 10


@pytest.mark.slow
def test_other_targets_help_to_find_them() -> None:
    """With six samples, the ranks of other devices tell which value is wrong, and the sentence lists at most three."""
    seen = drawn(6, seed=3)
    values = spoilt(TARGET_DEVICE.latencies_ms(seen), {1: 30.0})
    sources = sources_of(drawn(200, seed=5))
    predictor = fit_stacked(SPACE, seen, values, target="made up", sources=sources, seed=0)
    assert predictor.grounds[0].startswith(
        f"1 of 6 measurements is left out, because the others contradict it: {seen[1].id}"
    )
    assert " times too large. Measure it again." in predictor.grounds[0]
    many = drawn(60, seed=0)
    values = spoilt(latencies_ms(many), dict.fromkeys((3, 17, 31, 40, 59), 50.0))
    predictor = fit_stacked(SPACE, many, values, target="made up", seed=0)
    assert predictor.grounds[0].startswith("5 of 60 measurements are left out, because the others contradict them: ")
    assert predictor.grounds[0].endswith("; 2 more. Measure them again.")


def test_exact_values_of_a_table_are_not_to_be_measured_again() -> None:
    """They are right, and the predictor alone does without them."""
    seen = drawn(20, seed=0)
    values = spoilt(latencies_ms(seen), {4: 100.0})
    for target in ("table", "table:pixel3"):
        sentence = fit_stacked(SPACE, seen, values, target=target, seed=0).grounds[0]
        assert sentence.startswith("1 of 20 values is left out of the predictor, because the others do not foretell it")
        assert " times larger. The table's own value counts" in sentence
        assert "Measure" not in sentence
