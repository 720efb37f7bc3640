"""Spaces without their choices of training, as devices see them, and spaces with further choices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, cast, final

from nas.space.architecture import Architecture, Choice, Option
from nas.space.listing import HasListing, HasNumbers, Listing
from nas.space.parts.candidate import PRECISION, SpaceParts
from nas.space.parts.known_values import HasKnown
from nas.space.parts.own_inputs import HasInputs
from nas.space.parts.start_weights import HasStart
from nas.space.search_space import HasCanonical, HasLayers, SearchSpace, canonical_values

if TYPE_CHECKING:
    import torch


_OF_AN_ARCHITECTURE = {
    HasLayers: "layers",
    HasInputs: "inputs",
    HasStart: "start",
    HasKnown: "known",
    HasNumbers: "numbers",
}
"""The optional methods of a space that take an architecture, by protocol."""


@final
class AdaptedSpace:
    """A space with other choices than its own code knows. It has the optional methods that the space has.

    Attributes:
        inner: the space whose code answers.
        choices: the choices here.
        told: returns an architecture of these choices in the form that ``inner`` knows.
    """

    def __init__(
        self,
        inner: SearchSpace,
        choices: Iterable[Choice],
        told: Callable[[Mapping[str, Option]], Architecture],
        listed: Callable[[Architecture], Iterable[Architecture]],
    ) -> None:
        """``listed`` returns all architectures here that ``inner`` knows as this one."""
        self.inner = inner
        self.choices = tuple(choices)
        self.told = told
        self._names = {choice.name for choice in self.choices}
        self._names_inside = {choice.name for choice in inner.choices}
        # As attributes, so that a space that lacks a method lacks it here too.
        for protocol, method in _OF_AN_ARCHITECTURE.items():
            if isinstance(inner, protocol):
                setattr(self, method, partial(self._asked, method))
        if isinstance(inner, HasCanonical):
            self.canonical = self._canonical
        if isinstance(inner, HasKnown):
            self.known_names = tuple(inner.known_names)
        if isinstance(inner, HasNumbers):
            self.number_names = tuple(inner.number_names)
        if isinstance(inner, HasListing):
            self.listing = Listing(self.choices, [each for known in inner.listing for each in listed(known)])

    def build(self, architecture: Architecture) -> torch.nn.Module:
        """Return the module that the space itself builds."""
        return self.inner.build(self.told(architecture))

    def _asked(self, method: str, architecture: Architecture, *others: Any) -> Any:
        return getattr(self.inner, method)(self.told(architecture), *others)

    def _canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
        found = canonical_values(cast(HasCanonical, self.inner), self.told(values))
        beside = {name: option for name, option in values.items() if name not in self._names_inside}
        return {name: option for name, option in {**found, **beside}.items() if name in self._names}


def device_space(space: SearchSpace) -> SearchSpace:
    """Return the space without choices of training; the space itself where there are none."""
    parts = SpaceParts(space)
    if not parts.training:
        return space
    seen = (choice for choice in space.choices if not choice.is_of_training)
    return AdaptedSpace(space, seen, parts.candidate, lambda listed: [parts.on_device(listed)])


def with_training(space: SearchSpace, search: Mapping[str, Sequence[Option]]) -> SearchSpace:
    """Return the space with a choice of training for each key of ``search``; the space itself for none."""
    added = [Choice(name, tuple(options), affects="training") for name, options in search.items()]
    return _with_choices(space, added) if added else space


def with_precisions(space: SearchSpace, precisions: Sequence[str]) -> SearchSpace:
    """Return the space with a choice of these precisions; the space itself for none."""
    return _with_choices(space, [Choice(PRECISION, tuple(precisions), affects="deployment")]) if precisions else space


def _with_choices(space: SearchSpace, added: Sequence[Choice]) -> AdaptedSpace:
    """Return the space with further choices, of which its own code knows nothing."""
    names = tuple(choice.name for choice in added)
    ways = [dict(zip(names, options, strict=True)) for options in product(*(choice.options for choice in added))]
    choices = (*space.choices, *added)
    return AdaptedSpace(
        space, choices, partial(_without, names), lambda listed: (Architecture({**listed, **way}) for way in ways)
    )


def _without(names: Collection[str], values: Mapping[str, Option]) -> Architecture:
    return Architecture({name: option for name, option in values.items() if name not in names})


def innermost(space: SearchSpace) -> SearchSpace:
    """Return the space whose code builds: without what ``with_training`` and ``device_space`` put around it."""
    while isinstance(space, AdaptedSpace):
        space = space.inner
    return space


def notes_of(space: SearchSpace) -> list[str]:
    """Return the sentences in the attribute ``notes`` of a space; a user's own may hold anything there."""
    found = getattr(innermost(space), "notes", ())
    return [note for note in found if isinstance(note, str)] if isinstance(found, (list, tuple)) else []
