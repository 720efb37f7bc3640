"""Generic operators keep their laws over every registered space and over a small conditional one."""

from __future__ import annotations

import itertools
import pickle
import sys
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from space_signatures import SMALL, building_spaces, options_for, signatures_for

from nas.errors import RecipeError, SpaceError
from nas.space.architecture import Architecture, Choice, Option
from nas.space.parts.device_parts import device_space, with_training
from nas.space.parts.encoding import decode, encode
from nas.space.rules import MOST_CHOICES, check_space
from nas.space.search_space import (
    SearchSpace,
    architecture_from,
    canonical_values,
    count,
    cross,
    enumerate_space,
    load_space,
    mutate,
    neighbours,
    sample,
)
from nas.space.signature import image_signature
from nas.space.tracing import describer_of


class TinySpace:
    """A space of at most two layers; each has a kernel, and the second may add its input."""

    choices = (
        Choice("depth", (0, 1, 2)),
        Choice("kernel1", (3, 5), when=("depth", (1, 2))),
        Choice("kernel2", (3, 5, 7), when=("depth", (2,))),
        Choice("residual", (False, True), when=("kernel2", (5, 7))),
        Choice("activation", ("relu", "gelu")),
    )

    def build(self, architecture: Architecture) -> torch.nn.Module:
        return torch.nn.Flatten()


class TwinSpace(TinySpace):
    """A space that gives both activations the same canonical form if no layer uses them."""

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        return {**values, "activation": "relu"} if values["depth"] == 0 else dict(values)


SPACES: dict[str, SearchSpace] = {
    "tiny": TinySpace(),
    "twin": TwinSpace(),
    **{
        name: load_space(name, {**options_for(name), **SMALL.get(name, {})}, signatures_for(name)[0])
        for name in building_spaces()
    },
    "mobilenet-imagenet": load_space("mobilenet", {"preset": "imagenet"}, input_shape=(3, 64, 64), classes=10),
}
seeds = st.integers(0, 2**32 - 1)
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@pytest.fixture(name="tiny")
def tiny_space() -> TinySpace:
    """Return the small conditional space."""
    return TinySpace()


def assert_valid(space: SearchSpace, architecture: Architecture) -> None:
    """Check that an architecture has an allowed option for exactly its active choices."""
    assert architecture_from(space, architecture) == architecture
    assert list(architecture) == [choice.name for choice in space.choices if choice.name in architecture]


@every_space
class TestLaws:
    """Laws of the operators, over random architectures of every space."""

    @given(seed=seeds)
    @settings(max_examples=20, deadline=None)
    def test_round_trips(self, space: SearchSpace, seed: int) -> None:
        """Encoding, pickling and rebuilding from values all give an equal architecture."""
        architecture = sample(space, np.random.default_rng(seed))
        features = encode(space, [architecture])
        assert features.shape == (1, sum(len(choice.options) for choice in space.choices))
        assert features.sum() == len(architecture)
        assert_valid(space, architecture)
        for copied in (decode(space, features[0]), pickle.loads(pickle.dumps(architecture))):
            assert copied == architecture
            assert copied.id == architecture.id
            assert dict(copied) == dict(architecture)

    @given(seed=seeds)
    @settings(max_examples=20, deadline=None)
    def test_decodes_any_features(self, space: SearchSpace, seed: int) -> None:
        """Decoding arbitrary features gives a valid architecture."""
        columns = encode(space, []).shape[1]
        assert_valid(space, decode(space, np.random.default_rng(seed).normal(size=columns)))

    @given(seed=seeds)
    @settings(max_examples=20, deadline=None)
    def test_mutates_to_a_neighbour(self, space: SearchSpace, seed: int) -> None:
        """A mutant differs from the original by one changed choice."""
        rng = np.random.default_rng(seed)
        architecture = sample(space, rng)
        mutant = mutate(space, architecture, rng)
        assert mutant.id != architecture.id
        assert_valid(space, mutant)
        start = {**{choice.name: choice.options[0] for choice in space.choices}, **mutant, **architecture}
        assert any(
            architecture_from(space, {**start, choice.name: option}) == mutant
            for choice in space.choices
            if choice.name in architecture
            for option in choice.options
        )

    @given(seed=seeds)
    @settings(max_examples=20, deadline=None)
    def test_crosses(self, space: SearchSpace, seed: int) -> None:
        """A child is valid, and a child of equal parents equals them."""
        rng = np.random.default_rng(seed)
        first, second = sample(space, rng), sample(space, rng)
        assert_valid(space, cross(space, first, second, rng))
        assert cross(space, first, first, rng) == first

    @given(seed=seeds)
    @settings(max_examples=5, deadline=None)
    def test_lists_neighbours(self, space: SearchSpace, seed: int) -> None:
        """Neighbours are valid, distinct, and never the architecture itself."""
        architecture = sample(space, np.random.default_rng(seed))
        found = neighbours(space, architecture)
        assert found
        assert len({architecture.id, *(neighbour.id for neighbour in found)}) == len(found) + 1
        for neighbour in found:
            assert_valid(space, neighbour)

    def test_same_seed_same_sample(self, space: SearchSpace) -> None:
        """Samples depend only on the generator."""
        first, second = (
            [sample(space, rng).id for _ in range(5)] for rng in (np.random.default_rng(7), np.random.default_rng(7))
        )
        assert first == second
        assert len(set(first)) > 1


class TestCount:
    """Counting and enumerating architectures."""

    def test_equals_enumeration(self, tiny: TinySpace) -> None:
        """The count is 2 without layers, 4 with one layer, and 2 · 2 · (1 + 2 + 2) with two."""
        listed = list(enumerate_space(tiny))
        assert count(tiny) == len(listed) == len({architecture.id for architecture in listed}) == 2 + 4 + 20
        for architecture in listed:
            assert_valid(tiny, architecture)

    def test_enumerates_twins_once(self) -> None:
        """The count includes duplicates; the enumeration yields each network once."""
        assert (count(TwinSpace()), len(list(enumerate_space(TwinSpace())))) == (26, 25)

    def test_the_last_choice_changes_first(self) -> None:
        """The order is that of nested loops."""

        class Plain(TinySpace):
            choices = (Choice("a", (3, 1)), Choice("b", ("x", "y", "z")), Choice("c", (False, True)))

        expected = list(itertools.product((3, 1), ("x", "y", "z"), (False, True)))
        assert [tuple(architecture.values()) for architecture in enumerate_space(Plain())] == expected

    def test_a_thousand_choices_can_be_enumerated(self) -> None:
        """There are as few as 1,001 ways in a chain of conditions."""

        class Chain(TinySpace):
            choices = (
                Choice("c0", (0, 1)),
                *(Choice(f"c{n}", (0, 1), when=(f"c{n - 1}", (1,))) for n in range(1, MOST_CHOICES)),
            )

        check_space(Chain())
        assert len(list(enumerate_space(Chain()))) == count(Chain()) == MOST_CHOICES + 1

    def test_samples_cover_the_space(self, tiny: TinySpace) -> None:
        """Sampling reaches every architecture, and so does mutation."""
        everything = {architecture.id for architecture in enumerate_space(tiny)}
        rng = np.random.default_rng(0)
        assert {sample(tiny, rng).id for _ in range(1000)} == everything
        architecture, visited = sample(tiny, rng), set()
        for _ in range(2000):
            architecture = mutate(tiny, architecture, rng)
            visited.add(architecture.id)
        assert visited == everything


class TestValues:
    """Architectures made from given values."""

    def test_ignores_inactive_choices(self, tiny: TinySpace) -> None:
        """Values of inactive choices change neither the architecture nor its id."""
        bare = architecture_from(tiny, {"depth": 0, "activation": "relu"})
        full = architecture_from(
            tiny, {"depth": 0, "kernel1": 5, "kernel2": 7, "residual": True, "activation": "relu", "unknown": 1}
        )
        assert bare == full
        assert dict(full) == {"depth": 0, "activation": "relu"}

    def test_id_is_the_same_everywhere(self, tiny: TinySpace) -> None:
        """Journals contain ids, so an id must never change."""
        architecture = architecture_from(
            tiny, {"depth": 2, "kernel1": 3, "kernel2": 5, "residual": True, "activation": "gelu"}
        )
        assert architecture.id == "8efb71c245d1"
        assert architecture.short == "depth=2 kernel1=3 kernel2=5 residual=yes activation=gelu"

    def test_refuses_a_missing_value(self, tiny: TinySpace) -> None:
        """Every active choice must have a value."""
        with pytest.raises(ValueError, match="every active choice must have a value, but 'kernel1' has none"):
            architecture_from(tiny, {"depth": 1, "activation": "relu"})

    def test_refuses_a_strange_value(self, tiny: TinySpace) -> None:
        """The message gives the rule and then the value."""
        with pytest.raises(ValueError, match=r"depth must be one of \(0, 1, 2\), but got 9\."):
            architecture_from(tiny, {"depth": 9, "activation": "relu"})

    def test_mutation_of_a_single_point(self) -> None:
        """If nothing can change, mutation returns the same architecture."""

        class SinglePoint(TinySpace):
            choices = (Choice("depth", (1,)),)  # type: ignore[assignment]

        rng = np.random.default_rng(0)
        only = sample(SinglePoint(), rng)
        assert mutate(SinglePoint(), only, rng) == only


class TestRules:
    """Rules that a space must follow."""

    @pytest.mark.parametrize(
        ("choices", "message"),
        [
            ((), "must have at least one choice"),
            ((Choice("a", (1,)), Choice("a", (2,))), "'a' comes twice"),
            ((Choice("a", (1,), when=("b", (1,))),), "depends on 'b', which does not come before it"),
            (
                (Choice("a", (1, 2)), Choice("b", (1,), when=("a", (3,)))),
                r"one of \(3,\), but 'a' has only the options \(1, 2\)",
            ),
            (("depth",), "must be nas.Choice objects, but got 'depth'"),
        ],
    )
    def test_refuses_broken_choices(self, choices: tuple[Choice, ...], message: str) -> None:
        """The error names the broken rule and the choice that broke it."""

        class Broken(TinySpace):
            pass

        Broken.choices = choices  # type: ignore[assignment]
        with pytest.raises(SpaceError, match=message):
            check_space(Broken())

    def test_refuses_a_space_without_build(self) -> None:
        """A space must have a method ``build``."""

        class NoBuild:
            choices = TinySpace.choices

        with pytest.raises(SpaceError, match=r"must have a method build\(architecture\), but NoBuild has none"):
            check_space(NoBuild())  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("name", "found", "wanted"),
        [
            ("inputs", 3, "a method, but that of Made is 3. If it is something else, give it another name"),
            ("layers", 2, "a method, but that of Made is 2"),
            ("known_names", "accuracy", "a tuple of names, but that of Made is 'accuracy'"),
            ("accepts", ("images",), r"a nas\.Accepts, but that of Made is \('images',\)"),
            ("listing", [], r"a nas\.space\.listing\.Listing, but that of Made is \[\]"),
        ],
    )
    def test_an_attribute_with_the_name_of_an_optional_member_is_refused(
        self, name: str, found: object, wanted: str
    ) -> None:
        """It would be taken for the member, or be ignored without a word."""
        made = type("Made", (TinySpace,), {name: found, "known": lambda self, architecture: {}})()
        with pytest.raises(SpaceError, match=f"{name} of a space must be {wanted}"):
            check_space(made)


def fail(values: Mapping[str, Option]) -> dict[str, Option]:
    raise KeyError("depth")


def leave(values: Mapping[str, Option]) -> dict[str, Option]:
    sys.exit(0)


class TestCanonical:
    """What a space's ``canonical`` may return. It is called for every architecture, so each call is checked."""

    @pytest.mark.parametrize(
        ("canonical", "message"),
        [
            (fail, r"canonical of Twin raised KeyError: 'depth' \(.*test_search_space.py, line \d+\)"),
            (leave, "canonical of Twin raised SystemExit: 0"),
            (lambda values: None, "must return the values of choices, but got None"),
            (lambda values: list(values), "must return the values of choices, but got "),
            (lambda values: {**values, "activation": "tanh"}, "activation is 'tanh', and not one of"),
            (lambda values: {**values, "activation": np.zeros(3)}, "activation is array"),
            (lambda values: {**values, "activation": ["relu"]}, "activation is \\['relu'\\], and not one of"),
            (lambda values: {**values, "width": 3}, "exactly the active choices, but it also gave 'width'"),
            (lambda values: {**values, "depth": 0, "kernel1": 3}, "exactly the active choices, but it also gave"),
            (lambda values: {**values, 3: 4}, "exactly the active choices, but it also gave 3"),
        ],
    )
    def test_anything_else_is_refused(self, canonical: Callable[..., object], message: str) -> None:
        """The error names the choice and what came instead of an option."""

        class Twin(TinySpace):
            def canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
                return canonical(values)  # type: ignore[return-value]

        with pytest.raises(SpaceError, match=message):
            sample(Twin(), np.random.default_rng(0))

    def test_numbers_of_numpy_become_the_options_that_they_equal(self) -> None:
        """Otherwise no journal could hold the architecture."""

        class Twin(TinySpace):
            def canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
                return {name: np.array(value)[()] for name, value in values.items()}

        architecture = sample(Twin(), np.random.default_rng(0))
        assert {type(value) for value in architecture.values()} <= {int, str, bool}
        assert_valid(TinySpace(), architecture)

    def test_it_gets_a_dict_of_its_own_and_prints_to_standard_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Whoever calls it, so that it may change what it gets."""

        class Relu(TinySpace):
            def canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
                assert type(values) is dict
                print("called")
                values["activation"] = "relu"
                return values

        space, gelu = with_training(Relu(), {"lr": (0.1, 0.2)}), Architecture({"depth": 0, "activation": "gelu"})
        for each in (Relu(), device_space(space)):
            assert canonical_values(each, gelu) == {"depth": 0, "activation": "relu"}  # type: ignore[arg-type]
        assert sample(space, np.random.default_rng(0))["activation"] == "relu"
        assert describer_of(Relu(), image_signature((1, 8, 8), 64)).can_be_built(gelu)
        assert gelu["activation"] == "gelu"
        assert capsys.readouterr() == ("", "called\n" * 4)


class TestLoad:
    """Loading spaces by name or path."""

    def test_unknown_name_gives_the_nearest(self) -> None:
        """The error for a misspelt name suggests the nearest known name."""
        with pytest.raises(RecipeError, match=r"unknown search space 'mobilnet'\. Did you mean 'mobilenet'"):
            load_space("mobilnet", {}, input_shape=(1, 8, 8), classes=10)

    def test_refuses_an_unknown_option(self) -> None:
        """The error lists the known options."""
        with pytest.raises(RecipeError, match=r"'mobilenet' has no option 'presets'\. Did you mean 'preset'"):
            load_space("mobilenet", {"presets": "8x8"}, input_shape=(1, 8, 8), classes=10)

    @pytest.mark.parametrize("option", ["input_shape", "classes"])
    def test_refuses_to_override_the_task(self, option: str) -> None:
        """Options cannot set the image size and the classes, which come from the data set."""
        with pytest.raises(RecipeError, match=f"has no option '{option}'"):
            load_space("mobilenet", {option: 3}, input_shape=(1, 8, 8), classes=10)

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("mobilenet", {"preset": "9x9"}, "preset must be one of .*, but got '9x9'"),
            ("nasbench201", {"cells": 0}, "cells must be at least 1, but got 0"),
            ("timm-vit", {"patch_sizes": [3]}, "patch_sizes must divide the image of 8×8, but got 3"),
        ],
    )
    def test_passes_on_what_a_constructor_refuses(self, name: str, options: dict[str, object], message: str) -> None:
        """The message contains the error of the constructor."""
        with pytest.raises(RecipeError, match=message):
            load_space(name, options, input_shape=(1, 8, 8), classes=10)

    def test_finds_a_space_by_path(self) -> None:
        """A space that is not registered is found at ``module:Name``."""
        space = load_space("search_spaces.mobilenet:MobileNet", {}, input_shape=(1, 8, 8), classes=10)
        assert type(space).__name__ == "MobileNet"
