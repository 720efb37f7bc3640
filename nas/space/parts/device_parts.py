"""Spaces without their choices of training, as devices see them, and spaces with further choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, cast, final

from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from nas.space.listing import HasListing, HasNumbers, Listing
from nas.space.parts.candidate import PRECISION, SpaceParts
from nas.space.parts.known_values import HasKnown
from nas.space.parts.own_inputs import HasInputs
from nas.space.parts.start_weights import HasStart
from nas.space.search_space import HasCanonical, HasLayers, SearchSpace, canonical_values

if TYPE_CHECKING:
    import torch


def device_space(space: SearchSpace) -> SearchSpace:
    """Return the space without choices of training; the space itself where there are none."""
    parts = SpaceParts(space)
    return _DeviceSpace(space, parts) if parts.training else space


@final
class _DeviceSpace:
    """A space without its choices of training. It has the optional methods that the whole space has."""

    def __init__(self, whole: SearchSpace, parts: SpaceParts) -> None:
        self.choices = tuple(choice for choice in whole.choices if not choice.is_of_training)
        self.inner = whole
        self._parts = parts
        # As attributes, so that a space that lacks a method lacks it here too.
        if isinstance(whole, HasLayers):
            self.layers = self._layers
        if isinstance(whole, HasCanonical):
            self.canonical = self._canonical
        if isinstance(whole, HasInputs):
            self.inputs = self._inputs
        if isinstance(whole, HasStart):
            self.start = self._start
        if isinstance(whole, HasKnown):
            self.known, self.known_names = self._known, tuple(whole.known_names)
        if isinstance(whole, HasNumbers):
            self.numbers, self.number_names = self._numbers, tuple(whole.number_names)
        if isinstance(whole, HasListing):
            self.listing = Listing(self.choices, [parts.on_device(each) for each in whole.listing])

    def build(self, architecture: Architecture) -> torch.nn.Module:
        """Return the module of this part, whatever it is trained with."""
        return self.inner.build(self._parts.candidate(architecture))

    def _layers(self, architecture: Architecture) -> Sequence[Layer]:
        return cast(HasLayers, self.inner).layers(self._parts.candidate(architecture))

    def _canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
        found = canonical_values(cast(HasCanonical, self.inner), self._parts.candidate(values))
        return {name: option for name, option in found.items() if name not in self._parts.training}

    def _inputs(self, architecture: Architecture) -> Mapping[str, Any]:
        return cast(HasInputs, self.inner).inputs(self._parts.candidate(architecture))

    def _start(self, architecture: Architecture, module: torch.nn.Module) -> None:
        cast(HasStart, self.inner).start(self._parts.candidate(architecture), module)

    def _known(self, architecture: Architecture) -> Mapping[str, float]:
        return cast(HasKnown, self.inner).known(self._parts.candidate(architecture))

    def _numbers(self, architecture: Architecture) -> Sequence[float]:
        return cast(HasNumbers, self.inner).numbers(self._parts.candidate(architecture))


@final
class WithTraining:
    """A space with further choices, of training or of deployment, of which its own code knows nothing."""

    def __init__(self, inner: SearchSpace, added: Sequence[Choice]) -> None:
        self.inner = inner
        self.choices = (*inner.choices, *added)
        self._names = tuple(choice.name for choice in added)
        if isinstance(inner, HasLayers):
            self.layers = self._layers
        if isinstance(inner, HasCanonical):
            self.canonical = self._canonical
        if isinstance(inner, HasInputs):
            self.inputs = self._inputs
        if isinstance(inner, HasStart):
            self.start = self._start
        if isinstance(inner, HasKnown):
            self.known, self.known_names = self._known, tuple(inner.known_names)
        if isinstance(inner, HasNumbers):
            self.numbers, self.number_names = self._numbers, tuple(inner.number_names)
        if isinstance(inner, HasListing):
            ways = [
                dict(zip(self._names, options, strict=True)) for options in product(*(each.options for each in added))
            ]
            self.listing = Listing(
                self.choices, [Architecture({**listed, **way}) for listed in inner.listing for way in ways]
            )

    def build(self, architecture: Architecture) -> torch.nn.Module:
        """Return the module that the space itself builds."""
        return self.inner.build(self.without(architecture))

    def without(self, architecture: Architecture) -> Architecture:
        """Return the architecture as the space itself knows it."""
        return architecture.without(self._names)

    def _layers(self, architecture: Architecture) -> Sequence[Layer]:
        return cast(HasLayers, self.inner).layers(self.without(architecture))

    def _canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
        own = {name: option for name, option in values.items() if name not in self._names}
        added = {name: option for name, option in values.items() if name in self._names}
        return {**canonical_values(cast(HasCanonical, self.inner), own), **added}

    def _inputs(self, architecture: Architecture) -> Mapping[str, Any]:
        return cast(HasInputs, self.inner).inputs(self.without(architecture))

    def _start(self, architecture: Architecture, module: torch.nn.Module) -> None:
        cast(HasStart, self.inner).start(self.without(architecture), module)

    def _known(self, architecture: Architecture) -> Mapping[str, float]:
        return cast(HasKnown, self.inner).known(self.without(architecture))

    def _numbers(self, architecture: Architecture) -> Sequence[float]:
        return cast(HasNumbers, self.inner).numbers(self.without(architecture))


def with_training(space: SearchSpace, search: Mapping[str, Sequence[Option]]) -> SearchSpace:
    """Return the space with a choice of training for each key of ``search``; the space itself for none."""
    if not search:
        return space
    return WithTraining(space, [Choice(name, tuple(options), affects="training") for name, options in search.items()])


def with_precisions(space: SearchSpace, precisions: Sequence[str]) -> SearchSpace:
    """Return the space with a choice of these precisions; the space itself for none."""
    if not precisions:
        return space
    return WithTraining(space, [Choice(PRECISION, tuple(precisions), affects="deployment")])


def innermost(space: SearchSpace) -> SearchSpace:
    """Return the space whose code builds: without what ``with_training`` and ``device_space`` put around it."""
    while isinstance(space, _DeviceSpace | WithTraining):
        space = space.inner
    return space


def notes_of(space: SearchSpace) -> list[str]:
    """Return the sentences in the attribute ``notes`` of a space; a user's own may hold anything there."""
    found = getattr(innermost(space), "notes", ())
    return [note for note in found if isinstance(note, str)] if isinstance(found, (list, tuple)) else []
