"""The layers of a parent's parts by arithmetic: two traces show which size of which layer belongs to which group.

A trace takes some tenths of a second, and a sampler wants to know thousands of parts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from torch import nn

from nas.errors import CandidateError
from nas.space.layer import Layer
from nas.space.signature import Signature
from nas.space.tracing import trace_layers
from search_spaces.shrinking.plan import Group, Plan, pruned

CONVOLUTIONS = ("conv", "depthwise_conv")
Shape = tuple[int, ...]
Groups = tuple[str, ...]
MOST_SHIFTS = 8


@dataclass(frozen=True)
class _Row:
    """A layer of the parent. ``inputs`` and ``outputs`` hold the groups of each size, none where it is fixed.

    A head that sees several stages takes the channels of several groups.
    """

    layer: Layer
    inputs: tuple[Groups, ...]
    outputs: tuple[Groups, ...]

    def of(self, counts: Mapping[str, int], removed: Mapping[str, int]) -> Layer:
        """Return the layer with these channels of each group, and without the others."""
        layer = self.layer
        if not any(self.inputs) and not any(self.outputs):
            return layer
        taken = _sized(layer.input_shape, self.inputs, removed)
        given = _sized(layer.output_shape, self.outputs, removed)
        if layer.kind == "concat" and len(taken) == len(given) == 1:  # its input is the largest of several
            taken = (max(*taken, *(counts[name] for name in self.outputs[0])),)
        groups = layer.groups if layer.groups == 1 else taken[0]  # a group for each channel: no other can be sliced
        changed = replace(layer, input_shape=taken, output_shape=given, groups=groups)
        if layer.kind in CONVOLUTIONS or layer.kind == "linear":
            return _weighted(layer, changed)
        if layer.params:
            return replace(changed, params=layer.params * math.prod(given) // math.prod(layer.output_shape))
        return changed


def _sized(shape: Shape, groups: Sequence[Groups], removed: Mapping[str, int]) -> Shape:
    return tuple(size - sum(removed[name] for name in names) for size, names in zip(shape, groups, strict=True))


def _weighted(layer: Layer, changed: Layer) -> Layer:
    """Return a layer with weights: multiply-accumulates grow with both sizes, and biases with the outputs alone."""
    axis = 0 if layer.kind in CONVOLUTIONS else -1
    made, makes = layer.output_shape[axis], changed.output_shape[axis]
    takes = changed.input_shape[axis] // changed.groups, layer.input_shape[axis] // layer.groups
    macs = layer.macs * makes * takes[0] // (made * takes[1])
    places = math.prod(layer.output_shape) // made
    beside = layer.params - layer.macs // places  # biases and the scales of a folded norm
    return replace(changed, macs=macs, params=macs // places + beside * makes // made)


@final
class LayerTable:
    """The layers of all parts of a parent."""

    def __init__(self, rows: Sequence[_Row], blocks: Mapping[str, range], whole: Mapping[str, int]) -> None:
        self._rows = rows
        self._blocks = blocks
        self._whole = whole

    def layers(self, counts: Mapping[str, int], dropped: Collection[str] = ()) -> tuple[Layer, ...]:
        """Return the layers that remain with these channels of each group, and without the dropped blocks."""
        gone = {place for name in dropped for place in self._blocks[name]}
        removed = {name: channels - counts[name] for name, channels in self._whole.items()}
        return tuple(row.of(counts, removed) for place, row in enumerate(self._rows) if place not in gone)


def layer_table(module: nn.Module, plan: Plan, signature: Signature) -> LayerTable | None:
    """Return the table of a parent's layers, or None where arithmetic does not reproduce what traces show."""
    groups = sorted(plan.groups, key=lambda group: group.channels)
    removed, told_by = _numbers(groups)
    if not told_by:
        return None

    def traced(counts: Mapping[str, int], dropped: Collection[str] = ()) -> tuple[Layer, ...]:
        kept = {name: np.arange(count) for name, count in counts.items()}
        return trace_layers(pruned(module, plan.groups, kept, dropped), signature)

    whole = {group.name: group.channels for group in groups}
    varied = {group.name: group.channels - removed[group.name] for group in groups}
    try:
        base, changed = traced(whole), traced(varied)
        rows = _rows(base, changed, told_by)
        if rows is None:
            return None
        blocks = {block.name: _gap(changed, traced(varied, [block.name])) for block in plan.blocks}
        table = LayerTable(rows, {name: gap for name, gap in blocks.items() if gap is not None}, whole)
        if len(table._blocks) < len(blocks):
            return None
        for counts, dropped in _tried(groups, list(blocks)):
            if table.layers(counts, dropped) != traced(counts, dropped):
                return None
    except CandidateError:
        return None
    return table


def _numbers(groups: Sequence[Group]) -> tuple[dict[str, int], dict[int, Groups]]:
    """Return how many channels to remove of each group, and which groups each possible change of a size tells.

    Sizes change by the number of one group, or by the sum of those that one layer takes, some perhaps several times.
    All of these differ. Both are empty where that cannot be. ``groups`` come in the order of their channels.
    """
    takers: dict[str, list[str]] = {}
    for group in groups:
        for cut in group.cuts:
            if cut.is_consumer:
                takers.setdefault(cut.name, []).extend([group.name] * (len(cut.indices) // group.channels))
    together = {tuple(names) for names in takers.values() if len(names) > 1}
    for shift in range(MOST_SHIFTS):
        removed = {group.name: number for number, group in enumerate(groups, start=1 + shift)}
        if any(group.channels <= removed[group.name] for group in groups):
            break
        alone = {number: (name,) for name, number in removed.items()}
        found = alone | {sum(removed[name] for name in names): names for names in together}
        if len(found) == len(alone) + len(together):
            return removed, found
    return {}, {}


def _rows(base: Sequence[Layer], changed: Sequence[Layer], told_by: Mapping[int, Groups]) -> list[_Row] | None:
    """Return the rows, of which each size changed by a number that tells its groups; None if one did not."""
    if [layer.kind for layer in base] != [layer.kind for layer in changed]:
        return None
    rows = []
    for one, other in zip(base, changed, strict=True):
        found = []
        for before, after in ((one.input_shape, other.input_shape), (one.output_shape, other.output_shape)):
            differences = [a - b for a, b in zip(before, after, strict=True)]
            if any(number and number not in told_by for number in differences):
                return None
            found.append(tuple(told_by[number] if number else () for number in differences))
        is_known = one.kind in (*CONVOLUTIONS, "linear") or not one.macs
        if any(map(any, found)) and (not is_known or 1 < one.groups < one.input_shape[0]):
            return None
        rows.append(_Row(one, *found))
    return rows


def _gap(with_block: Sequence[Layer], without: Sequence[Layer]) -> range | None:
    """Return the places of the layers that ``without`` lacks, if these lie together."""
    length = len(with_block) - len(without)
    same = (place for place, layer in enumerate(without) if with_block[place] != layer)
    start = next(same, len(without))
    kept = [*with_block[:start], *with_block[start + length :]]
    return range(start, start + length) if kept == list(without) else None


def _tried(groups: Sequence[Group], blocks: Sequence[str]) -> list[tuple[dict[str, int], list[str]]]:
    """Return two very different parts, on which a table is checked."""
    half = {group.name: group.count(0.5) for group in groups}
    mixed = {group.name: group.count(0.25 + 0.25 * (place % 4)) for place, group in enumerate(groups)}
    return [(half, list(blocks)), (mixed, list(blocks[::2]))]
