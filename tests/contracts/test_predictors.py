"""What every way to predict promises, checked on devices made up of a formula."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from nas.architecture import Architecture
from nas.discovery import plug_in_names
from nas.layer import Layer
from nas.predictor import MIN_SAMPLES, FloatArray, PredictorMethod, Subject, load_predictor
from predictors.quality import mape, spearman
from predictors.trees import TreesPredictor

DEPTHS, WIDTHS, KERNELS, EXPANSIONS = (1, 2, 3, 4), (8, 16, 24, 32), (3, 5, 7), (1, 2, 4)


def made_up_subject(rng: np.random.Generator) -> Subject:
    """A chain of inverted residual blocks with random depth, and width, kernel and expansion a stage."""
    choices: dict[str, int] = {}
    encoding: list[float] = []
    layers = [Layer("conv", (3, 32, 32), (16, 32, 32), macs=442_368, params=448, kernel=3)]
    channels, side = 16, 32
    for stage in range(3):
        depth, width, kernel, expansion = (
            int(rng.choice(options)) for options in (DEPTHS, WIDTHS, KERNELS, EXPANSIONS)
        )
        for title, value, options in (
            ("depth", depth, DEPTHS),
            ("width", width, WIDTHS),
            ("kernel", kernel, KERNELS),
            ("expansion", expansion, EXPANSIONS),
        ):
            choices[f"{title}{stage}"] = value
            encoding += [float(value == option) for option in options]
        for _ in range(depth):
            inner, area = channels * expansion, side * side
            inside = (inner, side, side)
            layers += [
                Layer("conv", (channels, side, side), inside, channels * inner * area, channels * inner + inner),
                Layer("activation", inside, inside),
                Layer("depthwise_conv", inside, inside, kernel**2 * inner * area, kernel**2 * inner + inner, kernel),
                Layer("activation", inside, inside),
                Layer("conv", inside, (width, side, side), inner * width * area, inner * width + width),
            ]
            channels = width
        layers.append(Layer("pool", (channels, side, side), (channels, side // 2, side // 2)))
        side //= 2
    layers.append(Layer("linear", (channels,), (10,), macs=channels * 10, params=channels * 10 + 10))
    return Subject(Architecture(choices), tuple(layers), np.array(encoding))


def made_up_subjects(count: int, seed: int) -> list[Subject]:
    rng = np.random.default_rng(seed)
    return [made_up_subject(rng) for _ in range(count)]


def linear_latencies_ms(subjects: list[Subject]) -> FloatArray:
    """A device whose layers add up; activations are fused and free."""
    per_mac = {"conv": 1e-7, "depthwise_conv": 6e-7, "linear": 2e-7}
    return np.array(
        [
            0.05
            + sum(
                0.004 + per_mac.get(layer.kind, 0.0) * layer.macs + 2e-8 * layer.output_elements
                for layer in subject.layers
                if layer.kind != "activation"
            )
            for subject in subjects
        ]
    )


def jumping_latencies_ms(subjects: list[Subject]) -> FloatArray:
    """A device that rounds channels up to 16 and slows down where activations leave its cache."""
    return np.array(
        [
            0.1
            + sum(
                1e-7
                * layer.macs
                * (-(-layer.output_shape[0] // 16) * 16 / layer.output_shape[0])
                * (2.0 if layer.output_elements > 30_000 else 1.0)
                for layer in subject.layers
            )
            for subject in subjects
        ]
    )


@pytest.fixture(params=plug_in_names("nas.predictors"))
def fit(request: pytest.FixtureRequest) -> PredictorMethod:
    return load_predictor(request.param)


class TestPredictor:
    def test_the_same_seed_gives_the_same_predictor(self, fit: PredictorMethod) -> None:
        """Everything that a predictor says depends on its samples and seed alone."""
        subjects, fresh = made_up_subjects(24, seed=0), made_up_subjects(10, seed=1)
        values = linear_latencies_ms(subjects)
        first, second = fit(subjects, values, seed=5), fit(subjects, values, seed=5)
        assert first.held_out == second.held_out
        one, other = first.predict(fresh), second.predict(fresh)
        for field in ("mean", "lower", "upper"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))

    def test_fitting_leaves_its_samples_alone(self, fit: PredictorMethod) -> None:
        """The caller's values are as before."""
        subjects = made_up_subjects(12, seed=0)
        values = linear_latencies_ms(subjects)
        before = values.copy()
        fit(subjects, values, seed=0)
        np.testing.assert_array_equal(values, before)

    @pytest.mark.parametrize("count", [MIN_SAMPLES, MIN_SAMPLES + 1, 12, 30])
    def test_bounds_are_positive_and_in_order(self, fit: PredictorMethod, count: int) -> None:
        """0 < lower <= mean <= upper, for as few samples as are allowed too."""
        subjects, fresh = made_up_subjects(count, seed=count), made_up_subjects(50, seed=100)
        predictor = fit(subjects, jumping_latencies_ms(subjects), seed=0)
        prediction = predictor.predict(fresh)
        assert len(prediction) == 50
        assert (prediction.lower > 0).all()
        assert (prediction.lower <= prediction.mean).all()
        assert (prediction.mean <= prediction.upper).all()
        assert np.isfinite(prediction.upper).all()
        assert predictor.held_out.samples == count
        assert 0 <= predictor.held_out.coverage <= 1
        assert 0 <= predictor.held_out.within_10_percent <= 1

    def test_each_subject_is_predicted_by_itself(self, fit: PredictorMethod) -> None:
        """The company in which a subject is predicted does not matter; no subjects give no predictions."""
        subjects, fresh = made_up_subjects(20, seed=0), made_up_subjects(6, seed=1)
        predictor = fit(subjects, linear_latencies_ms(subjects), seed=0)
        together = predictor.predict(fresh)
        alone = [predictor.predict([subject])[0].mean for subject in fresh]
        np.testing.assert_allclose(together.mean, alone, rtol=1e-12)
        assert len(predictor.predict([])) == 0

    @pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
    def test_the_unit_does_not_matter(self, fit: PredictorMethod, scale: float) -> None:
        """Predictions scale with the values, but for ties between the splits of a tree that rounding breaks."""
        subjects, fresh = made_up_subjects(20, seed=0), made_up_subjects(6, seed=1)
        values = linear_latencies_ms(subjects)
        plain = fit(subjects, values, seed=0).predict(fresh)
        scaled = fit(subjects, values * scale, seed=0).predict(fresh)
        np.testing.assert_allclose(scaled.upper, plain.upper * scale, rtol=0.05)

    def test_too_few_samples_are_refused(self, fit: PredictorMethod) -> None:
        """The error says the rule and then the number."""
        subjects = made_up_subjects(MIN_SAMPLES - 1, seed=0)
        with pytest.raises(ValueError, match=f"at least {MIN_SAMPLES} samples, but got {MIN_SAMPLES - 1}"):
            fit(subjects, linear_latencies_ms(subjects), seed=0)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
    def test_values_that_are_not_positive_and_finite_are_refused(self, fit: PredictorMethod, value: float) -> None:
        """A failed measurement is not a sample."""
        subjects = made_up_subjects(10, seed=0)
        values = linear_latencies_ms(subjects)
        values[3] = value
        with pytest.raises(ValueError, match=f"positive and finite, but got {value}"):
            fit(subjects, values, seed=0)

    def test_one_value_a_subject(self, fit: PredictorMethod) -> None:
        """Another number of values is refused."""
        with pytest.raises(ValueError, match="one value a subject"):
            fit(made_up_subjects(10, seed=0), np.ones(9), seed=0)

    @pytest.mark.parametrize("count", [MIN_SAMPLES, 25])
    def test_values_that_do_not_vary_are_predicted(self, fit: PredictorMethod, count: int) -> None:
        """As may happen with counted bytes; no rank correlation exists then."""
        predictor = fit(made_up_subjects(count, seed=0), np.full(count, 4096.0), seed=0)
        prediction = predictor.predict(made_up_subjects(20, seed=1))
        np.testing.assert_allclose(prediction.mean, 4096, rtol=0.05)
        assert np.isnan(predictor.held_out.spearman)
        assert predictor.held_out.mape < 0.05

    def test_equal_subjects_are_allowed(self, fit: PredictorMethod) -> None:
        """Features that do not vary are no reason to fail."""
        subjects = made_up_subjects(1, seed=0) * 8
        prediction = fit(subjects, np.linspace(1, 1.2, 8), seed=0).predict(subjects[:1])
        assert 1 <= prediction.mean[0] <= 1.2

    def test_a_device_whose_layers_add_up(self, fit: PredictorMethod) -> None:
        """Sixty measurements suffice to rank fresh architectures; what knows of adding up is within 1 %, trees 12 %."""
        subjects, fresh = made_up_subjects(60, seed=0), made_up_subjects(200, seed=1)
        predictor = fit(subjects, linear_latencies_ms(subjects), seed=0)
        truths = linear_latencies_ms(fresh)
        mean = predictor.predict(fresh).mean
        limit = 0.12 if isinstance(predictor, TreesPredictor) else 0.01
        assert mape(truths, mean) < limit
        assert predictor.held_out.mape < limit
        assert spearman(truths, mean) > 0.97

    @pytest.mark.parametrize("latencies_ms", [linear_latencies_ms, jumping_latencies_ms])
    def test_held_out_error_foretells_the_error_on_fresh_architectures(
        self, fit: PredictorMethod, latencies_ms: Callable[[list[Subject]], FloatArray]
    ) -> None:
        """An independent test agrees with what cross-validation found."""
        subjects, fresh = made_up_subjects(60, seed=2), made_up_subjects(200, seed=3)
        rng = np.random.default_rng(0)
        noisy = latencies_ms(subjects) * np.exp(0.03 * rng.standard_normal(60))
        predictor = fit(subjects, noisy, seed=0)
        truths = latencies_ms(fresh) * np.exp(0.03 * rng.standard_normal(200))
        found = mape(truths, predictor.predict(fresh).mean)
        assert 0.6 < predictor.held_out.mape / found < 1.7
        assert predictor.held_out.spearman == pytest.approx(spearman(truths, predictor.predict(fresh).mean), abs=0.06)

    @pytest.mark.parametrize("count", [8, 25])
    def test_bounds_hold_what_they_promise(self, fit: PredictorMethod, count: int) -> None:
        """Nine in ten fresh measurements, on average over devices; the upper bound alone 95 %."""
        inside, below = [], []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            subjects, fresh = made_up_subjects(count, seed=10 + seed), made_up_subjects(60, seed=200 + seed)
            predictor = fit(
                subjects, linear_latencies_ms(subjects) * np.exp(0.1 * rng.standard_normal(count)), seed=seed
            )
            truths = linear_latencies_ms(fresh) * np.exp(0.1 * rng.standard_normal(60))
            prediction = predictor.predict(fresh)
            inside.append(((prediction.lower <= truths) & (truths <= prediction.upper)).mean())
            below.append((truths <= prediction.upper).mean())
        assert 0.85 < np.mean(inside) < 0.99
        assert np.mean(below) > 0.9

    def test_a_predictor_cannot_be_changed(self, fit: PredictorMethod) -> None:
        """It is fitted once."""
        subjects = made_up_subjects(8, seed=0)
        predictor = fit(subjects, linear_latencies_ms(subjects), seed=0)
        with pytest.raises(AttributeError):
            predictor.held_out = None  # type: ignore[misc, assignment]

    def test_it_is_quick_enough_to_refit_each_round(self, fit: PredictorMethod) -> None:
        """Generous against a busy machine: about 0.3 s to fit 60 samples, 0.1 s to predict 1,000."""
        subjects, fresh = made_up_subjects(60, seed=0), made_up_subjects(1000, seed=1)
        values = linear_latencies_ms(subjects)
        fit(subjects[:10], values[:10], seed=0)  # imports what is imported late
        start_s = time.process_time()
        predictor = fit(subjects, values, seed=0)
        fitted_s = time.process_time()
        predictor.predict(fresh)
        assert fitted_s - start_s < 3
        assert time.process_time() - fitted_s < 1
