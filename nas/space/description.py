"""Architectures as numbers, once each: the options that they take, and what their layers add up to."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError
from nas.space.architecture import Architecture
from nas.space.layer import Layer
from nas.space.search_space import HasCanonical, HasLayers, SearchSpace, sample

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int16]

QUANTITIES = ("count", "macs", "moved_elements", "params", "padded_macs")
POPULATION, TRACED_POPULATION = 400, 60
"""So many random architectures tell how features vary; fewer where layers are traced, 0.03 s each."""
_LARGEST_STAGE = 7
_TILE_IN, _TILE_OUT = 16, 64
_WITHOUT_MAP = 8


class LayerGroup(NamedTuple):
    """Layers that a device treats alike.

    ``stage`` is how often the side of the output map was halved, 8 where there is no map; ``sharing`` is "plain",
    "grouped" or "depthwise".
    """

    stage: int
    kind: str
    kernel: int
    stride: int
    sharing: str


class GroupedLayer(NamedTuple):
    """A layer with the number of its group and its ``QUANTITIES``."""

    layer: Layer
    group: int
    quantities: tuple[float, ...]


@final
@dataclass(frozen=True)
class Descriptions:
    """N architectures of one space.

    ``options``, shape (N, choices), are the numbers of the options as written, -1 where a choice is inactive;
    ``live_options`` the same after the space's ``canonical``, which differ where a choice is written but changes
    nothing. ``layer_sums``, shape (N, groups, 5), adds up each of ``QUANTITIES`` over the layers of a group.
    ``layer_numbers``, shape (N, most layers), are places in ``layers``, the different ones, -1 behind the last.
    """

    options: IntArray
    live_options: IntArray
    groups: tuple[LayerGroup, ...]
    layer_sums: FloatArray
    layers: tuple[GroupedLayer, ...]
    layer_numbers: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.options)

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice) -> Descriptions:
        """Those at ``index``, an array of numbers or a mask."""
        return Descriptions(
            *(self.options[index], self.live_options[index], self.groups, self.layer_sums[index]),
            *(self.layers, self.layer_numbers[index]),
        )

    def sums_by(self, groups: Sequence[LayerGroup]) -> FloatArray:
        """``layer_sums`` with exactly these groups, shape (N, len(groups), 5); zero where there are no such layers."""
        place = {group: index for index, group in enumerate(self.groups)}
        sums = np.zeros((len(self), len(groups), len(QUANTITIES)))
        for index, group in enumerate(groups):
            if group in place:
                sums[:, index] = self.layer_sums[:, place[group]]
        return sums


@final
class Describer:
    """Describes architectures of one space for one task, each once.

    ``layers_of`` gives an architecture's layers; what it raises for one that cannot be built goes to the caller.
    ``merged`` are kinds of layers that cost nothing of their own, and are left out of what layers add up to.
    """

    def __init__(
        self,
        space: SearchSpace,
        layers_of: Callable[[Architecture], Sequence[Layer]],
        merged: Collection[str] = (),
    ) -> None:
        self.space = space
        self.choices = tuple(space.choices)
        self.merged = frozenset(merged)
        self._layers_of = layers_of
        self._merging: dict[frozenset[str], Describer] = {}
        self._numbers = [{option: n for n, option in enumerate(choice.options)} for choice in self.choices]
        self._layers: dict[Architecture, tuple[Layer, ...]] = {}
        self._groups: dict[LayerGroup, int] = {}
        self._numbers_of_layers: dict[tuple[Layer, tuple[int, ...]], int] = {}
        self._grouped: list[GroupedLayer] = []
        self._rows: dict[Architecture, tuple[IntArray, IntArray, _Summed]] = {}
        self._sums: dict[tuple[int, ...], _Summed] = {}
        self._population: tuple[Architecture, ...] | None = None
        self._unfit: set[Architecture] = set()

    def layers(self, architecture: Architecture) -> tuple[Layer, ...]:
        """The layers of an architecture, kept for the next time."""
        if architecture not in self._layers:
            self._layers[architecture] = tuple(self._layers_of(architecture))
        return self._layers[architecture]

    def merging(self, kinds: Collection[str]) -> Describer:
        """The same for a runtime that merges these kinds of layers; always the same one, which shares the layers."""
        merged = frozenset(kinds)
        if merged == self.merged:
            return self
        if merged not in self._merging:
            self._merging[merged] = Describer(self.space, self.layers, merged)
        return self._merging[merged]

    def describe(self, architectures: Sequence[Architecture]) -> Descriptions:
        """The numbers of N architectures.

        Raises:
            ValueError: a choice or an option that the space does not have.
        """
        rows = [self._row(architecture) for architecture in architectures]
        width = len(self._groups)
        sums = np.zeros((len(rows), width, len(QUANTITIES)))
        numbers = np.full((len(rows), max((len(row[2].numbers) for row in rows), default=0)), -1, dtype=np.int32)
        for index, (_, _, summed) in enumerate(rows):
            sums[index, : len(summed.sums)] = summed.sums
            numbers[index, : len(summed.numbers)] = summed.numbers
        shape = (len(rows), len(self.choices))
        return Descriptions(
            np.array([row[0] for row in rows], dtype=np.int16).reshape(shape),
            np.array([row[1] for row in rows], dtype=np.int16).reshape(shape),
            tuple(self._groups),
            sums,
            tuple(self._grouped),
            numbers,
        )

    def population(self) -> tuple[Architecture, ...]:
        """Random architectures of the space, always the same ones: how its features vary. Unfit ones are left out."""
        if self._population is None:
            rng = np.random.default_rng(0)
            count = POPULATION if isinstance(self.space, HasLayers) else TRACED_POPULATION
            drawn = dict.fromkeys(sample(self.space, rng) for _ in range(count))
            self._population = tuple(architecture for architecture in drawn if self.can_be_built(architecture))
        return self._population

    def can_be_built(self, architecture: Architecture) -> bool:
        """Whether an architecture has layers, and so can be described. What cannot be built is tried once."""
        if architecture in self._unfit:
            return False
        try:
            self._row(architecture)
        except CandidateError:
            self._unfit.add(architecture)
            return False
        return True

    def _row(self, architecture: Architecture) -> tuple[IntArray, IntArray, _Summed]:
        if architecture not in self._rows:
            options = self._option_numbers(architecture)
            canonical, live = architecture, options
            if isinstance(self.space, HasCanonical):
                canonical = Architecture(self.space.canonical(architecture))
                live = self._option_numbers(canonical)
            key = tuple(live.tolist())
            if key not in self._sums:
                self._sums[key] = self._add_up(self.layers(canonical))
            self._rows[architecture] = (options, live, self._sums[key])
        return self._rows[architecture]

    def _option_numbers(self, architecture: Architecture) -> IntArray:
        numbers = np.full(len(self.choices), -1, dtype=np.int16)
        known = 0
        for index, choice in enumerate(self.choices):
            if choice.name in architecture:
                value = architecture[choice.name]
                if value not in self._numbers[index]:
                    raise ValueError(f"{choice.name} must be one of {choice.options}, but got {value!r}.")
                numbers[index] = self._numbers[index][value]
                known += 1
        if known < len(architecture):
            strange = sorted(set(architecture) - {choice.name for choice in self.choices})
            raise ValueError(f"an architecture must have the choices of its space, but it has {strange} beside them.")
        return numbers

    def _add_up(self, layers: Sequence[Layer]) -> _Summed:
        kept = [layer for layer in layers if layer.kind not in self.merged]
        by_object = {id(layer): layer for layer in kept}  # spaces repeat the layers of a block, and hashing one is slow
        number_of = {identity: self._number(layer, layers[0]) for identity, layer in by_object.items()}
        numbers = [number_of[id(layer)] for layer in kept]
        sums = np.zeros((len(self._groups), len(QUANTITIES)))
        if numbers:
            grouped = [self._grouped[number] for number in numbers]
            np.add.at(sums, [each.group for each in grouped], [each.quantities for each in grouped])
        return _Summed(sums, np.array(numbers, dtype=np.int32))

    def _number(self, layer: Layer, first: Layer) -> int:
        key = (layer, first.input_shape)
        number = self._numbers_of_layers.get(key)
        if number is None:
            group = LayerGroup(_stage(layer, first), layer.kind, layer.kernel, layer.stride, _sharing(layer))
            moved = layer.input_elements + layer.output_elements
            quantities = (1.0, float(layer.macs), float(moved), float(layer.params), _padded_macs(layer))
            number = self._numbers_of_layers[key] = len(self._grouped)
            self._grouped.append(GroupedLayer(layer, self._groups.setdefault(group, len(self._groups)), quantities))
        return number


class _Summed(NamedTuple):
    """An architecture's layers: what they add up to by group, shape (groups, 5), and their numbers, shape (layers,)."""

    sums: FloatArray
    numbers: npt.NDArray[np.int32]


def _padded_macs(layer: Layer) -> float:
    """Multiply-accumulates when channels are padded to whole tiles, as vector and matrix units run them.

    Tiles are 16 channels in and 64 out: in ONNX Runtime's profile with AVX-512, 1×1 convolutions to 16 channels run at
    12 to 28 billion multiply-accumulates a second, those to 128 and more at 45 to 67.
    """
    if layer.kind == "depthwise_conv":
        return layer.macs * _padding(layer.output_shape, _TILE_IN)
    if layer.kind not in ("conv", "linear"):
        return float(layer.macs)
    return layer.macs * _padding(layer.input_shape, _TILE_IN) * _padding(layer.output_shape, _TILE_OUT)


def _padding(shape: tuple[int, ...], tile: int) -> float:
    """By how much channels grow when they are padded to whole tiles."""
    channels = _channels(shape)
    return -(-channels // tile) * tile / channels


def _channels(shape: tuple[int, ...]) -> int:
    """Of a map the first, of tokens the last."""
    return shape[0] if len(shape) == 3 else shape[-1]


def _stage(layer: Layer, first: Layer) -> int:
    """How often the side of the map was halved since the image, rounded."""
    if len(layer.output_shape) != 3 or len(first.input_shape) != 3:
        return _WITHOUT_MAP
    sides = max(first.input_shape[1:]), max(layer.output_shape[1:])
    return min(_LARGEST_STAGE, max(0, round(math.log2(sides[0] / sides[1]))))


def _sharing(layer: Layer) -> str:
    if layer.kind == "depthwise_conv":
        return "depthwise"
    return "grouped" if layer.groups > 1 else "plain"
