"""Weights of the stacked methods, and the trees among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from made_up_devices import SPACE, TARGET_DEVICE, Device, drawn, jumping_latencies_ms, sources_of

from nas.prediction.predictor import FloatArray, Given, Predictor, batch_of
from nas.space.architecture import Architecture
from nas.values.other_target import Source
from predictors.additive import AdditiveMethod, fit_additive
from predictors.bounded import BoundedPredictor
from predictors.features import feature_map
from predictors.gp import fit_gp
from predictors.quality import mape
from predictors.source_models import source_models
from predictors.stacked import StackedModel, fit_stacked
from predictors.transfer import fit_transfer
from predictors.trees import TreesMethod, fit_trees, log_totals

latencies_ms = Device().latencies_ms


def noisy(values: FloatArray, share: float) -> FloatArray:
    """Return values with relative noise."""
    spoilt: FloatArray = values * np.exp(share * np.random.default_rng(0).standard_normal(len(values)))
    return spoilt


def stacked(architectures: Sequence[Architecture], values: FloatArray) -> BoundedPredictor:
    """Fit the stacked predictor."""
    return fit_stacked(SPACE, architectures, values, target="made up", seed=0)


def weights_of(predictor: BoundedPredictor) -> dict[str, float]:
    """Return the weights of a stacked predictor."""
    assert isinstance(predictor.model, StackedModel)
    return predictor.model.weights


@pytest.mark.slow
@pytest.mark.parametrize("values_ms", [latencies_ms, jumping_latencies_ms])
def test_weights_add_up_to_one_and_none_is_negative(values_ms: Callable[[Sequence[Architecture]], FloatArray]) -> None:
    """There is one weight for each method; methods with weight 0 are not kept."""
    seen = drawn(32, seed=0)
    predictor = stacked(seen, noisy(values_ms(seen), 0.05))
    weights = weights_of(predictor)
    assert tuple(weights) == ("process", "additive", "corrected", "trees")
    assert sum(weights.values()) == pytest.approx(1)
    assert min(weights.values()) >= 0
    assert isinstance(predictor.model, StackedModel)
    kept = [weight for weight in list(weights.values())[1:] if weight > 0]
    assert [weight for weight, _ in predictor.model.others] == kept


@pytest.mark.slow
def test_a_device_whose_layers_add_up_is_left_to_what_adds_up() -> None:
    """Additive costs get most of the weight, and the mix is better than the process alone."""
    seen, fresh = drawn(40, seed=0), drawn(100, seed=1)
    predictor = stacked(seen, latencies_ms(seen))
    weights = weights_of(predictor)
    assert weights["additive"] + weights["corrected"] > 0.5
    process = fit_gp(SPACE, seen, latencies_ms(seen), target="made up", seed=0)
    errors = [mape(latencies_ms(fresh), each.predict(fresh).mean) for each in (predictor, process)]
    assert errors[0] < 0.6 * errors[1]


def test_what_does_not_add_up_is_left_to_the_process() -> None:
    """If costs multiply, additive costs get little weight, and the mix is better than they are."""

    def multiplied(architectures: Sequence[Architecture]) -> FloatArray:
        factors = {8: 1.0, 16: 5.0, 24: 0.5, 32: 2.0}
        return np.array([factors[int(a["width0"])] * factors[int(a["width1"])] for a in architectures])

    seen, fresh = drawn(60, seed=0), drawn(100, seed=1)
    predictor = stacked(seen, multiplied(seen))
    assert weights_of(predictor)["additive"] < 0.25
    additive = fit_additive(SPACE, seen, multiplied(seen), target="made up", seed=0)
    errors = [mape(multiplied(fresh), each.predict(fresh).mean) for each in (predictor, additive)]
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.slow
def test_a_mix_is_as_good_as_the_best_of_its_methods() -> None:
    """On a device with rounding and caches, its error is at most a fifth above that of the best."""
    seen, fresh = drawn(50, seed=2), drawn(150, seed=3)
    values, truths = noisy(jumping_latencies_ms(seen), 0.02), jumping_latencies_ms(fresh)
    methods = (fit_stacked, fit_gp, fit_additive, fit_trees)
    mix, *alone = [
        mape(truths, fit(SPACE, seen, values, target="made up", seed=0).predict(fresh).mean) for fit in methods
    ]
    assert mix < 1.2 * min(alone)


def test_few_samples_are_mixed_too() -> None:
    """From the fewest samples on, there are a process and additive costs; trees come with thirty."""
    seen = drawn(32, seed=0)
    values = latencies_ms(seen)
    assert tuple(weights_of(stacked(seen[:5], values[:5]))) == ("process", "additive")
    assert tuple(weights_of(stacked(seen[:29], values[:29]))) == ("process", "additive")
    few = fit_stacked(SPACE, seen[:5], values[:5], target="made up", sources=sources_of(drawn(60, seed=900)), seed=0)
    assert tuple(weights_of(few)) == ("informed", "informed_additive")


def estimate(of: Callable[[Sequence[Architecture]], FloatArray]) -> Given:
    """Return an estimate of costs that was made without a measurement."""
    return Given("estimate", lambda architectures: np.log(of(architectures)), is_cost=True)


def test_an_estimate_of_costs_is_scaled_and_mixed() -> None:
    """With ten samples, a device that jumps is predicted better with the smooth part of its latencies, in any unit."""
    seen, fresh = drawn(10, seed=0), drawn(100, seed=1)
    values, truths = jumping_latencies_ms(seen), jumping_latencies_ms(fresh)
    given = [estimate(lambda a: 1000 * latencies_ms(a))]
    predictor = fit_stacked(SPACE, seen, values, target="made up", given=given, seed=0)
    assert tuple(weights_of(predictor)) == ("process", "additive", "profiled")
    assert mape(truths, predictor.predict(fresh).mean) < 0.9 * mape(truths, stacked(seen, values).predict(fresh).mean)
    (told,) = predictor.grounds
    assert told.startswith("Spearman of predictions on held-out samples: from the measurements ")
    assert "from the times of operators, summed " in told


@pytest.mark.slow
def test_an_estimate_that_tells_nothing_does_little_harm() -> None:
    """It is no method, and what else knows it gives it little weight, at any number of samples."""
    fresh = drawn(100, seed=1)
    truths = latencies_ms(fresh)
    both = [*drawn(60, seed=0), *fresh]
    noise = dict(zip(both, np.random.default_rng(0).lognormal(size=len(both)), strict=True))
    given = [estimate(lambda architectures: np.array([noise[a] for a in architectures]))]
    for count, most in ((10, 1.5), (60, 1.2)):
        seen = drawn(60, seed=0)[:count]
        misled = fit_stacked(SPACE, seen, latencies_ms(seen), target="made up", given=given, seed=0)
        assert "profiled" not in weights_of(misled)
        alone = stacked(seen, latencies_ms(seen))
        assert mape(truths, misled.predict(fresh).mean) < most * mape(truths, alone.predict(fresh).mean)


def shuffled_of(sources: Sequence[Source]) -> list[Source]:
    """Return sources whose values belong to other architectures."""
    rng = np.random.default_rng(0)
    return [
        replace(source, target=f"wrong {source.target}", values=rng.permutation(source.values)) for source in sources
    ]


def unlike(sources: Sequence[Source]) -> list[Source]:
    """Return sources whose values follow from the options, by factors that no device has, so that they mislead."""
    rng = np.random.default_rng(0)
    misleading = []
    for source in sources:
        factors = {each: rng.lognormal() for a in source.architectures for each in sorted(a.items(), key=str)}
        values = np.array([np.prod([factors[each] for each in a.items()]) for a in source.architectures])
        misleading.append(replace(source, values=values))
    return misleading


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 10, 14])
def test_even_few_samples_tell_of_sources_that_mislead(count: int) -> None:
    """The mix has far smaller errors than the process that believes them, and hardly larger ones than without them."""
    fresh = drawn(150, seed=1)
    truths, misleading = latencies_ms(fresh), unlike(sources_of(drawn(60, seed=900)))
    errors: dict[str, list[float]] = {"mix": [], "believing": [], "without": []}
    for seed in range(3):
        seen = drawn(count, seed=40 + seed)
        values = latencies_ms(seen)
        for name, fit, sources in (
            ("mix", fit_stacked, misleading),
            ("believing", fit_transfer, misleading),
            ("without", fit_stacked, []),
        ):
            predictor = fit(SPACE, seen, values, target="made up", sources=sources, seed=0)
            errors[name].append(mape(truths, predictor.predict(fresh).mean))
    assert np.mean(errors["mix"]) < 0.7 * np.mean(errors["believing"])
    assert np.mean(errors["mix"]) < 1.3 * np.mean(errors["without"])


def test_other_targets_make_sums_of_few_layers_better() -> None:
    """With five samples, additive costs that know a target with the same jumps have far smaller errors than others."""
    fresh, rows = drawn(150, seed=1), drawn(150, seed=903)
    truths, batch = jumping_latencies_ms(fresh), batch_of(SPACE, fresh)
    alike = source_models(SPACE, (Source("alike", rows, noisy(7 * jumping_latencies_ms(rows), 0.02)),), ())
    errors: dict[str, list[float]] = {"alone": [], "informed": []}
    for seed in range(5):
        seen = drawn(5, seed=40 + seed)
        for name, others in (("alone", None), ("informed", alike)):
            model = AdditiveMethod(others).fit(batch_of(SPACE, seen), jumping_latencies_ms(seen), 0)
            errors[name].append(mape(truths, np.exp(model.log_means(batch))))
    assert np.mean(errors["informed"]) < 0.7 * np.mean(errors["alone"])


def test_a_source_that_is_the_target_is_believed() -> None:
    """Its model then predicts nearly all, and with its unit changed as well."""
    seen, fresh = drawn(10, seed=0), drawn(100, seed=1)
    values, truths = latencies_ms(seen), latencies_ms(fresh)
    rows = drawn(150, seed=903)
    for unit in (1.0, 1000.0):
        same = Source("the same", rows, unit * latencies_ms(rows))
        told = fit_stacked(SPACE, seen, values, target="made up", sources=[same], seed=0)
        assert weights_of(told)["informed"] > 0.5
        assert mape(truths, told.predict(fresh).mean) < 0.05


@pytest.mark.slow
def test_sources_that_look_random_are_ignored_and_named() -> None:
    """Shuffled sources leave a predictor as it is without them, whether all or some are shuffled."""
    seen, fresh = drawn(20, seed=0), drawn(50, seed=1)
    values = latencies_ms(seen)
    first, *good = sources_of(drawn(60, seed=900))
    wrong = shuffled_of([first])
    kept: list[Source]
    for kept in ([], good):
        plain, told = (
            fit_stacked(SPACE, seen, values, target="made up", sources=sources, seed=0)
            for sources in (kept, wrong + kept)
        )
        np.testing.assert_array_equal(plain.predict(fresh).mean, told.predict(fresh).mean)
        assert told.grounds[0].endswith(f"as if shuffled, are ignored: wrong {first.target}.")
        assert told.grounds[1:] == plain.grounds


def test_what_was_decided_about_sources_is_told() -> None:
    """Each source's own order, then how well each method ranks, with its weight; without sources nothing is said."""
    seen = drawn(20, seed=0)
    values, (first, *others) = latencies_ms(seen), sources_of(drawn(60, seed=900))
    (misleading,) = unlike([replace(first, target="wrong")])
    told = fit_stacked(SPACE, seen, values, target="made up", sources=[misleading, *others], seed=0)
    ranks, shares = told.grounds
    assert ranks.startswith("Other targets rank the 20 measured architectures with Spearman: ")
    assert ranks.index("wrong") > max(ranks.index(source.target) for source in others)
    assert f"(counts {100 * weights_of(told)['informed']:.0f} %)" in shares
    assert "from layers and other targets, summed" in shares
    few = fit_stacked(SPACE, seen[:5], values[:5], target="made up", sources=others, seed=0)
    assert "the 5 measured architectures" in few.grounds[0]
    assert f"(counts {100 * weights_of(few)['informed']:.0f} %)" in few.grounds[1]
    assert stacked(seen, values).grounds == stacked(seen[:5], values[:5]).grounds == ()


def test_the_mix_is_less_sure_where_its_methods_disagree() -> None:
    """Spreads are at least those of the process, and relatively widest where predictions differ most."""
    seen, fresh = drawn(32, seed=0), drawn(100, seed=1)
    model = stacked(seen, noisy(jumping_latencies_ms(seen), 0.05)).model
    assert isinstance(model, StackedModel)
    batch = batch_of(SPACE, fresh)
    logs, process_spreads = model.process.logs(batch)
    _, spreads = model.logs(batch)
    assert (spreads >= process_spreads).all()
    others = np.column_stack([logs, *(each.log_means(batch) for _, each in model.others)])
    widened = np.sqrt(spreads**2 - process_spreads**2)
    assert np.corrcoef(widened, others.std(axis=1))[0, 1] > 0.8


@pytest.mark.slow
def test_the_mix_is_a_geometric_mean_of_its_methods() -> None:
    """Predictions equal the geometric mean with the reported weights."""
    seen, fresh = drawn(32, seed=0), drawn(20, seed=1)
    predictor = stacked(seen, noisy(jumping_latencies_ms(seen), 0.05))
    model = predictor.model
    assert isinstance(model, StackedModel)
    batch = batch_of(SPACE, fresh)
    logs = model.weights["process"] * model.process.logs(batch)[0]
    for weight, other in model.others:
        logs = logs + weight * other.log_means(batch)
    assert model.others
    np.testing.assert_allclose(predictor.predict(fresh).mean, np.exp(logs))


@pytest.mark.slow
def test_many_samples_with_sources_and_something_given() -> None:
    """All methods use them, and the error falls below that of the mix without them."""

    def log_latencies(architectures: Sequence[Architecture]) -> FloatArray:
        logs: FloatArray = np.log(jumping_latencies_ms(architectures))
        return logs

    seen, fresh = drawn(32, seed=0), drawn(100, seed=1)
    energies_mj, truths_mj = (TARGET_DEVICE.latencies_ms(each) * jumping_latencies_ms(each) for each in (seen, fresh))
    plain: Predictor = stacked(seen, energies_mj)
    told: Predictor = fit_stacked(
        SPACE,
        seen,
        energies_mj,
        target="made up",
        sources=sources_of(drawn(60, seed=900)),
        given=[Given("log latency_ms", log_latencies)],
        seed=0,
    )
    assert told.held_out.samples == 32
    assert mape(truths_mj, told.predict(fresh).mean) < mape(truths_mj, plain.predict(fresh).mean)


class TestTrees:
    """The method of randomised trees."""

    def test_totals_are_logarithms_of_sums_and_what_is_given(self) -> None:
        """Totals equal the sums by hand over the layers of one architecture."""
        (architecture,) = drawn(1, seed=0)
        layers = SPACE.layers(architecture)
        batch = batch_of(SPACE, [architecture], [Given("seven", lambda architectures: np.full(1, 7.0))])
        totals = log_totals(batch)[0]
        assert totals[0] == pytest.approx(np.log1p(len(layers)))
        assert totals[1] == pytest.approx(np.log1p(sum(layer.macs for layer in layers)))
        assert totals[2] == pytest.approx(np.log1p(sum(each.input_elements + each.output_elements for each in layers)))
        assert totals[3] == pytest.approx(np.log1p(sum(layer.params for layer in layers)))
        assert totals[-1] == 7

    def test_the_trend_reaches_beyond_the_samples(self) -> None:
        """Networks larger than all samples are predicted slower than all of them."""
        everything = drawn(200, seed=0)
        values = latencies_ms(everything)
        order = np.argsort(values)
        small, large = ([everything[n] for n in part] for part in (order[:80], order[-20:]))
        model = TreesMethod(feature_map(SPACE)).fit(batch_of(SPACE, small), latencies_ms(small), seed=0)
        predicted = np.exp(model.log_means(batch_of(SPACE, large)))
        assert np.median(predicted) > 1.3 * latencies_ms(small).max()

    def test_a_seed_decides_the_forest(self) -> None:
        """Equal seeds give equal trees, and different seeds different ones."""
        seen, fresh = drawn(30, seed=0), drawn(20, seed=1)
        method = TreesMethod(feature_map(SPACE))
        batch, values = batch_of(SPACE, seen), noisy(latencies_ms(seen), 0.1)
        first, second, other = (method.fit(batch, values, seed).log_means(batch_of(SPACE, fresh)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, second)
        assert (first != other).any()
