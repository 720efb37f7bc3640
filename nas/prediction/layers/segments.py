"""Which layers of a network the operators of its profile run.

A runtime merges, splits and adds operators, so layers and operators do not correspond one to one. But products, which
are convolutions, linear layers and matrix products, are seldom merged with each other. So the products of both are
matched in their order by the number of elements that they write (the longest common subsequence). A segment reaches
from one matched product to the next. Its operators run its layers, whatever was merged within.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import final

import numpy as np

from nas.space.layer import Layer
from nas.values.profiled_network import ProfiledNetwork

_PRODUCTS = frozenset({"conv", "depthwise_conv", "linear", "matmul", "attention"})
_WORDS = ("conv", "gemm", "matmul", "fullyconnected", "attention")
"""An operator is a product if its type contains one of these words."""
_PADDINGS = (1, 8, 16)
"""Channels may be padded to a multiple of one of these numbers."""
_LEAST_MATCHED = 0.5
"""Profiles in which a smaller share of the layers' products is found are not understood."""


@final
@dataclass(frozen=True)
class Segment:
    """Consecutive layers, and the milliseconds that their operators take of the network's latency."""

    layers: tuple[Layer, ...]
    ms: float


@lru_cache(maxsize=1024)
def segments_of(network: ProfiledNetwork) -> Sequence[Segment]:
    """Return the segments of a network; none if its operators cannot be matched with its layers.

    A profiler takes time for each operator. What all operators take beyond the latency is subtracted from each alike.
    """
    layers, operators = network.layers, network.operators
    products = _products(layers)
    ran = [place for place, operator in enumerate(operators) if _is_product(operator.kind)]
    pairs = _matched([sizes for _, sizes in products], [operators[place].elements for place in ran])
    if len({products[i][0] for i, _ in pairs}) < max(1.0, _LEAST_MATCHED * len({place for place, _ in products})):
        return []
    starts = [(products[i][0], ran[j]) for i, j in _clean(pairs, [place for place, _ in products])]
    starts[0] = (0, 0)
    ends = [*starts[1:], (len(layers), len(operators))]
    each_ms = np.array([operator.ms for operator in operators])
    beyond_ms = max(0.0, float(each_ms.sum()) - network.latency_ms) / len(operators)
    own_ms = np.maximum(each_ms - beyond_ms, 0.0)
    total_ms = float(own_ms.sum())
    if total_ms <= 0:
        return []
    scale = network.latency_ms / total_ms
    return [
        Segment(layers[first:last], scale * float(own_ms[start:end].sum()))
        for (first, start), (last, end) in zip(starts, ends, strict=True)
    ]


def _products(layers: Sequence[Layer]) -> list[tuple[int, tuple[int, ...]]]:
    """Return the place of each product's layer, and how many elements its operator may write.

    Attention is two products: of queries with keys, and of the result with values.
    """
    found: list[tuple[int, tuple[int, ...]]] = []
    for place, layer in enumerate(layers):
        if layer.kind not in _PRODUCTS:
            continue
        if layer.kind == "attention" and len(layer.input_shape) == 3:
            heads, tokens, _ = layer.input_shape
            found.append((place, (heads * tokens * tokens,)))
        found.append((place, _padded(layer)))
    return found


def _padded(layer: Layer) -> tuple[int, ...]:
    shape = layer.output_shape or (1,)
    channels = max(1, shape[0] if len(shape) == 3 else shape[-1])
    rest = layer.output_elements // channels
    return tuple(-(-channels // multiple) * multiple * rest for multiple in _PADDINGS)


def _is_product(kind: str) -> bool:
    name = kind.lower()
    return any(word in name for word in _WORDS)


def _matched(sizes: Sequence[tuple[int, ...]], elements: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of places with the longest common subsequence of products, in their order."""
    fits = [[each > 0 and each in allowed for each in elements] for allowed in sizes]
    rows, columns = len(sizes), len(elements)
    longest = [[0] * (columns + 1) for _ in range(rows + 1)]  # from each pair of places to the ends
    for i in range(rows - 1, -1, -1):
        here, below, fit = longest[i], longest[i + 1], fits[i]
        for j in range(columns - 1, -1, -1):
            here[j] = below[j + 1] + 1 if fit[j] else max(below[j], here[j + 1])
    pairs, i, j = [], 0, 0
    while i < rows and j < columns:
        if fits[i][j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _clean(pairs: Sequence[tuple[int, int]], places: Sequence[int]) -> list[tuple[int, int]]:
    """Return the pairs at which a segment begins: between them and the pair before lies no unmatched product."""
    begins = [pairs[0]]
    for (i, j), (next_i, next_j) in pairwise(pairs):
        own = {places[k] for k in range(i + 1, next_i)} - {places[i], places[next_i]}
        if next_j == j + 1 and not own and places[next_i] != places[i]:
            begins.append((next_i, next_j))
    return begins
