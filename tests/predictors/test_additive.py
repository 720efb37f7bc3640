"""Additive costs of layers, on simulated devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
import torch

from nas.prediction.layers.layer_regression import LayerCosts
from nas.prediction.predictor import Batch, FloatArray, Given, batch_of
from nas.space.architecture import Architecture, Choice
from nas.space.description import Describer
from nas.space.layer import Layer
from nas.space.parts.device_parts import with_precisions
from nas.space.search_space import sample
from predictors.additive import AdditiveModel, fit_additive, fit_model
from search_spaces.nasbench201 import NasBench201

KERNELS = (3, 5, 7)


@dataclass(frozen=True)
class Chain:
    """Convolutions on maps of one size; activations are separate choices, so that their cost can be learned."""

    choices = (
        Choice("depth", (1, 2, 3, 4)),
        Choice("activations", (0, 2, 4)),
        *(Choice(f"kernel{n}", KERNELS) for n in range(4)),
        *(Choice(f"width{n}", (8, 16, 24, 32)) for n in range(4)),
    )

    def build(self, architecture: Architecture) -> torch.nn.Module:
        raise NotImplementedError

    def layers(self, architecture: Architecture) -> list[Layer]:
        channels, layers = 3, []
        for n in range(int(architecture["depth"])):
            width, kernel = int(architecture[f"width{n}"]), int(architecture[f"kernel{n}"])
            weights = width * channels * kernel**2
            shapes = (channels, 16, 16), (width, 16, 16)
            layers.append(Layer("conv", *shapes, macs=weights * 256, params=weights, kernel=kernel))
            channels = width
        return layers + [Layer("activation", (8, 16, 16), (8, 16, 16))] * int(architecture["activations"])


def device_ms(layer: Layer) -> float:
    """Return the latency of a device that merges activations; 7×7 convolutions cost double per multiply-accumulate."""
    if layer.kind == "activation":
        return 0.0
    return 0.02 + (2e-8 if layer.kernel == 7 else 1e-8) * layer.macs + 1e-6 * prod(layer.output_shape)


def latencies(
    space: Describer, architectures: Sequence[Architecture], cost: Callable[[Layer], float] = device_ms
) -> FloatArray:
    """Return the latencies of architectures on the simulated device."""
    return np.array([sum(cost(layer) for layer in space.layers(architecture)) for architecture in architectures])


def drawn(space: Describer, count: int, seed: int) -> list[Architecture]:
    """Return random architectures of the chain."""
    rng = np.random.default_rng(seed)
    return list(dict.fromkeys(sample(space.space, rng) for _ in range(count)))


@pytest.fixture
def space() -> Describer:
    """Return a describer of the chain."""
    chain = Chain()
    return Describer(chain, chain.layers)


def fit(space: Describer, architectures: Sequence[Architecture], values: FloatArray) -> AdditiveModel:
    """Fit the additive model to values of architectures."""
    return fit_model(batch_of(space, architectures), values, seed=0)


def relative_errors(model: AdditiveModel, batch: Batch, values: FloatArray) -> FloatArray:
    """Return the errors of predictions relative to the true latencies."""
    errors: FloatArray = np.abs(np.exp(model.log_means(batch)) / values - 1)
    return errors


def test_sums_of_costs_are_found_from_thirty_samples(space: Describer) -> None:
    """Held-out and new architectures are predicted within a few per cent."""
    seen, unseen = drawn(space, 30, 0), drawn(space, 100, 1)
    predictor = fit_additive(space, seen, latencies(space, seen), target="made up", seed=0)
    means = predictor.predict(unseen).mean
    assert np.abs(means / latencies(space, unseen) - 1).mean() < 0.03
    assert predictor.held_out.mape < 0.04


def test_costs_are_the_same_for_any_seed(space: Describer) -> None:
    """The fit is deterministic."""
    batch = batch_of(space, drawn(space, 30, 0))
    values = latencies(space, drawn(space, 30, 0))
    first, second = (fit_model(batch, values, seed=seed).log_means(batch) for seed in (0, 1))
    np.testing.assert_array_equal(first, second)


def test_precisions_to_choose_from_have_costs_of_their_own(space: Describer) -> None:
    """7×7 convolutions gain nothing from int8 and others a lot, so no single factor would tell its latencies."""

    def int8_ms(layer: Layer) -> float:
        return device_ms(layer) * (1 if layer.kernel == 7 else 0.2)

    chain = Chain()
    both = Describer(with_precisions(chain, ("fp32", "int8")), lambda a: chain.layers(a.without(["precision"])))
    seen, unseen = drawn(both, 40, 0), drawn(both, 100, 1)

    def truths(architectures: Sequence[Architecture]) -> FloatArray:
        costs = {"fp32": device_ms, "int8": int8_ms}
        return np.array([sum(map(costs[str(a["precision"])], both.layers(a))) for a in architectures])

    predictor = fit_additive(both, seen, truths(seen), target="made up", seed=0)
    assert np.abs(predictor.predict(unseen).mean / truths(unseen) - 1).mean() < 0.05


def test_merged_layers_cost_nothing(space: Describer) -> None:
    """Four more activations do not change the prediction, as on the device."""
    seen = drawn(space, 40, 0)
    model = fit(space, seen, latencies(space, seen))
    architectures = [Architecture({**seen[0], "activations": count}) for count in (0, 4)]
    none, four = np.exp(model.log_means(batch_of(space, architectures)))
    assert four == pytest.approx(none, rel=0.01)


def test_layers_that_are_not_merged_cost_something(space: Describer) -> None:
    """On a device that executes activations, four more of them change the prediction."""

    def unmerged_ms(layer: Layer) -> float:
        return device_ms(layer) + (0.05 if layer.kind == "activation" else 0.0)

    seen = drawn(space, 40, 0)
    model = fit(space, seen, latencies(space, seen, unmerged_ms))
    architectures = [Architecture({**seen[0], "activations": count}) for count in (0, 4)]
    none, four = np.exp(model.log_means(batch_of(space, architectures)))
    assert four - none == pytest.approx(0.2, rel=0.1)


def test_kernels_have_costs_of_their_own(space: Describer) -> None:
    """The fit finds that a 7×7 convolution costs twice as much per multiply-accumulate."""
    seen = drawn(space, 200, 0)
    model = fit(space, seen, latencies(space, seen))
    alike = {"depth": 1, "activations": 0, **{f"width{n}": 32 for n in range(4)}, **{f"kernel{n}": 3 for n in range(4)}}
    chains = [Architecture({**alike, "depth": 4, **{f"kernel{n}": kernel for n in range(4)}}) for kernel in KERNELS]
    assert relative_errors(model, batch_of(space, chains), latencies(space, chains)).max() < 0.05


def test_a_kernel_that_no_sample_has_costs_what_its_kind_does(space: Describer) -> None:
    """An unseen kernel is charged for its multiply-accumulates."""
    seen = [a for a in drawn(space, 400, 0) if 5 not in [a[f"kernel{n}"] for n in range(int(a["depth"]))]]
    model = fit(space, seen, latencies(space, seen))
    unseen = [a for a in drawn(space, 400, 1) if all(a[f"kernel{n}"] == 5 for n in range(int(a["depth"])))]
    assert len(unseen) > 5
    assert relative_errors(model, batch_of(space, unseen), latencies(space, unseen)).max() < 0.35


def test_groups_that_turn_up_later_change_no_prediction() -> None:
    """A group of layers that is described after the fit does not change earlier predictions."""
    chain = Chain()
    narrow, wide = Describer(chain, chain.layers), Describer(chain, chain.layers)
    plain = [a for a in drawn(narrow, 400, 0) if all(a[f"kernel{n}"] == 3 for n in range(int(a["depth"])))]
    wide.describe([Architecture({**plain[0], "kernel0": 7})])  # its group comes first here
    model = fit(narrow, plain, latencies(narrow, plain))
    before, after = (model.log_means(batch_of(each, plain)) for each in (narrow, wide))
    np.testing.assert_allclose(after, before, rtol=1e-12)


@pytest.mark.parametrize("spoilt", [5.0, 1e-3])
def test_a_few_spoilt_measurements_do_little(space: Describer, spoilt: float) -> None:
    """Two outliers among sixty, far too slow or far too fast, hardly change other predictions."""
    seen, unseen = drawn(space, 60, 0), drawn(space, 100, 1)
    values = latencies(space, seen)
    values[[7, 31]] *= spoilt
    model = fit(space, seen, values)
    assert np.median(relative_errors(model, batch_of(space, unseen), latencies(space, unseen))) < 0.05


def test_dead_operations_are_charged_where_a_device_executes_them() -> None:
    """Operations on no path to a cell's output get costs if the device executes them."""
    cells = NasBench201((3, 32, 32), 10)
    space = Describer(cells, cells.layers)
    cost_ms = {"none": 0.0, "skip_connect": 0.1, "nor_conv_1x1": 0.5, "nor_conv_3x3": 2.0, "avg_pool_3x3": 0.3}

    def as_written_ms(architectures: Sequence[Architecture]) -> FloatArray:
        return np.array([1.0 + sum(cost_ms[str(operation)] for operation in a.values()) for a in architectures])

    rng = np.random.default_rng(0)
    written = [Architecture({c.name: c.options[rng.integers(5)] for c in cells.choices}) for _ in range(400)]
    seen, unseen = written[:100], written[100:]
    model = fit(space, seen, as_written_ms(seen))
    batch = batch_of(space, unseen)
    dead = (batch.descriptions.options != batch.descriptions.live_options).any(axis=1)
    assert dead.sum() > 30
    assert relative_errors(model, batch, as_written_ms(unseen))[dead].mean() < 0.05


def test_what_is_given_goes_first(space: Describer) -> None:
    """Energy as a power of a known latency is learned from ten samples, and extrapolates far beyond them."""
    seen, unseen = drawn(space, 10, 0), drawn(space, 100, 1)
    given = Given("log latency", lambda architectures: np.log(latencies(space, architectures)))
    energy = 3 * latencies(space, seen) ** 1.5
    predictor = fit_additive(space, seen, energy, target="made up", given=[given], seed=0)
    assert np.abs(predictor.predict(unseen).mean / (3 * latencies(space, unseen) ** 1.5) - 1).max() < 0.05


def test_a_sum_is_never_below_a_hundredth_of_the_smallest_value(space: Describer) -> None:
    """A network of free layers alone has a finite logarithm."""
    nothing = AdditiveModel(
        constant=0.0, costs=LayerCosts({}), dead_costs=np.zeros(0), slopes=np.zeros(0), smallest=0.5
    )
    assert nothing.log_means(batch_of(space, drawn(space, 5, 0))) == pytest.approx(np.log(0.5))


def test_costs_follow_an_estimate_as_far_as_samples_do_not_contradict(space: Describer) -> None:
    """Five samples suffice where another estimate is off by one factor; one that says nothing is of no harm."""
    seen, fresh = drawn(space, 5, 0), drawn(space, 80, 1)
    truths = latencies(space, fresh)
    rng = np.random.default_rng(0)

    def errors(given: Sequence[Given]) -> float:
        predictor = fit_additive(space, seen, latencies(space, seen), target="t", given=given, seed=0)
        return float(np.abs(predictor.predict(fresh).mean / truths - 1).mean())

    telling = Given("telling", lambda a: np.log(3 * latencies(space, a)), is_cost=True)
    random = {a: rng.normal() for a in (*seen, *fresh)}
    silent = Given("silent", lambda a: np.array([random[each] for each in a]), is_cost=True)
    assert errors([telling]) < 0.02 < 0.5 * errors([])
    assert errors([silent]) < 2 * errors([])
    assert errors([silent, telling]) < 0.02
