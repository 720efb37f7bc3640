"""Descriptions of architectures, checked by hand on a space of three choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from nas.errors import CandidateError
from nas.space.architecture import Architecture, Choice, Option
from nas.space.description import POPULATION, QUANTITIES, TRACED_POPULATION, Describer, Descriptions, FloatArray
from nas.space.layer import Layer
from nas.space.parts.device_parts import with_precisions

IMAGE = (3, 32, 32)
ENTRY = Layer("conv", IMAGE, (8, 32, 32), macs=1000, params=100, kernel=3)


class Switches:
    """A convolution, optionally followed by another one and a pool; ``kernel`` has no effect if ``cut`` is set."""

    choices = (
        Choice("second", (False, True)),
        Choice("kernel", (3, 5, 7), when=("second", (True,))),
        Choice("cut", (False, True)),
    )

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        return {**values, "kernel": 3} if values["second"] and values["cut"] else dict(values)

    def layers(self, architecture: Architecture) -> list[Layer]:
        layers = [ENTRY]
        if architecture["second"] and not architecture["cut"]:
            kernel = int(architecture["kernel"])
            layers.append(Layer("conv", (8, 32, 32), (16, 16, 16), 10 * kernel, kernel, kernel, stride=2))
            layers.append(Layer("pool", (16, 16, 16), (16,)))
        return layers


class OwnPrecision:
    """A space with a choice of its own that is called like the one of recipes."""

    choices = (Choice("precision", ("fp32", "int8")),)

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


@pytest.fixture
def describer() -> Describer:
    """Return a describer of ``Switches`` with written layers."""
    return Describer(Switches(), Switches().layers)


def quantity(descriptions: Descriptions, name: str) -> FloatArray:
    """Return one of the quantities, shape (N, groups)."""
    return descriptions.layer_sums[:, :, QUANTITIES.index(name)]


SHORT = Architecture({"second": False, "cut": False})
LONG = Architecture({"second": True, "kernel": 5, "cut": False})
CUT = Architecture({"second": True, "kernel": 7, "cut": True})


def test_options_are_numbers_in_the_order_of_the_choices(describer: Describer) -> None:
    """Options become indexes, and an inactive choice becomes -1."""
    descriptions = describer.describe([SHORT, LONG])
    assert descriptions.options.tolist() == [[0, -1, 0], [1, 1, 0]]
    assert len(descriptions) == 2


def test_options_that_change_nothing_are_not_live(describer: Describer) -> None:
    """Live options and layers are those of the canonical architecture."""
    descriptions = describer.describe([CUT])
    assert descriptions.options.tolist() == [[1, 2, 1]]
    assert descriptions.live_options.tolist() == [[1, 0, 1]]


def test_no_architectures_have_no_rows(describer: Describer) -> None:
    """An empty list gives arrays with no rows and the usual shapes."""
    descriptions = describer.describe([])
    assert descriptions.options.shape == descriptions.live_options.shape == (0, 3)
    assert descriptions.layer_sums.shape == (0, 0, len(QUANTITIES))


def test_layers_are_added_up_by_group(describer: Describer) -> None:
    """Sums hold counts, multiply-accumulates, elements in and out, and weights."""
    descriptions = describer.describe([LONG])
    assert [group[:5] for group in descriptions.groups] == [
        (0, "conv", 3, 1, "plain"),
        (1, "conv", 5, 2, "plain"),
        (8, "pool", 1, 1, "plain"),
    ]
    assert quantity(descriptions, "count").tolist() == [[1, 1, 1]]
    assert quantity(descriptions, "macs").tolist() == [[1000, 50, 0]]
    assert quantity(descriptions, "moved_elements").tolist() == [[11 * 1024, 8 * 1024 + 16 * 256, 16 * 256 + 16]]
    assert quantity(descriptions, "params").tolist() == [[100, 5, 0]]


def test_layers_of_one_group_share_its_sums() -> None:
    """Three equal layers count three times."""
    describer = Describer(Switches(), lambda architecture: [ENTRY, ENTRY, ENTRY])
    descriptions = describer.describe([SHORT])
    assert quantity(descriptions, "count").tolist() == [[3]]
    assert quantity(descriptions, "macs").tolist() == [[3000]]


def test_layers_in_a_chosen_precision_have_groups_of_their_own() -> None:
    """Where the precision is no choice, it is empty, and a choice of the space's own by that name does not count."""
    switches = Switches()
    space = with_precisions(switches, ("fp32", "int8"))
    describer = Describer(space, lambda architecture: switches.layers(architecture.without(["precision"])))
    assert describer.precisions == ("fp32", "int8")
    both = [Architecture({**SHORT, "precision": each}) for each in describer.precisions]
    descriptions = describer.describe(both)
    assert [group.precision for group in descriptions.groups] == ["fp32", "int8"]
    assert quantity(descriptions, "macs").tolist() == [[1000, 0], [0, 1000]]
    assert describer.precision_of(SHORT) == ""
    plain = Describer(switches, switches.layers)
    assert plain.precisions == ("",)
    assert [group.precision for group in plain.describe([SHORT]).groups] == [""]
    assert Describer(OwnPrecision(), lambda _: [ENTRY]).precisions == ("",)


@pytest.mark.parametrize(
    ("layer", "padded"),
    [
        (Layer("conv", (16, 4, 4), (64, 4, 4), macs=100), 100),
        (Layer("conv", (8, 4, 4), (48, 4, 4), macs=90), 90 * 2 * 64 / 48),
        (Layer("conv", (17, 4, 4), (65, 4, 4), macs=1105), 32 * 128),
        (Layer("depthwise_conv", (24, 4, 4), (24, 4, 4), macs=24, groups=24), 32),
        (Layer("linear", (20, 192), (20, 10), macs=100), 640),
        (Layer("attention", (20, 10), (20, 10), macs=100), 100),
    ],
)
def test_channels_are_padded_to_whole_tiles(layer: Layer, padded: float) -> None:
    """Tiles have 16 channels in and 64 out; depthwise convolutions are padded to 16, other kinds not at all."""
    descriptions = Describer(Switches(), lambda architecture: [layer]).describe([SHORT])
    assert quantity(descriptions, "padded_macs").item() == pytest.approx(padded)


@pytest.mark.parametrize(
    ("layer", "group"),
    [
        (
            Layer("depthwise_conv", (24, 8, 8), (24, 4, 4), kernel=5, stride=2, groups=24),
            (3, "depthwise_conv", 5, 2, "depthwise"),
        ),
        (Layer("conv", (32, 32, 32), (64, 32, 32), groups=4), (0, "conv", 1, 1, "grouped")),
        (Layer("linear", (50, 192), (50, 12)), (8, "linear", 1, 1, "plain")),
        (Layer("pool", (16, 32, 32), (16, 1, 1)), (5, "pool", 1, 1, "plain")),
        (Layer("conv", (7, 31, 31), (7, 15, 15)), (1, "conv", 1, 1, "plain")),
        (Layer("conv", (7, 31, 31), (7, 64, 64)), (0, "conv", 1, 1, "plain")),
    ],
)
def test_groups_by_hand(layer: Layer, group: tuple[int, str, int, int, str]) -> None:
    """Groups have the expected stages, for an image of 32, and the expected sharing of channels."""
    describer = Describer(Switches(), lambda architecture: [ENTRY, layer])
    assert describer.describe([SHORT]).groups[-1][:5] == group


def test_maps_of_signals_have_stages_and_channels() -> None:
    """A convolution along time: 8 of 16 and 20 of 64 channels, and half of half the samples."""
    first = Layer("conv", (3, 128), (8, 64), macs=64, kernel=5, stride=2)
    second = Layer("conv", (8, 64), (20, 32), macs=100, kernel=3, stride=2)
    found = Describer(Switches(), lambda _: [first, second]).describe([Architecture({"second": False, "cut": False})])
    assert [group.stage for group in found.groups] == [1, 2]
    assert quantity(found, "padded_macs").tolist() == [[64 * 16 / 3 * 8, 100 * 2 * 3.2]]


def test_groups_grow_and_old_numbers_stay(describer: Describer) -> None:
    """``sums_by`` compares descriptions made at different times, and fills missing groups with zeros."""
    early = describer.describe([SHORT])
    late = describer.describe([LONG, SHORT])
    assert late.groups[: len(early.groups)] == early.groups
    assert len(late.groups) > len(early.groups)
    np.testing.assert_array_equal(early.sums_by(late.groups)[0], late.layer_sums[1])
    reversed_groups = late.groups[::-1]
    np.testing.assert_array_equal(late.sums_by(reversed_groups), late.layer_sums[:, ::-1])
    np.testing.assert_array_equal(late.sums_by(early.groups), late.layer_sums[:, : len(early.groups)])


def test_rows_can_be_taken(describer: Describer) -> None:
    """Rows are selected by indexes, by a mask and by a slice."""
    descriptions = describer.describe([SHORT, LONG, CUT])
    for index in (np.array([2, 0]), np.array([False, True, True]), slice(1, 2)):
        taken: Descriptions = descriptions.take(index)
        np.testing.assert_array_equal(taken.options, descriptions.options[index])
        np.testing.assert_array_equal(taken.live_options, descriptions.live_options[index])
        np.testing.assert_array_equal(taken.layer_sums, descriptions.layer_sums[index])


def test_unknown_options_and_choices_are_refused(describer: Describer) -> None:
    """The error names the choice, its options and the given value."""
    with pytest.raises(ValueError, match=r"kernel must be one of \(3, 5, 7\), but got 9"):
        describer.describe([SHORT, Architecture({**LONG, "kernel": 9})])
    with pytest.raises(ValueError, match=r"only choices of its space, but it also has \['colour'\]"):
        describer.describe([Architecture({**SHORT, "colour": 1})])


def test_layers_are_asked_for_once() -> None:
    """Layers are computed once for each network, also for duplicates."""
    asked: list[Architecture] = []

    def layers_of(architecture: Architecture) -> Sequence[Layer]:
        asked.append(architecture)
        return Switches().layers(architecture)

    describer = Describer(Switches(), layers_of)
    twin = Architecture({**CUT, "kernel": 5})
    describer.describe([LONG, CUT])
    describer.describe([CUT, twin, LONG])
    assert describer.layers(LONG) is describer.layers(Architecture(dict(LONG)))
    assert asked == [LONG, Architecture({**CUT, "kernel": 3})]


def test_the_population_is_always_the_same(describer: Describer) -> None:
    """The population holds each random architecture once; this space has six."""
    again = Describer(Switches(), Switches().layers)
    assert describer.population() == again.population()
    assert describer.population() is describer.population()
    assert len(describer.population()) == len(set(describer.population())) == 6


class Traced:
    """A space of 10,000 architectures without a ``layers`` method."""

    choices = tuple(Choice(f"c{n}", tuple(range(10))) for n in range(4))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


class Known(Traced):
    """The same space with a ``layers`` method."""

    def layers(self, architecture: Architecture) -> list[Layer]:
        return [ENTRY]


def test_fewer_are_drawn_where_layers_are_traced() -> None:
    """The population is smaller for traced layers, because tracing is slow."""
    assert len(Describer(Traced(), lambda architecture: [ENTRY]).population()) == TRACED_POPULATION
    assert POPULATION - 20 < len(Describer(Known(), Known().layers).population()) <= POPULATION


def test_architectures_that_cannot_be_built_are_left_out_of_the_population() -> None:
    """The population skips them, but describing one raises the error of its layers."""

    def layers_of(architecture: Architecture) -> Sequence[Layer]:
        if architecture["second"]:
            raise CandidateError("build", "it has a second convolution")
        return [ENTRY]

    describer = Describer(Switches(), layers_of)
    assert {architecture["second"] for architecture in describer.population()} == {False}
    with pytest.raises(CandidateError):
        describer.describe([LONG])


def test_equal_layers_of_architectures_are_kept_once() -> None:
    """A sampler describes dozens of candidates for each proposal, and most of their layers are alike."""

    def layers_of(architecture: Architecture) -> list[Layer]:
        return [Layer("conv", (3, 32, 32), (8, 32, 32), macs=1000, params=100, kernel=3)]

    describer = Describer(Switches(), layers_of)
    one, other = (Architecture({"second": False, "cut": cut}) for cut in (False, True))
    assert describer.layers(one)[0] is describer.layers(other)[0]
