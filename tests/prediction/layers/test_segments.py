"""Operators are matched with the layers that they run, whatever the runtime merged, split or added."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nas.prediction.layers.segments import segments_of
from nas.space.layer import Layer
from nas.values.layer_times import LayerTime
from nas.values.profiled_network import ProfiledNetwork

FIRST = Layer("conv", (3, 8, 8), (6, 8, 8), macs=1, kernel=3)
RELU = Layer("activation", (6, 8, 8), (6, 8, 8))
SECOND = Layer("depthwise_conv", (6, 8, 8), (6, 4, 4), macs=1, groups=6)
POOL = Layer("pool", (6, 4, 4), (6, 1, 1))
LAST = Layer("linear", (6,), (10,), macs=1)
CHAIN = (FIRST, RELU, SECOND, POOL, LAST)


def found(layers: Sequence[Layer], operators: Sequence[tuple[str, int, float]], latency_ms: float) -> list[object]:
    """Return the segments as pairs of layers and milliseconds."""
    ran = tuple(LayerTime("", kind, ms, elements) for kind, elements, ms in operators)
    return [
        (each.layers, pytest.approx(each.ms)) for each in segments_of(ProfiledNetwork(tuple(layers), ran, latency_ms))
    ]


def test_what_is_merged_stays_with_its_product() -> None:
    """The activation runs within the first convolution; the pool belongs to the product before it."""
    operators = [("Conv", 384, 5.0), ("Conv", 96, 2.0), ("ReduceMean", 6, 1.0), ("Gemm", 10, 2.0)]
    assert found(CHAIN, operators, 10.0) == [((FIRST, RELU), 5.0), ((SECOND, POOL), 3.0), ((LAST,), 2.0)]


def test_added_operators_and_padded_channels_are_understood() -> None:
    """Six channels became sixteen, or eight; what orders values belongs to the product before, or to the first one."""
    operators = [
        ("ReorderInput", 192, 1.0),
        ("FusedConv", 1024, 4.0),
        ("Convolution", 128, 2.0),
        ("ReorderOutput", 96, 1.0),
        ("FullyConnected", 10, 2.0),
    ]
    assert found(CHAIN, operators, 10.0) == [((FIRST, RELU), 5.0), ((SECOND, POOL), 3.0), ((LAST,), 2.0)]


def test_a_product_that_is_not_found_joins_its_neighbours() -> None:
    """Without the second convolution, nobody can tell where the first one ends."""
    operators = [("Conv", 384, 6.0), ("Swallowing", 96, 2.0), ("Gemm", 10, 2.0)]
    assert found(CHAIN, operators, 10.0) == [(CHAIN, 10.0)]


def test_attention_is_two_products_or_one() -> None:
    """Scores and results belong to one layer, also where a runtime computes both at once."""
    attention = Layer("attention", (2, 5, 4), (2, 5, 4), macs=1)
    layers = (Layer("linear", (5, 8), (5, 24), macs=1), attention, Layer("linear", (5, 8), (5, 8), macs=1))
    alike = [((layers[0],), 3.0), ((attention,), 4.0), ((layers[2],), 3.0)]
    ends = ("Gemm", 120, 3.0), ("Gemm", 40, 3.0)
    apart = [ends[0], ("MatMul", 50, 2.0), ("Softmax", 50, 1.0), ("MatMul", 40, 1.0), ends[1]]
    assert found(layers, apart, 10.0) == alike
    assert found(layers, [ends[0], ("MultiHeadAttention", 40, 4.0), ends[1]], 10.0) == alike


def test_the_profiler_s_own_time_is_subtracted_from_each_operator() -> None:
    """Three operators took 13 ms under the profiler, and the network 10 ms: 1 ms of each is the profiler's."""
    operators = [("Conv", 384, 7.0), ("Conv", 96, 3.0), ("Gemm", 10, 3.0)]
    assert found(CHAIN, operators, 10.0) == [((FIRST, RELU), 6.0), ((SECOND, POOL), 2.0), ((LAST,), 2.0)]
    slower = [((FIRST, RELU), 7.0), ((SECOND, POOL), 3.0), ((LAST,), 3.0)]
    assert found(CHAIN, operators, 13.0) == slower
    assert sum(each.ms for each in segments_of(network_of(operators, 20.0))) == pytest.approx(20.0)


def network_of(operators: Sequence[tuple[str, int, float]], latency_ms: float) -> ProfiledNetwork:
    return ProfiledNetwork(CHAIN, tuple(LayerTime("", kind, ms, size) for kind, size, ms in operators), latency_ms)


@pytest.mark.parametrize(
    "operators",
    [
        [],
        [("Add", 10, 1.0)],
        [("Conv", 0, 5.0), ("Conv", 0, 2.0), ("Gemm", 0, 1.0)],  # the profiler does not tell of elements
        [("Conv", 9997, 5.0), ("Conv", 9999, 2.0), ("Gemm", 9998, 1.0)],
        [("Conv", 384, 5.0), ("Subgraph", 10, 2.0)],  # one of three products
        [("Conv", 384, 0.0), ("Conv", 96, 0.0), ("Gemm", 10, 0.0)],
    ],
)
def test_what_cannot_be_matched_tells_nothing(operators: list[tuple[str, int, float]]) -> None:
    assert segments_of(network_of(operators, 10.0)) == []


def test_empty_products_are_not_matched_with_operators_of_unknown_size() -> None:
    """Both write 0 elements, which tells nothing."""
    empty = Layer("conv", (3, 8, 8), (0, 8, 8), macs=0)
    unknown = tuple(LayerTime("", "Conv", 1.0) for _ in range(2))
    assert segments_of(ProfiledNetwork((empty, empty), unknown, 2.0)) == []


def test_networks_without_products_tell_nothing() -> None:
    assert segments_of(ProfiledNetwork((RELU,), (LayerTime("", "Conv", 1.0, 384),), 1.0)) == []
    assert segments_of(ProfiledNetwork((), (LayerTime("", "Conv", 1.0, 384),), 1.0)) == []
