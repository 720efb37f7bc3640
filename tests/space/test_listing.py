"""A space may list its architectures: every operator then keeps to the list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import numpy as np
import pytest

from nas.space.architecture import Architecture, Choice, Option
from nas.space.description import Describer
from nas.space.listing import MOST_KEPT, Listing
from nas.space.name_parts import is_of_names, likeness, part_columns, parts_of
from nas.space.parts.device_parts import device_space, with_precisions, with_training
from nas.space.search_space import (
    architecture_from,
    count,
    cross,
    enumerate_space,
    mutate,
    neighbours,
    sample,
    settle,
    whole_space,
)

NAMES = ("net18.a", "net18.b", "net50.a", "tiny_v2", "tiny_v1")
CHOICES = (Choice("model", NAMES), Choice("side", (96, 128, 224)))
ROWS = (("net18.a", 96), ("net18.b", 96), ("net50.a", 224), ("tiny_v2", 128), ("tiny_v1", 96))


class Five:
    """Five of fifteen combinations."""

    choices = CHOICES
    listing = Listing(CHOICES, [Architecture({"model": model, "side": side}) for model, side in ROWS])

    def build(self, architecture: Architecture) -> NoReturn:
        raise AssertionError("nothing is built here")


SPACE = Five()
ALL = list(SPACE.listing)


def told(architecture: Mapping[str, Option]) -> tuple[Option, ...]:
    return tuple(architecture.values())


def test_counting_and_enumerating_give_what_is_listed() -> None:
    """A row that comes twice counts once."""
    assert [told(architecture) for architecture in enumerate_space(SPACE)] == list(ROWS)
    assert count(SPACE) == len(ROWS)
    assert whole_space(SPACE) == frozenset(ALL)
    assert len(Listing(CHOICES, [*ALL, ALL[0]])) == len(ROWS)


def test_operators_keep_to_the_list() -> None:
    """Each listed architecture is as likely as any other."""
    rng = np.random.default_rng(0)
    drawn = [sample(SPACE, rng) for _ in range(500)]
    assert set(drawn) == set(ALL)
    assert min(drawn.count(each) for each in ALL) > 60
    for architecture in ALL:
        assert set(neighbours(SPACE, architecture)) == set(ALL) - {architecture}
        assert mutate(SPACE, architecture, rng) in set(ALL) - {architecture}
        assert cross(SPACE, architecture, ALL[0], rng) in SPACE.listing


def test_what_is_missing_becomes_the_nearest() -> None:
    """Numbers are near by the options between them, and names by the parts that they share."""
    assert told(settle(SPACE, lambda choice: {"model": "net50.a", "side": 128}[choice.name])) == ("net50.a", 224)
    assert told(SPACE.listing.nearest({"model": "tiny_v1", "side": 128})) == ("tiny_v1", 96)
    assert told(neighbours(SPACE, ALL[0])[0]) == ("net18.b", 96)
    assert [told(each) for each in SPACE.listing.around(ALL[3], 1)] == [("tiny_v1", 96)]


def test_distances_of_many_names_do_not_fill_the_memory() -> None:
    """Only the last ones are kept, and one that was dropped is found again."""
    names = Choice("model", tuple(f"net{number}" for number in range(MOST_KEPT + 40)))
    listing = Listing([names], [Architecture({"model": name}) for name in names.options])
    first = [listing.around(architecture, 3) for architecture in listing]
    assert len(listing._apart) <= MOST_KEPT
    assert [listing.around(architecture, 3) for architecture in listing] == first


def test_an_architecture_that_is_asked_for_must_be_listed() -> None:
    """Nobody gets another architecture than the one named."""
    assert architecture_from(SPACE, {"model": "tiny_v2", "side": 128}) == ALL[3]
    with pytest.raises(ValueError, match=r"must be a row of its table, but no row has .*'side': 224"):
        architecture_from(SPACE, {"model": "tiny_v2", "side": 224})


class WithNumbers(Five):
    """The five, with a number that is known of each."""

    number_names = ("area",)

    def numbers(self, architecture: Mapping[str, Option]) -> list[float]:
        assert set(architecture) == {"model", "side"}
        return [float(int(architecture["side"]) ** 2)]


def test_what_a_recipe_adds_keeps_the_list_and_the_numbers() -> None:
    """Each listed architecture comes with each way of training and in each precision, and no other one does."""
    plain = WithNumbers()
    trained = with_training(plain, {"epochs": [1, 2]})
    wide = with_precisions(trained, ("fp32", "int8"))
    assert count(trained) == 10
    assert count(wide) == len(set(enumerate_space(wide))) == 20
    assert {each.without(["epochs", "precision"]) for each in enumerate_space(wide)} == set(ALL)
    parts = device_space(wide)
    assert set(enumerate_space(parts)) == set(enumerate_space(with_precisions(plain, ("fp32", "int8"))))
    for space in (trained, wide, parts):
        described = Describer(space, lambda architecture: ()).describe(list(enumerate_space(space)))
        sides = [int(each["side"]) for each in enumerate_space(space)]
        assert described.numbers[:, 0].tolist() == [side**2 for side in sides]


class TestPartsOfNames:
    def test_are_words_numbers_and_letters_before_numbers(self) -> None:
        """A single letter tells nothing, and case does not count."""
        assert parts_of("MobileNetV3_large_100.ra_in1k") == {
            "mobilenetv3", "mobilenetv", "large", "100", "ra", "in1k", "in1", "in"
        }  # fmt: skip
        assert parts_of("...") == frozenset()

    def test_tell_how_like_two_names_are(self) -> None:
        """The share of the parts that both have."""
        found = likeness("net18.a", ["net18.a", "net50.a", "other"])
        assert found[0] == 1.0
        assert found[0] > found[1] > found[2] == 0.0

    def test_become_columns_where_names_share_them(self) -> None:
        """Each row has length 1; a name that shares nothing has zeros, and rare parts count more."""
        columns = part_columns([*NAMES, "alone"])
        np.testing.assert_allclose(np.linalg.norm(columns, axis=1), [1, 1, 1, 1, 1, 0])
        products = columns @ columns.T
        assert products[0, 1] >= products[0, 2] > products[0, 3] == 0.0
        assert part_columns(["one", "two"]).shape == (2, 0)

    def test_describe_choices_of_many_texts(self) -> None:
        """A few texts are categories."""
        assert is_of_names(Choice("model", tuple(f"net{n}" for n in range(30))))
        assert not is_of_names(Choice("family", NAMES))
        assert not is_of_names(Choice("side", tuple(range(30))))
