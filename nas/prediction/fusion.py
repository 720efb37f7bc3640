"""Which kinds of layers a runtime merges into their neighbours, learned from the graphs that it executed.

A runtime tells of each model which operators it ran, after all that it merged. A kind of layer of which no operator is
left in any of them, such as an activation that runs within the convolution before it, costs nothing of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.layer import Layer
from nas.values.measurement import OPERATORS, Measurement

_MERGEABLE = frozenset({"norm", "activation", "elementwise", "softmax"})
"""Kinds that runtimes merge. Products and pools read other elements than they write, so they keep operators."""
_KINDS_BY_WORDS: tuple[tuple[str, frozenset[str]], ...] = (
    ("conv gemm matmul fullyconnected attention pool reduce", frozenset()),
    ("reorder reshape transpose flatten squeeze expand identity cast convert copy quantize slice split", frozenset()),
    ("gather shape const input parameter output result concat pad", frozenset()),
    ("softmax", frozenset({"softmax"})),
    # OpenVINO calls activations and sums alike, and what it compiles of several of them a subgraph.
    ("eltwise", frozenset({"activation", "elementwise"})),
    ("subgraph", _MERGEABLE),
    ("normalization mvn rms", frozenset({"norm"})),
    ("relu gelu elu clip sigmoid swish silu mish tanh erf softplus shrink softsign", frozenset({"activation"})),
    ("add sub mul div sum pow sqrt neg abs max min where reciprocal", frozenset({"elementwise"})),
)
"""What an operator may be that has one of the words in its type; the first that fits. Moving data is no kind."""


def as_executed(describer: Describer, measurements: Mapping[Architecture, Mapping[str, Measurement]]) -> Describer:
    """The describer that leaves out what the runtime of these measurements, by metric, merges.

    It is the same one where the runtime does not tell what it executed.
    """
    ran = []
    for architecture, found in measurements.items():
        told = (measurement.conditions.get(OPERATORS) for measurement in found.values())
        operators = next((each for each in told if each), None)
        if operators is not None:
            ran.append((describer.layers(architecture), operators))
    return describer.merging(merged_kinds(ran))


def merged_kinds(ran: Iterable[tuple[Sequence[Layer], Mapping[str, int]]]) -> frozenset[str]:
    """The kinds of layers that some networks have, but of which the runtime executed no operator in any of them.

    ``ran`` holds for each network its layers, and how many operators of each type its runtime executed. An operator
    of an unknown type may be of any kind.
    """
    present: set[str] = set()
    executed: set[str] = set()
    for layers, operators in ran:
        present.update(layer.kind for layer in layers)
        for operator in operators:
            executed |= _kinds(operator)
    return (_MERGEABLE & present) - executed


def _kinds(operator: str) -> frozenset[str]:
    """The mergeable kinds that an operator may be of."""
    name = operator.lower()
    found = (kinds for words, kinds in _KINDS_BY_WORDS if any(word in name for word in words.split()))
    return next(found, _MERGEABLE)
