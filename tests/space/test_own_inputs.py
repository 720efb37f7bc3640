"""Architectures with inputs and start weights of their own: what follows for signatures, layers and choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from own_size_space import OwnSizes
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError
from nas.space.architecture import Architecture, Choice
from nas.space.first_look import LookHere
from nas.space.parts.device_parts import device_space, with_training
from nas.space.parts.own_inputs import HasInputs, signature_of, wishes_of
from nas.space.parts.start_weights import HasStart, load_start
from nas.space.search_space import SearchSpace
from nas.space.signature import Signature, TensorType, image_signature
from nas.space.tracing import build_checked, layers_of

DATA = image_signature((3, 8, 8), 2)
SPACE = OwnSizes((3, 8, 8), 2)
SMALL = Architecture({"resolution": 12, "width": 4})
LARGE = Architecture({"resolution": 16, "width": 4})


def test_an_architecture_has_the_signature_of_its_own_size() -> None:
    """Without a wish, or without the method, it is that of the data."""
    assert signature_of(SPACE, LARGE, DATA) == image_signature((3, 16, 16), 2)
    assert signature_of(TinySpace(), Architecture({"width": 4, "depth": 0}), DATA) == DATA
    assert wishes_of(TinySpace(), SMALL) == {}


def test_layers_and_steps_are_of_the_own_size() -> None:
    assert layers_of(SPACE, SMALL, DATA)[0].input_shape == (3, 12, 12)
    assert layers_of(SPACE, LARGE, DATA)[0].input_shape == (3, 16, 16)
    assert LookHere(SPACE, DATA).step_seconds(LARGE, batch=2, threads=1) > 0


def with_a_rate(space: SearchSpace) -> SearchSpace:
    return with_training(space, {"learning_rate": (1e-3, 1e-2)})


@pytest.mark.parametrize("wrapped", [with_a_rate, lambda space: device_space(with_a_rate(space))])
def test_spaces_with_and_without_choices_of_training_keep_both_methods(
    wrapped: Callable[[SearchSpace], SearchSpace],
) -> None:
    """The space's own code sees the architecture that it knows."""
    inner = OwnSizes((3, 8, 8), 2)
    space = wrapped(inner)
    architecture = Architecture({**LARGE, "learning_rate": 1e-3})
    assert isinstance(space, HasInputs)
    assert isinstance(space, HasStart)
    assert wishes_of(space, architecture) == wishes_of(inner, LARGE)
    module = build_checked(space, architecture, DATA)
    load_start(space, architecture, module)
    assert inner.started == [LARGE.id]
    assert bool((module[0].weight == 0.125).all())  # type: ignore[index]
    plain = wrapped(TinySpace())
    assert not isinstance(plain, HasInputs)
    assert not isinstance(plain, HasStart)


class Asking:
    """A space that asks for whatever it is told."""

    choices = (Choice("width", (1, 2)),)

    def __init__(self, asked: Any) -> None:
        self._asked = asked

    def build(self, architecture: Architecture) -> nn.Module:
        return nn.Flatten()

    def inputs(self, architecture: Architecture) -> Any:
        if isinstance(self._asked, Exception):
            raise self._asked
        return self._asked

    def start(self, architecture: Architecture, module: nn.Module) -> None:
        raise RuntimeError("no weights")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"image_size": 0}, "whole number of pixels, at least 1"),
        ({"image_size": 12.5}, "whole number of pixels"),
        ({"image_size": True}, "whole number of pixels"),
        ([1], "plain data by name"),
        ({"mean": torch.zeros(3)}, "plain data by name"),
        (KeyError("size"), "inputs raised KeyError"),
    ],
)
def test_a_wish_that_is_none_makes_a_failed_candidate(asked: Any, told: str) -> None:
    with pytest.raises(CandidateError, match=told):
        signature_of(Asking(asked), SMALL, DATA)


def test_a_size_is_for_images_alone() -> None:
    signals = Signature((TensorType("signals", (1, 400)),), (2,))
    with pytest.raises(CandidateError, match="for models of images alone"):
        signature_of(Asking({"image_size": 12}), SMALL, signals)


def test_weights_that_cannot_be_loaded_make_a_failed_candidate() -> None:
    with pytest.raises(CandidateError, match="start raised RuntimeError: no weights"):
        load_start(Asking({}), SMALL, nn.Flatten())
