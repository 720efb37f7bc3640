"""Contract of predictors, checked for every registered method on simulated devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from made_up_devices import (
    SPACE,
    TARGET_DEVICE,
    Device,
    drawn,
    jumping_latencies_ms,
    sources_of,
)

from nas.prediction.predictor import (
    MIN_SAMPLES,
    FloatArray,
    Given,
    Predictor,
    PredictorMethod,
    batch_of,
    load_predictor,
)
from nas.space.architecture import Architecture
from nas.space.plug_ins import plug_in_names
from nas.values.other_target import Source
from predictors.quality import mape, spearman

METHODS = plug_in_names("nas.predictors")
TRANSFERRING = ("stacked", "transfer")
"""These learn from sources; others ignore them."""
SOURCES = sources_of(drawn(150, seed=900))

latencies_ms = Device().latencies_ms


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Return the name of a registered method."""
    name: str = request.param
    return name


def fitting(method: str) -> Callable[..., Predictor]:
    """Return the method for the simulated space; ``transfer`` gets sources, because without them it equals ``gp``."""
    given: dict[str, Any] = {"target": "made up", "seed": 0}
    if method == "transfer":
        given["sources"] = SOURCES
    return partial(load_predictor(method), SPACE, **given)


@pytest.fixture
def fit(method: str) -> Callable[..., Predictor]:
    """Return the method with its sources."""
    return fitting(method)


@cache
def fitted(method: str, count: int) -> Predictor:
    """Return a predictor of latencies of the architectures ``drawn(count, seed=0)``; fits are cached."""
    seen = drawn(count, seed=0)
    return fitting(method)(seen, latencies_ms(seen))


def fit_plainly(
    method: str, architectures: Sequence[Architecture], values: FloatArray, sources: Sequence[Source] = ()
) -> Predictor:
    """Fit a registered method with the given sources, by default none."""
    return load_predictor(method)(SPACE, architectures, values, target="made up", sources=sources, seed=0)


def noisy(values: FloatArray, share: float, seed: int) -> FloatArray:
    """Return values with relative noise."""
    spoilt: FloatArray = values * np.exp(share * np.random.default_rng(seed).standard_normal(len(values)))
    return spoilt


class TestPredictor:
    """Promises of every predictor."""

    def test_the_same_seed_gives_the_same_predictor(self, method: str, fit: PredictorMethod) -> None:
        """Predictions and errors depend only on the samples and the seed."""
        seen, fresh = drawn(30, seed=0), drawn(10, seed=1)
        first, second = fitted(method, 30), fit(seen, latencies_ms(seen))
        assert first.held_out == second.held_out
        one, other = first.predict(fresh), second.predict(fresh)
        for field in ("mean", "lower", "upper", "limit", "known"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))

    def test_fitting_leaves_its_samples_alone(self, fit: PredictorMethod) -> None:
        """The caller's values are unchanged."""
        seen = drawn(12, seed=0)
        values = latencies_ms(seen)
        before = values.copy()
        fit(seen, values)
        np.testing.assert_array_equal(values, before)

    @pytest.mark.parametrize("count", [MIN_SAMPLES, 30])
    def test_bounds_are_positive_and_in_order(self, fit: PredictorMethod, count: int) -> None:
        """0 < lower <= mean <= limit and upper, also with the fewest samples."""
        seen, fresh = drawn(count, seed=count), drawn(50, seed=100)
        predictor = fit(seen, jumping_latencies_ms(seen))
        prediction = predictor.predict(fresh)
        assert len(prediction) == 50
        assert (prediction.lower > 0).all()
        assert (prediction.lower <= prediction.mean).all()
        assert (prediction.mean <= prediction.upper).all()
        assert (prediction.mean <= prediction.limit).all()
        assert np.isfinite(prediction.upper).all()
        assert np.isfinite(prediction.limit).all()
        assert prediction.known.dtype == np.bool_

    def test_held_out_error_sums_up_the_held_out_predictions(self, method: str) -> None:
        """Held-out predictions follow the order of the samples, and lie between their bounds."""
        predictor, values = fitted(method, 30), latencies_ms(drawn(30, seed=0))
        held_out, error = predictor.held_out_predictions, predictor.held_out
        np.testing.assert_array_equal(held_out.values, values)
        assert (held_out.lower <= held_out.mean).all()
        assert (held_out.mean <= held_out.upper).all()
        assert error.samples == 30
        assert error.mape == mape(values, held_out.mean)
        assert error.spearman == spearman(values, held_out.mean)
        assert error.coverage == np.mean((held_out.lower <= values) & (values <= held_out.upper))
        assert error.width == np.median((held_out.upper - held_out.lower) / held_out.mean)

    def test_each_architecture_is_predicted_by_itself(self, method: str) -> None:
        """A prediction does not depend on its batch, except for single-precision rounding; a batch may be empty."""
        predictor, fresh = fitted(method, 30), drawn(300, seed=1)
        together = predictor.predict(fresh)
        for index in (0, 3, 299):
            alone, in_company = predictor.predict([fresh[index]])[0], together[index]
            assert alone.mean == pytest.approx(in_company.mean, rel=1e-3)
            assert alone.upper == pytest.approx(in_company.upper, rel=1e-3)
            assert alone.known == in_company.known
        assert len(predictor.predict([])) == 0

    def test_described_architectures_are_predicted_alike(self, method: str) -> None:
        """``predict`` equals ``predict_described`` of ``batch_of``."""
        predictor, fresh = fitted(method, 30), drawn(20, seed=1)
        one, other = predictor.predict(fresh), predictor.predict_described(batch_of(SPACE, fresh))
        for field in ("mean", "lower", "upper", "limit", "known"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))

    @pytest.mark.parametrize("scale", [1e-6, 1e9])
    def test_the_unit_does_not_matter(self, method: str, fit: PredictorMethod, scale: float) -> None:
        """Predictions scale with the values, except for rounding in ties between splits of a tree."""
        seen, fresh = drawn(12, seed=0), drawn(6, seed=1)
        plain, scaled = fitted(method, 12).predict(fresh), fit(seen, latencies_ms(seen) * scale).predict(fresh)
        np.testing.assert_allclose(scaled.upper, plain.upper * scale, rtol=0.05)
        np.testing.assert_allclose(scaled.limit, plain.limit * scale, rtol=0.05)

    def test_too_few_samples_are_refused(self, fit: PredictorMethod) -> None:
        """The error gives the rule and then the number."""
        seen = drawn(MIN_SAMPLES - 1, seed=0)
        with pytest.raises(ValueError, match=f"at least {MIN_SAMPLES} samples, but got {MIN_SAMPLES - 1}"):
            fit(seen, latencies_ms(seen))

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
    def test_values_that_are_not_positive_and_finite_are_refused(self, fit: PredictorMethod, value: float) -> None:
        """A failed measurement is not a sample."""
        seen = drawn(10, seed=0)
        values = latencies_ms(seen)
        values[3] = value
        with pytest.raises(ValueError, match=f"positive and finite, but got {value}"):
            fit(seen, values)

    def test_one_value_an_architecture(self, fit: PredictorMethod) -> None:
        """A different number of values is refused."""
        with pytest.raises(ValueError, match=r"one value for each architecture, shape \(10,\), but got \(9,\)"):
            fit(drawn(10, seed=0), np.ones(9))

    def test_architectures_of_another_space_are_refused(self, method: str, fit: PredictorMethod) -> None:
        """The error names the choice, in fitting and in predicting."""
        seen = drawn(10, seed=0)
        values = latencies_ms(seen)
        strange_option = Architecture({**seen[0], "width1": 99})
        strange_choice = Architecture({**seen[0], "colour": "red"})
        with pytest.raises(ValueError, match=r"width1 must be one of \(8, 16, 24, 32\), but got 99"):
            fit([strange_option, *seen[1:]], values)
        predictor = fitted(method, 12)
        with pytest.raises(ValueError, match=r"width1 must be one of \(8, 16, 24, 32\), but got 99"):
            predictor.predict([strange_option])
        with pytest.raises(ValueError, match="colour"):
            predictor.predict([strange_choice])

    @pytest.mark.parametrize("count", [MIN_SAMPLES, 30])
    def test_values_that_do_not_vary_are_predicted(self, method: str, fit: PredictorMethod, count: int) -> None:
        """Constant values, such as counted bytes, have no rank correlation."""
        predictor = fit(drawn(count, seed=0), np.full(count, 4096.0))
        prediction = predictor.predict(drawn(20, seed=1))
        few_costs = method == "additive" and count == MIN_SAMPLES  # layers may account for a part of the constant
        np.testing.assert_allclose(prediction.mean, 4096, rtol=0.3 if few_costs else 0.05)
        assert np.isnan(predictor.held_out.spearman)
        assert np.isnan(predictor.held_out.kendall)
        assert predictor.held_out.mape < 0.05

    def test_equal_architectures_are_allowed(self, fit: PredictorMethod) -> None:
        """Features that do not vary are no error."""
        seen = drawn(1, seed=0) * 8
        predictor = fit(seen, np.linspace(1, 1.2, 8))
        prediction = predictor.predict([*seen[:1], *drawn(5, seed=1)])
        assert 1 <= prediction.mean[0] <= 1.2
        assert prediction.known[0]
        assert np.isfinite(prediction.upper).all()

    def test_values_of_one_architecture_are_averaged(self, fit: PredictorMethod) -> None:
        """Two values, 5 % above and 5 % below, are predicted near their middle."""
        seen = drawn(14, seed=0)
        values = latencies_ms(seen)
        predictor = fit([*seen, *seen], np.concatenate([values * 1.05, values * 0.95]))
        assert mape(values, predictor.predict(seen).mean) < 0.03

    def test_whole_milliseconds_are_enough(self, fit: PredictorMethod) -> None:
        """Values of a coarse clock have many ties, and still separate fast from slow."""
        seen, fresh = drawn(40, seed=0), drawn(200, seed=1)
        unit_ms = np.median(latencies_ms(seen)) / 4
        coarse = np.maximum(1.0, np.round(latencies_ms(seen) / unit_ms))
        assert len(set(coarse)) < 25
        predictor = fit(seen, coarse)
        assert spearman(latencies_ms(fresh), predictor.predict(fresh).mean) > 0.93

    def test_a_device_whose_layers_add_up(self, method: str) -> None:
        """Forty samples suffice to rank new architectures; the error depends on the method."""
        predictor, fresh = fitted(method, 40), drawn(200, seed=1)
        truths = latencies_ms(fresh)
        mean = predictor.predict(fresh).mean
        largest = {"additive": 0.005, "stacked": 0.03, "transfer": 0.05, "gp": 0.08, "trees": 0.15}[method]
        assert mape(truths, mean) < largest
        assert predictor.held_out.mape < largest
        assert spearman(truths, mean) > 0.97

    @pytest.mark.parametrize("values_ms", [latencies_ms, jumping_latencies_ms])
    def test_held_out_error_foretells_the_error_on_fresh_architectures(
        self, fit: PredictorMethod, values_ms: Callable[[Sequence[Architecture]], FloatArray]
    ) -> None:
        """The error on new architectures agrees with that of cross-validation."""
        seen, fresh = drawn(40, seed=2), drawn(200, seed=3)
        predictor = fit(seen, noisy(values_ms(seen), 0.03, seed=0))
        truths = noisy(values_ms(fresh), 0.03, seed=1)
        mean = predictor.predict(fresh).mean
        assert 0.6 < predictor.held_out.mape / mape(truths, mean) < 1.7
        assert predictor.held_out.spearman == pytest.approx(spearman(truths, mean), abs=0.06)

    @pytest.mark.parametrize("count", [8, 20])
    def test_bounds_hold_what_they_promise(self, fit: PredictorMethod, count: int) -> None:
        """On average over devices, bounds hold 90 % of new measurements, and the limit 95 %."""
        inside, below = [], []
        for seed in range(5):
            seen, fresh = drawn(count, seed=10 + seed), drawn(60, seed=200 + seed)
            predictor = fit(seen, noisy(latencies_ms(seen), 0.1, seed), seed=seed)
            truths = noisy(latencies_ms(fresh), 0.1, seed=100 + seed)
            prediction = predictor.predict(fresh)
            inside.append(((prediction.lower <= truths) & (truths <= prediction.upper)).mean())
            below.append((truths <= prediction.limit).mean())
        assert 0.85 < np.mean(inside) < 0.99
        assert np.mean(below) > 0.9
        assert np.mean(below) < 0.995 or count < 20  # from eight samples limits are cautious

    def test_what_is_unlike_the_samples_is_unknown(self, fit: PredictorMethod) -> None:
        """With shallow and narrow samples, deep and wide networks are unknown and have wider bounds."""
        shallow = [Architecture({**each, "depth0": 1, "depth1": 1, "width0": 8}) for each in drawn(40, seed=0)]
        seen, familiar = shallow[:15], shallow[15:]
        wide = {"depth0": 4, "width0": 32, "expansion0": 4, "depth1": 4, "width1": 32, "expansion1": 4}
        far = [Architecture({**each, **wide}) for each in drawn(15, seed=1)]
        predictor = fit(seen, latencies_ms(seen))
        near, away = predictor.predict(familiar), predictor.predict(far)
        assert near.known.mean() > 0.5
        assert not away.known.any()
        assert predictor.predict(seen).known.all()
        near_width, away_width = ((each.upper - each.lower) / each.mean for each in (near, away))
        assert np.median(away_width) > 1.3 * np.median(near_width)

    def test_a_predictor_cannot_be_changed(self, method: str) -> None:
        """Attributes of a fitted predictor cannot be assigned."""
        with pytest.raises(AttributeError):
            fitted(method, 12).held_out = None  # type: ignore[misc, assignment]


class TestSources:
    """Measurements of other targets."""

    def test_only_methods_that_transfer_use_them(self, method: str) -> None:
        """Other methods give the same predictions with sources."""
        seen, fresh = drawn(12, seed=0), drawn(20, seed=1)
        values = TARGET_DEVICE.latencies_ms(seen)
        without = fit_plainly(method, seen, values).predict(fresh).mean
        with_them = fit_plainly(method, seen, values, SOURCES).predict(fresh).mean
        assert np.array_equal(with_them, without) == (method not in TRANSFERRING)

    def test_a_source_needs_not_have_measured_the_samples(self, method: str) -> None:
        """Sources may measure other architectures, at other precisions, and may share some rows."""
        seen, others = drawn(12, seed=0), drawn(60, seed=901)
        first, second = sources_of(others)
        part = Source(second.target, second.architectures[30:], second.values[30:])
        assert not set(seen) & set(others)
        prediction = fit_plainly(method, seen, TARGET_DEVICE.latencies_ms(seen), [first, part]).predict(drawn(20, 1))
        assert np.isfinite(prediction.mean).all()

    @pytest.mark.parametrize("method", TRANSFERRING)
    @pytest.mark.parametrize(
        ("values", "rule"),
        [
            (np.ones(MIN_SAMPLES - 1), f"at least {MIN_SAMPLES} samples"),
            (np.array([1.0, 2.0, np.nan, 1.0, 1.0]), "positive and finite, but got nan"),
            (np.array([1.0, 2.0, 0.0, 1.0, 1.0]), "positive and finite, but got 0"),
        ],
    )
    def test_a_bad_source_is_refused_by_its_name(self, method: str, values: FloatArray, rule: str) -> None:
        """The error names the target, then the rule and the value."""
        bad = Source("phone @ int8", drawn(len(values), seed=3), values)
        with pytest.raises(ValueError, match=f"phone @ int8.*{rule}"):
            fit_plainly(method, drawn(10, seed=0), np.ones(10), [*SOURCES, bad])

    @pytest.mark.parametrize("method", TRANSFERRING)
    def test_ten_samples_suffice_with_two_related_sources(self, method: str) -> None:
        """Over several draws of samples, the error is less than half of that without sources."""
        fresh = drawn(100, seed=1)
        truths = TARGET_DEVICE.latencies_ms(fresh)
        errors: dict[str, list[float]] = {method: [], "gp": []}
        for seed in range(3):
            seen = drawn(10, seed=20 + seed)
            values = noisy(TARGET_DEVICE.latencies_ms(seen), 0.02, seed)
            for name, found in errors.items():
                found.append(mape(truths, fit_plainly(name, seen, values, SOURCES).predict(fresh).mean))
        assert np.mean(errors[method]) < 0.5 * np.mean(errors["gp"])
        assert np.mean(errors[method]) < 0.1

    @pytest.mark.parametrize("method", TRANSFERRING)
    def test_unrelated_sources_do_little_harm(self, method: str) -> None:
        """Sources of pure noise increase errors by at most a third."""
        rng = np.random.default_rng(0)
        rows, fresh = drawn(100, seed=902), drawn(100, seed=1)
        noise = [Source(f"noise {n}", rows, np.exp(rng.standard_normal(len(rows)))) for n in range(2)]
        truths = latencies_ms(fresh)
        errors: dict[str, list[float]] = {method: [], "gp": []}
        for seed in range(2):
            seen = drawn(14, seed=20 + seed)
            for name, found in errors.items():
                predictor = fit_plainly(name, seen, latencies_ms(seen), noise)
                found.append(mape(truths, predictor.predict(fresh).mean))
        assert np.mean(errors[method]) < 1.33 * np.mean(errors["gp"])

    @pytest.mark.parametrize("method", TRANSFERRING)
    def test_a_stalled_row_of_a_source_does_little_harm(self, method: str) -> None:
        """One source value that is a hundred times too large hardly changes the errors."""
        seen, fresh = drawn(10, seed=20), drawn(100, seed=1)
        values, truths = TARGET_DEVICE.latencies_ms(seen), TARGET_DEVICE.latencies_ms(fresh)
        stalled = [replace(source, values=source.values.copy()) for source in SOURCES]
        stalled[0].values[5] *= 100
        plain, spoilt = (
            mape(truths, fit_plainly(method, seen, values, sources).predict(fresh).mean)
            for sources in (SOURCES, stalled)
        )
        assert spoilt < plain + 0.05


class TestGiven:
    """Features that are given for every architecture."""

    def test_every_method_takes_it(self, method: str) -> None:
        """Every method accepts them, and ``predict`` computes them itself."""
        seen, fresh = drawn(12, seed=0), drawn(20, seed=1)
        given = [Given("log latency_ms", lambda architectures: np.log(jumping_latencies_ms(architectures)))]
        predictor = load_predictor(method)(SPACE, seen, latencies_ms(seen), target="made up", given=given, seed=0)
        described = predictor.predict_described(batch_of(SPACE, fresh, given))
        np.testing.assert_array_equal(predictor.predict(fresh).mean, described.mean)

    @pytest.mark.parametrize("method", TRANSFERRING)
    def test_a_known_latency_improves_energy(self, method: str) -> None:
        """Ten energies suffice on a device whose power varies little."""

        def log_latencies(architectures: Sequence[Architecture]) -> FloatArray:
            logs: FloatArray = np.log(jumping_latencies_ms(architectures))
            return logs

        fresh = drawn(100, seed=1)
        truths_mj = 3 * jumping_latencies_ms(fresh) ** 1.1
        errors: dict[bool, list[float]] = {False: [], True: []}
        for seed in range(2):
            seen = drawn(10, seed=20 + seed)
            energies_mj = noisy(3 * jumping_latencies_ms(seen) ** 1.1, 0.02, seed)
            for told, found in errors.items():
                given = [Given("log latency_ms", log_latencies)] if told else []
                predictor = load_predictor(method)(SPACE, seen, energies_mj, target="made up", given=given, seed=0)
                found.append(mape(truths_mj, predictor.predict(fresh).mean))
        assert np.mean(errors[True]) < 0.85 * np.mean(errors[False])
