"""Descriptions of architectures as arrays: the options they take, and sums over their layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError, SpaceError
from nas.space.architecture import Architecture
from nas.space.layer import Layer, fault_of
from nas.space.listing import HasListing, HasNumbers
from nas.space.parts.candidate import PRECISION
from nas.space.search_space import HasCanonical, HasLayers, SearchSpace, canonical_values, sample

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int16]
LayerNumbers = npt.NDArray[np.int32]

QUANTITIES = ("count", "macs", "moved_elements", "params", "padded_macs")
POPULATION, TRACED_POPULATION = 400, 60
"""Random architectures that show how features vary over a space; fewer if layers must be traced, at 0.03 s each."""
LISTED_POPULATION = 2000
"""The most architectures that show this of a space that lists them."""
LAYERS_KEPT = 10_000
"""The most architectures whose layers are kept: half a KiB each, and a millisecond to find again."""
ROWS_KEPT = 50_000
"""The most architectures whose descriptions are kept where layers need not be traced: 1.3 KiB each."""
_LARGEST_STAGE = 7
_TILE_IN, _TILE_OUT = 16, 64
_WITHOUT_MAP = 8


class LayerGroup(NamedTuple):
    """A group of layers that a device treats alike.

    ``stage`` counts how often the side of the output map was halved; it is 8 if the output is not a map. ``sharing`` is
    "plain", "grouped" or "depthwise". ``precision`` is the one that the network chooses, or empty where none is chosen.
    """

    stage: int
    kind: str
    kernel: int
    stride: int
    sharing: str
    precision: str = ""


class GroupedLayer(NamedTuple):
    """A layer with the number of its group and its ``QUANTITIES``."""

    layer: Layer
    group: int
    quantities: tuple[float, ...]


@final
@dataclass(frozen=True, repr=False)
class Descriptions:
    """N architectures of one space as arrays.

    ``options``, shape (N, choices), holds the index of each choice's option, or -1 if the choice is inactive.
    ``live_options`` is the same after the space's ``canonical``; it differs where a choice changes nothing.

    ``layer_sums``, shape (N, groups, 5), adds up each of ``QUANTITIES`` over the layers of a group. ``layers`` are all
    different layers. ``layer_numbers``, shape (N, most layers), are indexes into ``layers``, padded with -1.

    ``numbers``, shape (N, F), are known beforehand, without layers, and ``are_positive``, shape (F,), tells which of
    them are positive for all architectures; most spaces have none.
    """

    options: IntArray
    live_options: IntArray
    groups: tuple[LayerGroup, ...]
    layer_sums: FloatArray
    layers: tuple[GroupedLayer, ...]
    layer_numbers: npt.NDArray[np.int32]
    numbers: FloatArray
    are_positive: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.options)

    @property
    def log_numbers(self) -> FloatArray:
        """The numbers, shape (N, F): positive ones as logarithms."""
        return np.log(self.numbers, where=self.are_positive, out=self.numbers.copy())

    def __repr__(self) -> str:
        return f"Descriptions of {len(self)} architectures by {len(self.groups)} groups of layers"

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice) -> Descriptions:
        """Return the architectures at ``index``, an array of numbers or a mask."""
        return Descriptions(
            *(self.options[index], self.live_options[index], self.groups, self.layer_sums[index]),
            *(self.layers, self.layer_numbers[index], self.numbers[index], self.are_positive),
        )

    def sums_by(self, groups: Sequence[LayerGroup]) -> FloatArray:
        """Return ``layer_sums`` for exactly these groups, shape (N, len(groups), 5); a group without layers gets 0."""
        place = {group: index for index, group in enumerate(self.groups)}
        sums = np.zeros((len(self), len(groups), len(QUANTITIES)))
        for index, group in enumerate(groups):
            if group in place:
                sums[:, index] = self.layer_sums[:, place[group]]
        return sums


@final
class Describer:
    """Describes architectures of one space for one task, and caches the descriptions.

    ``layers_of`` returns the layers of an architecture. Its exceptions for architectures that cannot be built reach the
    caller. ``merged`` are kinds of layers that the runtime merges into others; they are left out of the sums.
    ``precisions`` are those that an architecture chooses from: an empty text alone where the target says it.
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
        chosen = [each.options for each in self.choices if each.is_of_deployment and each.name == PRECISION]
        self.precisions = tuple(map(str, chosen[0])) if chosen else ("",)
        self._numbers = [{option: n for n, option in enumerate(choice.options)} for choice in self.choices]
        self._kept_layers = lru_cache(LAYERS_KEPT)(self._found_layers)
        self._same: dict[Layer, Layer] = {}
        self._groups: dict[LayerGroup, int] = {}
        self._numbers_of_layers: dict[tuple[Layer, tuple[int, ...], str], int] = {}
        self._grouped: list[GroupedLayer] = []
        self._quantities = _Quantities()
        self._rows: dict[Architecture, tuple[bytes, bytes, bytes]] = {}  # arrays take twice the memory
        self._numbered: dict[bytes, bytes] = {}
        self._population: tuple[Architecture, ...] | None = None
        self._unfit: set[Architecture] = set()
        self._positive: npt.NDArray[np.bool_] | None = None

    def layers(self, architecture: Architecture) -> tuple[Layer, ...]:
        """Return the layers of an architecture. Those that were asked for last are kept."""
        return self._kept_layers(architecture)

    def _found_layers(self, architecture: Architecture) -> tuple[Layer, ...]:
        """Return the layers, equal ones as the same objects: they take a third of the memory in a long search."""
        layers = self._layers_of(architecture)
        try:
            return tuple(self._same.setdefault(layer, layer) for layer in layers)
        except TypeError:  # a list in the place of a tuple, which is refused where layers are added up
            return tuple(layers)

    @property
    def chooses_precision(self) -> bool:
        """True if each architecture chooses a precision."""
        return self.precisions != ("",)

    def precision_of(self, architecture: Architecture) -> str:
        """Return the precision that an architecture chooses; an empty text where the target alone says it."""
        return str(architecture.get(PRECISION, "")) if self.chooses_precision else ""

    def merging(self, kinds: Collection[str]) -> Describer:
        """Return the describer for a runtime that merges these kinds of layers; it is cached and shares the layers."""
        merged = frozenset(kinds)
        if merged == self.merged:
            return self
        if merged not in self._merging:
            self._merging[merged] = Describer(self.space, self.layers, merged)
        return self._merging[merged]

    def describe(self, architectures: Sequence[Architecture]) -> Descriptions:
        """Return the descriptions of N architectures.

        Raises:
            ValueError: a choice or an option that the space does not have.
        """
        rows = [self._row(architecture) for architecture in architectures]
        of_rows = [np.frombuffer(row[2], dtype=np.int32) for row in rows]
        numbers = np.full((len(rows), max(map(len, of_rows), default=0)), -1, dtype=np.int32)
        for index, of_row in enumerate(of_rows):
            numbers[index, : len(of_row)] = of_row
        shape = (len(rows), len(self.choices))
        return Descriptions(
            np.frombuffer(bytearray().join(row[0] for row in rows), dtype=np.int16).reshape(shape),
            np.frombuffer(bytearray().join(row[1] for row in rows), dtype=np.int16).reshape(shape),
            tuple(self._groups),
            self._quantities.sums(numbers, self._grouped, len(self._groups)),
            tuple(self._grouped),
            numbers,
            *self._known_numbers(architectures),
        )

    def _known_numbers(self, architectures: Sequence[Architecture]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        if not isinstance(self.space, HasNumbers):
            return np.empty((len(architectures), 0)), np.empty(0, dtype=np.bool_)
        width = len(self.space.number_names)
        rows = [self.space.numbers(architecture) for architecture in architectures]
        if self._positive is None:
            # One that is not positive must not be missed, for it has no logarithm.
            every = self.space.listing.architectures if isinstance(self.space, HasListing) else self._shown()
            shown = [self.space.numbers(each) for each in every]
            self._positive = np.all(np.array(shown, dtype=np.float64).reshape(len(shown), width) > 0, axis=0)
        positive: npt.NDArray[np.bool_] = self._positive
        return np.array(rows, dtype=np.float64).reshape(len(rows), width), positive

    def _shown(self) -> list[Architecture]:
        """Return architectures that show how features vary, whether they can be built or not, always the same."""
        rng = np.random.default_rng(0)
        if isinstance(self.space, HasListing):
            listed = self.space.listing.architectures
            drawn = np.sort(rng.permutation(len(listed))[:LISTED_POPULATION])
            return [listed[place] for place in drawn.tolist()]
        count = POPULATION if isinstance(self.space, HasLayers) else TRACED_POPULATION
        return list(dict.fromkeys(sample(self.space, rng) for _ in range(count)))

    def population(self) -> tuple[Architecture, ...]:
        """Return random architectures that can be built, always the same; they show how features vary.

        Raises:
            SpaceError: none can be built.
        """
        if self._population is None:
            drawn = self._shown()
            self._population = tuple(architecture for architecture in drawn if self.can_be_built(architecture))
            if not self._population:
                self._refuse(drawn[0], len(drawn))
        return self._population

    def _refuse(self, architecture: Architecture, count: int) -> None:
        """Raise SpaceError with the reason why ``architecture``, one of ``count``, cannot be built."""
        try:
            self._row(architecture)
        except CandidateError as error:
            raise SpaceError(
                f"a space must have an architecture that can be built, but none of {count} random ones can. {error}"
            ) from error

    def can_be_built(self, architecture: Architecture) -> bool:
        """Return True if an architecture can be built and so described; a failure is remembered and not retried."""
        if architecture in self._unfit:
            return False
        try:
            self._row(architecture)
        except CandidateError:
            self._unfit.add(architecture)
            return False
        return True

    def _row(self, architecture: Architecture) -> tuple[bytes, bytes, bytes]:
        """Return the numbers of options, those that are live, and the numbers of layers, as the bytes of arrays."""
        row = self._rows.get(architecture)
        if row is None:
            if len(self._rows) >= ROWS_KEPT and isinstance(self.space, HasLayers):
                self._rows, self._numbered = {}, {}
            options = self._option_numbers(architecture)
            canonical, live = architecture, options
            if isinstance(self.space, HasCanonical):
                canonical = Architecture(canonical_values(self.space, architecture))
                live = options if canonical == architecture else self._option_numbers(canonical)
            numbers = self._numbered.get(live)
            if numbers is None:
                numbers = self._numbers_of(self.layers(canonical), self.precision_of(architecture))
                self._numbered[live] = numbers
            row = self._rows[architecture] = (options, live, numbers)
        return row

    def _option_numbers(self, architecture: Architecture) -> bytes:
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
            raise ValueError(f"an architecture must have only choices of its space, but it also has {strange}.")
        return numbers.tobytes()

    def _numbers_of(self, layers: Sequence[Layer], precision: str) -> bytes:
        kept = [layer for layer in layers if layer.kind not in self.merged]
        by_object = {id(layer): layer for layer in kept}  # hashing a layer is slow, and spaces repeat layer objects
        number_of = {identity: self._number(layer, layers[0], precision) for identity, layer in by_object.items()}
        return np.array([number_of[id(layer)] for layer in kept], dtype=np.int32).tobytes()

    def _number(self, layer: Layer, first: Layer, precision: str) -> int:
        key = (layer, first.input_shape, precision)
        try:
            number = self._numbers_of_layers.get(key)
        except TypeError:  # a list in the place of a tuple
            number = None
        if number is None:
            if fault := fault_of(layer) or fault_of(first):
                raise CandidateError("build", fault)
            group, quantities = group_of(layer, first, precision), quantities_of(layer)
            number = self._numbers_of_layers[key] = len(self._grouped)
            self._grouped.append(GroupedLayer(layer, self._groups.setdefault(group, len(self._groups)), quantities))
        return number


@final
class _Quantities:
    """The groups and quantities of all different layers, as arrays that grow with them."""

    def __init__(self) -> None:
        self._groups = np.empty(0, dtype=np.int64)
        self._values = np.empty((0, len(QUANTITIES)))

    def sums(self, numbers: LayerNumbers, layers: Sequence[GroupedLayer], groups: int) -> FloatArray:
        """Return the sums of N networks by group, shape (N, groups, 5), for the numbers of their layers, (N, L).

        They are added up anew each time: kept, they would be a fifth of a long search's memory.
        """
        if new := layers[len(self._groups) :]:
            self._groups = np.append(self._groups, [each.group for each in new])
            self._values = np.vstack([self._values, [each.quantities for each in new]])
        networks, places = np.nonzero(numbers >= 0)
        found = numbers[networks, places]
        cells = networks * groups + self._groups[found]
        sums = np.empty((len(numbers) * groups, len(QUANTITIES)))
        for index in range(len(QUANTITIES)):
            sums[:, index] = np.bincount(cells, self._values[found, index], len(sums))
        return sums.reshape(len(numbers), groups, len(QUANTITIES))


def group_of(layer: Layer, first: Layer, precision: str = "") -> LayerGroup:
    """Return the group of a layer in a network that begins with ``first`` and chooses a ``precision``, if any."""
    return LayerGroup(_stage(layer, first), layer.kind, layer.kernel, layer.stride, _sharing(layer), precision)


def quantities_of(layer: Layer) -> tuple[float, ...]:
    """Return the ``QUANTITIES`` of a layer."""
    moved = layer.input_elements + layer.output_elements
    return (1.0, float(layer.macs), float(moved), float(layer.params), _padded_macs(layer))


def _padded_macs(layer: Layer) -> float:
    """Return the multiply-accumulates with channels padded to whole tiles, as vector and matrix units run them.

    Tiles are 16 channels in and 64 out. In ONNX Runtime's profile with AVX-512, 1×1 convolutions to 16 channels run at
    12 to 28 billion multiply-accumulates a second, and those to 128 or more channels at 45 to 67.
    """
    if layer.kind == "depthwise_conv":
        return layer.macs * _padding(layer.output_shape, _TILE_IN, is_map=True)
    if layer.kind not in ("conv", "linear"):
        return float(layer.macs)
    is_map = layer.kind == "conv"
    return layer.macs * _padding(layer.input_shape, _TILE_IN, is_map) * _padding(layer.output_shape, _TILE_OUT, is_map)


def _padding(shape: tuple[int, ...], tile: int, is_map: bool) -> float:
    """Return the factor by which channels grow when they are padded to whole tiles."""
    channels = _channels(shape, is_map)
    return -(-channels // tile) * tile / channels


def _channels(shape: tuple[int, ...], is_map: bool) -> int:
    """Return the channels: the first dimension of a map, also of a signal, or the last of tokens; at least 1."""
    return max(1, (shape[0] if len(shape) == 3 or (len(shape) == 2 and is_map) else shape[-1]) if shape else 1)


def _stage(layer: Layer, first: Layer) -> int:
    """Return how often the side of the map was halved since the image or the signal, rounded."""
    if len(layer.output_shape) != len(first.input_shape) or len(first.input_shape) not in (2, 3):
        return _WITHOUT_MAP
    sides = max(1, *first.input_shape[1:]), max(1, *layer.output_shape[1:])
    return min(_LARGEST_STAGE, max(0, round(math.log2(sides[0] / sides[1]))))


def _sharing(layer: Layer) -> str:
    if layer.kind == "depthwise_conv":
        return "depthwise"
    return "grouped" if layer.groups > 1 else "plain"
