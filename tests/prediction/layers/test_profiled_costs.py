"""Costs by the profiles of networks: of this space and of others, on devices whose layers cost a formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from made_up_devices import SPACE, drawn

from nas.prediction.layers.profiled_costs import ELSEWHERE, OWN, profiled_costs
from nas.prediction.predictor import FloatArray
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.layer import Layer
from nas.space.parts.device_parts import with_precisions
from nas.values.layer_times import LayerTime
from nas.values.profiled_network import ProfiledNetwork

PRODUCTS = ("conv", "depthwise_conv", "linear")


def cost_ms(layer: Layer) -> float:
    """Activations are merged; a product costs by its kind and its multiply-accumulates, and a pool by its elements."""
    if layer.kind == "activation":
        return 0.0
    per_mac = {"conv": 1e-7, "depthwise_conv": 6e-7, "linear": 2e-7}.get(layer.kind, 0.0)
    return 0.004 + per_mac * layer.macs + 1e-7 * layer.input_elements


def profiled(
    architectures: Sequence[Architecture],
    *,
    of_another_space: bool = False,
    of_another_run: bool = False,
    tells_elements: bool = True,
) -> list[ProfiledNetwork]:
    """Return networks with their operators, of which each takes the profiler 0.003 ms more than it does."""
    found = []
    for architecture in architectures:
        layers = tuple(SPACE.layers(architecture))
        ran = [layer for layer in layers if cost_ms(layer)]
        operators = tuple(
            LayerTime("", "Conv" if each.kind in PRODUCTS else "Pool", cost_ms(each) + 0.003, each.output_elements)
            for each in ran
        )
        if not tells_elements:
            operators = tuple(LayerTime("", each.kind, each.ms) for each in operators)
        latency_ms = sum(map(cost_ms, ran))
        known = None if of_another_space else architecture
        found.append(ProfiledNetwork(layers, operators, latency_ms, known, not (of_another_space or of_another_run)))
    return found


def truths(architectures: Sequence[Architecture]) -> FloatArray:
    return np.array([sum(map(cost_ms, SPACE.layers(a))) for a in architectures])


@pytest.mark.parametrize(("of_another_space", "name"), [(False, OWN), (True, ELSEWHERE)])
def test_a_few_profiles_tell_what_others_cost(of_another_space: bool, name: str) -> None:
    """Six networks suffice for the latencies of 80 others, within 5 % on average, without one measurement more."""
    seen, fresh = drawn(6, seed=0), drawn(80, seed=1)
    known = profiled(drawn(6, seed=2) if of_another_space else seen, of_another_space=of_another_space)
    (given,) = profiled_costs(SPACE, seen, known)
    assert given.name == name
    assert given.is_cost
    assert np.abs(np.exp(given.values(fresh)) / truths(fresh) - 1).mean() < 0.05


def spoilt(network: ProfiledNetwork) -> ProfiledNetwork:
    """Return the network with large operators that take ten times as long."""
    operators = (
        LayerTime("", each.kind, each.ms * (10 if each.elements > 5000 else 1), each.elements)
        for each in network.operators
    )
    return replace(network, operators=tuple(operators))


def test_a_sample_s_own_profile_is_left_out() -> None:
    """If one sample's profile is wrong tenfold, its own cost follows the others' all the same."""
    seen = drawn(10, seed=0)
    networks = profiled(seen)
    (before,) = profiled_costs(SPACE, seen, networks)
    (after,) = profiled_costs(SPACE, seen, [spoilt(networks[0]), *networks[1:]])
    assert after.values(seen[:1]) == pytest.approx(before.values(seen[:1]))
    assert after.values(seen[1:]) != pytest.approx(before.values(seen[1:]))


@pytest.mark.parametrize("of_another_space", [False, True])
def test_a_sample_without_a_profile_does_not_tell_of_itself_by_an_earlier_one(of_another_space: bool) -> None:
    """Its network may have run earlier, in this space or another one, and its profile is left out."""
    seen = drawn(8, seed=0)
    others = profiled(drawn(10, seed=2), of_another_space=of_another_space, of_another_run=True)
    (before,) = profiled_costs(SPACE, seen, others)
    twin = spoilt(profiled(seen[:1], of_another_space=of_another_space, of_another_run=True)[0])
    (after,) = profiled_costs(SPACE, seen, [*others, twin])
    assert after.values(seen).tolist() == before.values(seen).tolist()


def test_an_earlier_network_that_is_no_sample_tells_of_itself() -> None:
    """Nothing is held out for it, since it was measured: its own profile counts in its cost."""
    seen, others = drawn(8, seed=0), profiled(drawn(10, seed=2), of_another_run=True)
    (before,) = profiled_costs(SPACE, seen, [*profiled(seen), *others])
    (after,) = profiled_costs(SPACE, seen, [*profiled(seen), spoilt(others[0]), *others[1:]])
    assert others[0].architecture is not None
    assert after.values([others[0].architecture]) != pytest.approx(before.values([others[0].architecture]))


def test_networks_that_are_no_samples_are_left_out() -> None:
    """A fit to half of the samples knows half of the profiles."""
    seen, fresh = drawn(12, seed=0), drawn(30, seed=1)
    (half,) = profiled_costs(SPACE, seen[:6], profiled(seen))
    (alone,) = profiled_costs(SPACE, seen[:6], profiled(seen[:6]))
    assert half.values(fresh).tolist() == alone.values(fresh).tolist()
    assert profiled_costs(SPACE, seen[:1], profiled(seen)) == []


IN_TWO_PRECISIONS = Describer(
    with_precisions(SPACE.space, ("fp32", "int8")),
    lambda architecture: SPACE.layers(architecture.without(["precision"])),
)


def in_precision(networks: Sequence[ProfiledNetwork], precision: str, factor: float) -> list[ProfiledNetwork]:
    """Return the networks as they run in a precision, in which all takes so many times as long."""
    return [
        ProfiledNetwork(
            each.layers,
            tuple(LayerTime("", one.kind, factor * one.ms, one.elements) for one in each.operators),
            factor * each.latency_ms,
            Architecture({**(each.architecture or {}), "precision": precision}),
            True,
        )
        for each in networks
    ]


def test_each_precision_has_costs_of_its_own() -> None:
    """Six networks in each tell what others cost, and those that are the same in both are no exception."""
    networks = in_precision(profiled(drawn(6, seed=0)), "fp32", 1.0)
    networks += in_precision(profiled(drawn(6, seed=0)), "int8", 0.3)
    seen = [network.architecture for network in networks if network.architecture is not None]
    (given,) = profiled_costs(IN_TWO_PRECISIONS, seen, networks)
    for precision, factor in (("int8", 0.3), ("fp32", 1.0)):
        fresh = drawn(40, seed=1)
        costs = np.exp(given.values([Architecture({**each, "precision": precision}) for each in fresh]))
        assert np.abs(costs / (factor * truths(fresh)) - 1).mean() < 0.05
    told = np.exp(given.values(seen))
    assert told[:6] / told[6:] == pytest.approx(1 / 0.3, rel=1e-6)


def test_precisions_are_told_apart_only_when_each_has_profiles() -> None:
    """Costs in one precision tell nothing of another, and earlier networks ran in one of them alone."""
    networks = in_precision(profiled(drawn(8, seed=0)), "fp32", 1.0)
    networks += in_precision(profiled(drawn(1, seed=3)), "int8", 0.3)
    seen = [network.architecture for network in networks if network.architecture is not None]
    earlier = profiled(drawn(6, seed=2), of_another_space=True)
    assert profiled_costs(IN_TWO_PRECISIONS, seen, [*networks, *earlier]) == []


def test_both_kinds_of_profiles_are_told_apart() -> None:
    seen, earlier = drawn(6, seed=0), drawn(6, seed=2)
    found = profiled_costs(SPACE, seen, [*profiled(earlier, of_another_space=True), *profiled(seen)])
    assert [given.name for given in found] == [OWN, ELSEWHERE]


def test_nothing_is_told_without_a_profile_that_is_understood() -> None:
    seen = drawn(6, seed=0)
    assert profiled_costs(SPACE, seen, []) == []
    assert profiled_costs(SPACE, seen, profiled(seen, tells_elements=False)) == []
    assert profiled_costs(SPACE, seen, [ProfiledNetwork((), (), 1.0, None, False)]) == []


def test_kinds_that_the_runtime_merges_cost_nothing() -> None:
    """With activations merged, the costs are the same, since their operators do not exist."""
    seen, fresh = drawn(6, seed=0), drawn(30, seed=1)
    merging: Describer = SPACE.merging(("activation",))
    (given,) = profiled_costs(merging, seen, profiled(seen))
    assert np.abs(np.exp(given.values(fresh)) / truths(fresh) - 1).mean() < 0.05


def test_networks_of_earlier_runs_of_the_space_count_as_its_own() -> None:
    """They make the estimate of few samples better, and also give one where no sample has a profile."""
    seen, earlier, fresh = drawn(3, seed=0), drawn(20, seed=2), drawn(80, seed=1)
    (alone,) = profiled_costs(SPACE, seen, profiled(seen))
    (both,) = profiled_costs(SPACE, seen, [*profiled(seen), *profiled(earlier, of_another_run=True)])
    (without,) = profiled_costs(SPACE, seen, profiled(earlier, of_another_run=True))
    errors = [np.abs(np.exp(each.values(fresh)) / truths(fresh) - 1).mean() for each in (alone, both, without)]
    assert max(errors[1:]) < 0.5 * errors[0]
    assert without.name == both.name == OWN


def test_a_network_that_ran_earlier_does_not_tell_of_itself() -> None:
    """The same networks, kept by an earlier run, are left out among its networks."""
    seen = drawn(6, seed=0)
    twins = profiled(seen, of_another_space=True)
    assert [each.name for each in profiled_costs(SPACE, seen, [*profiled(seen), *twins])] == [OWN]
    assert profiled_costs(SPACE, drawn(3, seed=2), [*profiled(seen), *twins]) == []
    (alone,) = profiled_costs(SPACE, seen, profiled(seen))
    fresh = profiled(drawn(6, seed=3), of_another_space=True)
    both = profiled_costs(SPACE, seen, [*profiled(seen), *twins, *fresh])
    assert [each.name for each in both] == [OWN, ELSEWHERE]
    assert both[0].values(seen).tolist() == alone.values(seen).tolist()
    (again,) = profiled_costs(SPACE, seen, [*profiled(seen), *profiled(seen, of_another_run=True)])
    assert again.values(seen).tolist() == alone.values(seen).tolist()


def test_layers_without_elements_are_coped_with() -> None:
    """A slice may be empty, and then its layers are, too."""
    seen = drawn(3, seed=0)
    empty = Layer("concat", (0, 8, 8), (0, 8, 8))
    odd = [
        ProfiledNetwork(
            (Layer("conv", (3, 8, 8), (4, 8, 8), macs=1728), empty, Layer("linear", (4,), (4,), macs=16)),
            (LayerTime("", "Conv", 1.0, 256), LayerTime("", "Gemm", 0.5, 4)),
            1.5,
            None,
            False,
        )
    ]
    (given,) = profiled_costs(SPACE, seen, odd)
    assert np.isfinite(given.values(seen)).all()


def test_networks_of_merged_kinds_alone_cost_the_least_credible_value() -> None:
    """There is nothing to fit. A cost is never below a hundredth of the quickest network's."""
    seen = drawn(3, seed=0)
    (given,) = profiled_costs(SPACE.merging(PRODUCTS), seen, profiled(drawn(1, seed=2), of_another_space=True))
    least_ms = 0.01 * truths(drawn(1, seed=2))[0]
    assert np.exp(given.values(seen)).min() >= least_ms * (1 - 1e-9)


def test_layers_that_no_profile_has_cost_nothing() -> None:
    """Predictions stay finite, and positive."""
    seen = drawn(3, seed=0)
    strange = Layer("softmax", (5, 5), (5, 5))
    (given,) = profiled_costs(
        SPACE,
        seen,
        [
            ProfiledNetwork((Layer("linear", (4,), (4,), macs=16), strange), (LayerTime("", "Gemm", 1.0, 4),), 1.0),
        ],
    )
    assert np.isfinite(given.values(seen)).all()
