"""Building an architecture again: every build must give the same network, and none of its tensors twice."""

from __future__ import annotations

from typing import final

import numpy as np
import torch

from nas.errors import CandidateError, SpaceError
from nas.space.architecture import Architecture
from nas.space.layer import Layer
from nas.space.parts.own_inputs import signature_of
from nas.space.search_space import SearchSpace, ends, sample
from nas.space.signature import Signature
from nas.space.tracing import build_checked, trace_layers

BUILDS = 3
"""Builds of each architecture that is compared. A network drawn at random may be the same twice by chance."""
COMPARED = 3
"""Architectures that are built again: the smallest, the largest, and a random one."""


_ONLY_TRAINING = "a choice that affects training only must not change what a device runs, but"


@final
class Rebuilder:
    """Builds a few architectures of one space again and again, and compares each build with the first."""

    def __init__(self, space: SearchSpace, signature: Signature) -> None:
        self._space = space
        self._signature = signature
        self._architectures = (*ends(space), sample(space, np.random.default_rng(0)))
        self._place = -1
        self._first = torch.nn.Module()

    def build(self, place: int) -> None:
        """Build the architecture at ``place``, below ``COMPARED``, once more. One that cannot be built is left out.

        Raises:
            SpaceError: its builds differ in names, shapes or structure, or share tensors.
        """
        architecture = self._architectures[place]
        with torch.random.fork_rng(devices=[]):
            try:
                module = build_checked(self._space, architecture, self._signature, fresh=False)
            except CandidateError:
                return
        if place != self._place:
            self._place, self._first = place, module
            return
        if shared := shared_tensor(self._first, module):
            raise SpaceError(
                f"build must return a new module each time, but two builds of {architecture.short} share "
                f"{shared!r}: training one would train the other. Make every layer inside build."
            )
        if difference := difference_between(self._first, module):
            raise SpaceError(
                f"build must return the same network each time, but two builds of {architecture.short} "
                f"differ: {difference}. Draw nothing at random there but weights."
            )
        self._check_choices_of_training(architecture, module)

    def _check_choices_of_training(self, architecture: Architecture, module: torch.nn.Module) -> None:
        """Check that a device runs the same layers, whatever options the choices of training have.

        Raises:
            SpaceError: one of them changes the layers.
        """
        active = [choice for choice in self._space.choices if choice.is_of_training and choice.name in architecture]
        for choice in active:
            other = next((option for option in choice.options if option != architecture[choice.name]), None)
            if other is None:
                continue
            changed = Architecture({**architecture, choice.name: other})
            try:
                with torch.random.fork_rng(devices=[]):
                    found = build_checked(self._space, changed, self._signature, fresh=False)
                same = self._layers(changed, found) == self._layers(architecture, module)
            except CandidateError as error:
                raise SpaceError(
                    f"{_ONLY_TRAINING} {choice.name!r} = {other!r} cannot be built: {error.reason}"
                ) from None
            if not same:
                raise SpaceError(
                    f"{_ONLY_TRAINING} {choice.name!r} changes the layers of {architecture.short}. Leave out "
                    'affects="training", so that each network is measured.'
                )

    def _layers(self, architecture: Architecture, module: torch.nn.Module) -> tuple[Layer, ...]:
        return trace_layers(module, signature_of(self._space, architecture, self._signature))


def shared_tensor(first: torch.nn.Module, second: torch.nn.Module) -> str | None:
    """Return the name of a parameter or buffer of ``second`` that lies in the memory of ``first``; None without one."""
    known = {memory for _, tensor in _tensors(first) if (memory := _memory(tensor))}
    return next((name for name, tensor in _tensors(second) if _memory(tensor) in known), None)


def difference_between(first: torch.nn.Module, second: torch.nn.Module) -> str | None:
    """Return a difference in the names, shapes or types of two networks; None if there is none."""
    parts = {name: type(part).__name__ for name, part in first.named_modules()}
    others = {name: type(part).__name__ for name, part in second.named_modules()}
    for name in (*parts, *others):
        if parts.get(name) != others.get(name):
            return f"the layer {name!r} is {parts.get(name, 'missing')} and then {others.get(name, 'missing')}"
    shapes = {name: tuple(tensor.shape) for name, tensor in _tensors(first)}
    other_shapes = {name: tuple(tensor.shape) for name, tensor in _tensors(second)}
    for name in (*shapes, *other_shapes):
        if shapes.get(name) != other_shapes.get(name):
            return f"{name!r} has the shape {shapes.get(name)} and then {other_shapes.get(name)}"
    settings, others = _settings(first), _settings(second)
    return next(
        (
            f"the layer {name!r} has {settings[name]!r} and then {others[name]!r}"
            for name in settings
            if settings[name] != others[name]
        ),
        None,
    )


def _settings(module: torch.nn.Module) -> dict[str, str]:
    """Return the settings that torch's own layers print. A user's layers may print anything, such as an address."""
    return {
        name: part.extra_repr()
        for name, part in module.named_modules()
        if type(part).__module__.startswith("torch.nn.")
    }


def _tensors(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Return parameters and buffers by name, without those that get their shape at the first call."""
    both = (*module.named_parameters(), *module.named_buffers())
    return [(name, tensor) for name, tensor in both if not torch.nn.parameter.is_lazy(tensor)]


def _memory(tensor: torch.Tensor) -> int | None:
    """Return an identifier of a tensor's memory; None if it has none yet."""
    if tensor.layout is not torch.strided or not tensor.numel():
        return None
    return int(tensor.untyped_storage()._cdata)
