"""Operator fusion: the kinds of layers that a runtime merges into their neighbours.

A runtime reports the operators that it executed for each model, after merging. If no operator of some kind of layer is
left in any model, layers of that kind cost nothing. An example is an activation that runs within a convolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.layer import Layer
from nas.values.measurement import OPERATORS, Measurement

_MERGEABLE = frozenset({"norm", "activation", "elementwise", "softmax"})
"""Kinds that runtimes merge. Products and pools read other elements than they write, so they are never merged."""
_KINDS_BY_WORDS: tuple[tuple[str, frozenset[str]], ...] = (
    ("conv gemm matmul fullyconnected attention pool reduce", frozenset()),
    ("reorder reshape transpose flatten squeeze expand identity cast convert copy quantize slice split", frozenset()),
    ("gather shape const input parameter output result concat pad", frozenset()),
    ("softmax", frozenset({"softmax"})),
    # OpenVINO gives activations and sums the same name, and calls several of them compiled together a subgraph.
    ("eltwise", frozenset({"activation", "elementwise"})),
    ("subgraph", _MERGEABLE),
    ("normalization mvn rms", frozenset({"norm"})),
    ("relu gelu elu clip sigmoid swish silu mish tanh erf softplus shrink softsign", frozenset({"activation"})),
    ("add sub mul div sum pow sqrt neg abs max min where reciprocal", frozenset({"elementwise"})),
)
"""Kinds of layers that an operator may belong to if its type contains one of the words; the first match counts.

Operators that only move data belong to no kind.
"""


def as_executed(describer: Describer, measurements: Mapping[Architecture, Mapping[str, Measurement]]) -> Describer:
    """Return a describer that leaves out the layers which the runtime of these measurements merges.

    ``measurements`` maps each architecture to its measurements by metric. The describer itself is returned if the
    runtime does not report its operators.
    """
    ran = []
    for architecture, found in measurements.items():
        told = (measurement.conditions.get(OPERATORS) for measurement in found.values())
        operators = next((each for each in told if each), None)
        if operators is not None:
            ran.append((describer.layers(architecture), operators))
    return describer.merging(merged_kinds(ran))


def merged_kinds(ran: Iterable[tuple[Sequence[Layer], Mapping[str, int]]]) -> frozenset[str]:
    """Return the kinds of layers for which the runtime executed no operator, although some networks have them.

    ``ran`` holds the layers of each network, and the number of operators of each type that its runtime executed. An
    operator of an unknown type may belong to any kind.
    """
    present: set[str] = set()
    executed: set[str] = set()
    for layers, operators in ran:
        present.update(layer.kind for layer in layers)
        for operator in operators:
            executed |= _kinds(operator)
    return (_MERGEABLE & present) - executed


def _kinds(operator: str) -> frozenset[str]:
    """Return the mergeable kinds that an operator may belong to."""
    name = operator.lower()
    found = (kinds for words, kinds in _KINDS_BY_WORDS if any(word in name for word in words.split()))
    return next(found, _MERGEABLE)
