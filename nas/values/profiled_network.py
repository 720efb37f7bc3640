"""Networks whose latency a profiler divided among operators, with their layers: what a runtime does with a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from nas.space.architecture import Architecture
from nas.space.layer import Layer, fault_of
from nas.space.parts.candidate import precision_of
from nas.values.layer_times import LayerTime
from nas.values.measurement import Measurement

LATENCY = "latency_ms"
"""The metric whose measurements may have a profile."""
PROFILE = "profile"
"""The condition of a latency that holds a network's layers and the times of its operators."""
MOST_OPERATORS = 1000
"""Networks of more operators are not learned from, so that a measurement stays small."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class ProfiledNetwork:
    """A measured network, its layers in the order in which they run, and its operators in theirs.

    ``architecture`` is None for a network of another space, and ``is_of_run`` is False for one of another run.
    """

    layers: tuple[Layer, ...]
    operators: tuple[LayerTime, ...]
    latency_ms: float
    architecture: Architecture | None = None
    is_of_run: bool = False

    def __repr__(self) -> str:
        return f"ProfiledNetwork of {len(self.layers)} layers and {len(self.operators)} operators"


def profile_of(layers: Sequence[Layer], operators: Sequence[LayerTime]) -> dict[str, Any]:
    """Return the conditions that a latency gets, as plain data; none without operators, or with too many."""
    if not operators or max(len(operators), len(layers)) > MOST_OPERATORS:
        return {}
    told = [
        [o.kind, [*o.input_shape], [*o.output_shape], o.macs, o.params, o.kernel, o.stride, o.groups] for o in layers
    ]
    return {PROFILE: {"layers": told, "operators": [[each.kind, each.elements, each.ms] for each in operators]}}


def profiled_among(measurements: Mapping[Architecture, Mapping[str, Measurement]]) -> list[ProfiledNetwork]:
    """Return the profiled networks among measurements by architecture and metric.

    There are none if these are of several targets, since one layer then has several costs. Precisions that the
    architectures choose are none of these.
    """
    found = {a: each[LATENCY] for a, each in measurements.items() if LATENCY in each}
    ran = {(precision_of(architecture), each.target) for architecture, each in found.items()}
    if len(ran) > len({precision for precision, _ in ran}):
        return []
    networks = (profiled_network(each, architecture, is_of_run=True) for architecture, each in found.items())
    return [network for network in networks if network is not None]


def profiled_network(
    latency: Measurement, architecture: Architecture | None, *, is_of_run: bool
) -> ProfiledNetwork | None:
    """Return the network behind a measured latency; None if it was not profiled, or not in a form that is known."""
    told = latency.conditions.get(PROFILE)
    if not isinstance(told, Mapping):
        return None
    try:
        layers = [Layer(kind, tuple(read), tuple(wrote), *rest) for kind, read, wrote, *rest in told["layers"]]
        operators = [LayerTime("", kind, ms, elements) for kind, elements, ms in told["operators"]]
    except (KeyError, TypeError, ValueError):  # another version's form, or changed by hand
        return None
    if any(fault_of(layer) is not None for layer in layers):
        return None
    return ProfiledNetwork(tuple(layers), tuple(operators), latency.median, architecture, is_of_run)
