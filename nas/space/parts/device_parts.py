"""The part of an architecture that devices see: all choices but those that affect training only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final

from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from nas.space.listing import HasListing, HasNumbers, Listing
from nas.space.parts.known_values import HasKnown
from nas.space.parts.own_inputs import HasInputs
from nas.space.parts.start_weights import HasStart
from nas.space.search_space import HasCanonical, HasLayers, SearchSpace, canonical_values, is_active

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")


@final
class DeviceParts:
    """Splits the architectures of a space into what devices see and what only training does.

    Attributes:
        whole: the space.
        space: the same without choices of training; ``whole`` itself where there are none.
        names: the names of the choices of training.
    """

    def __init__(self, whole: SearchSpace) -> None:
        self.whole = whole
        self.names = tuple(choice.name for choice in whole.choices if choice.is_of_training)
        self._beside = tuple(choice for choice in whole.choices if choice.is_of_training or choice.is_of_deployment)
        self._parts: dict[Architecture, Architecture] = {}
        self.space: SearchSpace = _DeviceSpace(self) if self.names else whole

    def of(self, architecture: Architecture) -> Architecture:
        """Return the part of an architecture that devices see; the architecture itself where that is all."""
        if not self.names:
            return architecture
        if architecture not in self._parts:
            self._parts[architecture] = architecture.without(self.names)
        return self._parts[architecture]

    def completed(self, part: Mapping[str, Option]) -> Architecture:
        """Return an architecture that has this part. Choices of training that it lacks take their middle option.

        A choice of deployment that it lacks takes its first option.
        """
        if isinstance(part, Architecture) and all(choice.name in part for choice in self._beside):
            return part
        values: dict[str, Option] = {}
        for choice in self.whole.choices:
            if choice.name in part:
                values[choice.name] = part[choice.name]
            elif choice.is_of_training and is_active(choice, values):
                values[choice.name] = choice.options[(len(choice.options) - 1) // 2]
            elif choice.is_of_deployment:
                values[choice.name] = choice.options[0]
        return Architecture(values)

    def one_each(self, architectures: Iterable[Architecture]) -> list[Architecture]:
        """Return the first architecture of each part."""
        found: dict[Architecture, Architecture] = {}
        for architecture in architectures:
            found.setdefault(self.of(architecture), architecture)
        return list(found.values())


def device_space(space: SearchSpace) -> SearchSpace:
    """Return the space without choices of training; the space itself where there are none."""
    return DeviceParts(space).space


@final
class _DeviceSpace:
    """A space without its choices of training. It has the optional methods that the whole space has."""

    def __init__(self, parts: DeviceParts) -> None:
        self.choices = tuple(choice for choice in parts.whole.choices if not choice.is_of_training)
        self._parts = parts
        # As attributes, so that a space that lacks a method lacks it here too.
        if isinstance(parts.whole, HasLayers):
            self.layers = self._layers
        if isinstance(parts.whole, HasCanonical):
            self.canonical = self._canonical
        if isinstance(parts.whole, HasInputs):
            self.inputs = self._inputs
        if isinstance(parts.whole, HasStart):
            self.start = self._start
        if isinstance(parts.whole, HasKnown):
            self.known, self.known_names = self._known, tuple(parts.whole.known_names)
        if isinstance(parts.whole, HasNumbers):
            self.numbers, self.number_names = self._numbers, tuple(parts.whole.number_names)
        if isinstance(parts.whole, HasListing):
            self.listing = Listing(self.choices, [parts.of(whole) for whole in parts.whole.listing])

    def build(self, architecture: Architecture) -> torch.nn.Module:
        """Return the module of this part, whatever it is trained with."""
        return self._parts.whole.build(self._parts.completed(architecture))

    def _layers(self, architecture: Architecture) -> Sequence[Layer]:
        return cast(HasLayers, self._parts.whole).layers(self._parts.completed(architecture))

    def _canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
        found = canonical_values(cast(HasCanonical, self._parts.whole), self._parts.completed(values))
        return {name: option for name, option in found.items() if name not in self._parts.names}

    def _inputs(self, architecture: Architecture) -> Mapping[str, Any]:
        return cast(HasInputs, self._parts.whole).inputs(self._parts.completed(architecture))

    def _start(self, architecture: Architecture, module: torch.nn.Module) -> None:
        cast(HasStart, self._parts.whole).start(self._parts.completed(architecture), module)

    def _known(self, architecture: Architecture) -> Mapping[str, float]:
        return cast(HasKnown, self._parts.whole).known(self._parts.completed(architecture))

    def _numbers(self, architecture: Architecture) -> Sequence[float]:
        return cast(HasNumbers, self._parts.whole).numbers(self._parts.completed(architecture))


@final
class ByPart(MutableMapping[Architecture, Value], Generic[Value]):
    """A mapping that holds one value for all architectures with the same part. It goes over the parts."""

    def __init__(self, part: Callable[[Architecture], Architecture]) -> None:
        self._part = part
        self._values: dict[Architecture, Value] = {}

    def __getitem__(self, architecture: Architecture) -> Value:
        return self._values[self._part(architecture)]

    def __setitem__(self, architecture: Architecture, value: Value) -> None:
        self._values[self._part(architecture)] = value

    def __delitem__(self, architecture: Architecture) -> None:
        del self._values[self._part(architecture)]

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


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


def innermost(space: SearchSpace) -> SearchSpace:
    """Return the space whose code builds: without what ``with_training`` and ``device_space`` put around it."""
    while isinstance(space, _DeviceSpace | WithTraining):
        inner: Any = space._parts.whole if isinstance(space, _DeviceSpace) else space.inner
        space = inner
    return space


def notes_of(space: SearchSpace) -> list[str]:
    """Return the sentences in the attribute ``notes`` of a space; a user's own may hold anything there."""
    found = getattr(innermost(space), "notes", ())
    return [note for note in found if isinstance(note, str)] if isinstance(found, (list, tuple)) else []
