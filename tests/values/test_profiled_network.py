"""A latency keeps its network's layers and the times of its operators, and gives them back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nas.space.architecture import Architecture
from nas.space.layer import Layer
from nas.values.layer_times import LayerTime
from nas.values.measurement import Measurement
from nas.values.profiled_network import (
    MOST_OPERATORS,
    PROFILE,
    profile_of,
    profiled_among,
    profiled_network,
)

LAYERS = (
    Layer("conv", (3, 8, 8), (4, 4, 4), macs=1728, params=112, kernel=3, stride=2),
    Layer("linear", (64,), (10,), macs=640, params=650),
)
OPERATORS = (LayerTime("first", "Conv", 0.25, 64), LayerTime("second", "Gemm", 0.5, 10))
NARROW, WIDE = Architecture({"width": 4}), Architecture({"width": 8})


def latency(conditions: dict[str, Any], target: str = "t") -> Measurement:
    return Measurement("latency_ms", target, ((0.6,),), conditions)


def test_a_network_comes_back_through_json() -> None:
    """Layers and operators come back as they were, but for the operators' names."""
    kept = Measurement.from_json(json.loads(json.dumps(latency(profile_of(LAYERS, OPERATORS)).to_json())))
    nameless = tuple(LayerTime("", each.kind, each.ms, each.elements) for each in OPERATORS)
    found = profiled_network(kept, NARROW, is_of_run=True)
    assert found is not None
    assert (found.layers, found.operators, found.latency_ms, found.architecture) == (LAYERS, nameless, 0.6, NARROW)


def test_networks_without_operators_or_with_too_many_have_no_profile() -> None:
    assert profile_of(LAYERS, ()) == {}
    assert profile_of(LAYERS, OPERATORS[:1] * (MOST_OPERATORS + 1)) == {}
    assert PROFILE in profile_of(LAYERS, OPERATORS[:1] * MOST_OPERATORS)


@pytest.mark.parametrize(
    "told",
    [
        None,
        "a text",
        {"layers": []},
        {"layers": [["conv", [3], [4]]], "operators": [["Conv", 4]]},
        {"layers": [["no kind", [3], [4]]], "operators": []},
        {"layers": [["conv", 3, [4]]], "operators": []},
        {"layers": [["conv", ["a"], [4]]], "operators": []},
        {"layers": [["conv", [3], [4], -1]], "operators": []},
        {"layers": [["conv", [3], [4]]], "operators": [["Conv", 4, -1.0]]},
    ],
)
def test_what_is_in_no_known_form_tells_nothing(told: object) -> None:
    """Another version may write another form, and a row may be changed by hand."""
    assert profiled_network(latency({PROFILE: told}), NARROW, is_of_run=True) is None


def test_networks_on_several_targets_are_none() -> None:
    """A layer costs something else in another precision."""
    profile = profile_of(LAYERS, OPERATORS)
    both = {NARROW: {"latency_ms": latency(profile)}, WIDE: {"latency_ms": latency({})}}
    assert [network.architecture for network in profiled_among(both)] == [NARROW]
    assert profiled_among({**both, WIDE: {"latency_ms": latency(profile, "int8")}}) == []
    assert profiled_among({WIDE: {}}) == []


def test_networks_in_precisions_that_they_choose_all_count() -> None:
    """Each says in which precision it ran. One precision on two targets is still refused."""
    profile = profile_of(LAYERS, OPERATORS)
    plain, small = (Architecture({"width": 4, "precision": each}) for each in ("fp32", "int8"))
    wide = Architecture({"width": 8, "precision": "int8"})
    both = {plain: {"latency_ms": latency(profile)}, small: {"latency_ms": latency(profile, "int8")}}
    assert [network.architecture for network in profiled_among(both)] == [plain, small]
    assert profiled_among({**both, wide: {"latency_ms": latency(profile, "other")}}) == []
