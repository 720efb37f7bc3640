"""Every build of an architecture gives the same network, made anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nas.errors import CandidateError, SpaceError
from nas.space.architecture import Architecture, Choice
from nas.space.rebuilding import BUILDS, COMPARED, Rebuilder
from nas.space.signature import image_signature
from nas.space.tracing import build_checked, load_weights

IMAGE = (1, 8, 8)


class Built:
    """A space whose ``build`` calls a function."""

    choices = (Choice("width", (4, 8)), Choice("kind", ("a", "b")))

    def __init__(self, make: Callable[[Architecture], nn.Module]) -> None:
        self._make = make

    def build(self, architecture: Architecture) -> nn.Module:
        return self._make(architecture)


def rebuilt(make: Callable[[Architecture], nn.Module]) -> None:
    """Build all compared architectures as often as a search does."""
    rebuilder = Rebuilder(Built(make), image_signature(IMAGE, 10))
    for place in range(COMPARED):
        for _ in range(BUILDS):
            rebuilder.build(place)


def network(architecture: Architecture, hidden: int | None = None, activation: nn.Module | None = None) -> nn.Module:
    width = int(architecture["width"]) if hidden is None else hidden
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), activation or nn.ReLU(), nn.Linear(width, 10))


def test_the_same_network_built_anew_is_accepted() -> None:
    """Weights may be drawn at random, and the random state of the caller stays as it was."""
    state = torch.get_rng_state()
    rebuilt(network)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_that_cannot_be_built_is_left_out() -> None:
    """It becomes a failed row later."""

    def make(architecture: Architecture) -> nn.Module:
        raise RuntimeError("boom")

    rebuilt(make)


KEPT = network(Architecture({"width": 4}))
PART = nn.Linear(64, 64)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda _: KEPT, "1.weight"),
        (lambda architecture: nn.Sequential(nn.Flatten(), PART, network(architecture)), "1.weight"),
    ],
    ids=["a kept module", "a kept part"],
)
def test_builds_that_share_tensors_are_refused(make: Callable[[Architecture], nn.Module], name: str) -> None:
    """Training one network would train the next: a kept module got errors from 0.82 down to 0.50, in order."""
    with pytest.raises(SpaceError, match=rf"must return a new module each time, .* share '{name}': training one would"):
        rebuilt(make)


def test_views_of_one_memory_are_refused() -> None:
    """Two parameters are two objects, and yet share their numbers."""
    memory = torch.zeros(10, 64)

    def make(_: Architecture) -> nn.Module:
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        module[1].weight = nn.Parameter(memory)
        return module

    with pytest.raises(SpaceError, match=r"share '1\.weight'"):
        rebuilt(make)


def in_turn(*makes: Callable[[Architecture], nn.Module]) -> Callable[[Architecture], nn.Module]:
    """Return a build that gives one network after the other."""
    calls = iter(range(10_000))
    return lambda architecture: makes[next(calls) % len(makes)](architecture)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (in_turn(network, lambda a: network(a, hidden=5)), r"'1\.weight' has the shape \(\d+, 64\) and then"),
        (in_turn(network, lambda a: network(a, activation=nn.GELU())), "the layer '2' is ReLU and then GELU"),
        (in_turn(network, lambda a: nn.Sequential(*network(a), nn.Identity())), "'4' is missing and then Identity"),
        (
            in_turn(lambda a: network(a, activation=nn.Dropout(0.1)), lambda a: network(a, activation=nn.Dropout(0.2))),
            "the layer '2' has 'p=0.1, inplace=False' and then 'p=0.2, inplace=False'",
        ),
    ],
    ids=["shapes", "types", "layers", "settings"],
)
def test_builds_that_differ_are_refused(make: Callable[[Architecture], nn.Module], says: str) -> None:
    """Otherwise the difference is found at the very end, when trained weights do not fit."""
    with pytest.raises(SpaceError, match=says):
        rebuilt(make)


def test_a_kept_module_fails_also_where_nobody_compared() -> None:
    """A space may keep modules of some architectures only. The second build of such a module is a failure."""
    kept: dict[str, nn.Module] = {}
    space = Built(lambda architecture: kept.setdefault(architecture.id, network(architecture)))
    architecture = Architecture({"width": 8})
    build_checked(space, architecture, image_signature(IMAGE, 10))
    build_checked(space, Architecture({"width": 4}), image_signature(IMAGE, 10))
    with pytest.raises(CandidateError, match=r"an earlier build returned '1\.weight' already"):
        build_checked(space, architecture, image_signature(IMAGE, 10))


def test_weights_of_another_network_are_one_sentence() -> None:
    """The failure is that of one architecture."""
    weights = network(Architecture({"width": 4})).state_dict()
    with pytest.raises(CandidateError, match=r"must return the same network each time, but trained weights do not fit"):
        load_weights(network(Architecture({"width": 8})), weights)
