"""Spaces whose architectures are parts of one trained model, the parent, and inherit its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nas.errors import SpaceError, raised_text
from nas.space.architecture import Architecture
from nas.space.own_code import own_code
from nas.space.parts.candidate import SpaceParts
from nas.space.parts.device_parts import innermost
from nas.space.search_space import SearchSpace, architecture_from

if TYPE_CHECKING:
    import torch

    Loss = Callable[[torch.nn.Module], torch.Tensor]


@runtime_checkable
class HasFirst(Protocol):
    """A space that names architectures which are evaluated before any that a sampler proposes."""

    @property
    def first(self) -> Sequence[Architecture]:
        """The architectures, the most important first."""
        ...


@runtime_checkable
class HasParent(Protocol):
    """A space whose architectures are made of one trained model.

    ``build`` returns the structure alone. ``inherit`` gives it the parent's weights, as far as they are kept. The
    parent is evaluated first and as it is, teaches others that see inputs as it does, and is always a winner.
    """

    @property
    def parent(self) -> Architecture:
        """The architecture that is the parent itself."""
        ...

    @property
    def first(self) -> Sequence[Architecture]:
        """The architectures that are evaluated before any that a sampler proposes."""
        ...

    @property
    def untuned(self) -> tuple[str, ...]:
        """In words, why the parent must be tuned on the data before anything else; empty if it need not."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that are told before anything runs, such as which layers must stay whole."""
        ...

    def parent_module(self) -> torch.nn.Module:
        """Return the parent, with its weights before any tuning."""
        ...

    def inheritance(self, parent: torch.nn.Module, losses: Iterable[Loss]) -> Mapping[str, torch.Tensor]:
        """Return what architectures inherit from a tuned parent; each of ``losses`` gives its loss on a batch."""
        ...

    def inherit(
        self, architecture: Architecture, module: torch.nn.Module, inheritance: Mapping[str, torch.Tensor]
    ) -> None:
        """Load what an architecture inherits into the module that ``build`` returned for it."""
        ...


@runtime_checkable
class HasTunedParent(Protocol):
    """A space whose parent an earlier run may have tuned."""

    @property
    def tuned_on(self) -> str:
        """The fingerprint of the data on which it was tuned, as ``Task.fingerprint``; empty if it is not known."""
        ...


@runtime_checkable
class GuessesPreparation(Protocol):
    """A space whose parent knows the classes of pictures, which may not be prepared as they were in its training."""

    @property
    def preparation_is_guessed(self) -> bool:
        """True if neither an option nor an earlier run tells how they were."""
        ...


def parents_space(space: SearchSpace) -> HasParent | None:
    """Return the space itself, without what a recipe added, if its architectures have a parent."""
    inner = innermost(space)
    return inner if isinstance(inner, HasParent) else None


def first_of(space: SearchSpace) -> Sequence[Architecture]:
    """Return what a space, without what a recipe added, wants to see evaluated first, each once; mostly nothing.

    Raises:
        SpaceError: it cannot be read, or holds something else than architectures of the space.
    """
    inner = innermost(space)
    names, parts = {choice.name for choice in inner.choices}, SpaceParts(inner)
    added = {choice.name for choice in space.choices} - names
    rule = f"first of a space must hold architectures of it, but first of {type(inner).__name__}"
    try:
        with own_code():
            first: object = inner.first if isinstance(inner, HasFirst) else ()
            first = list(first) if isinstance(first, Iterable) else first
    except Exception as error:
        raise SpaceError(f"{rule} raised {raised_text(error)}.") from None
    if not isinstance(first, list):
        raise SpaceError(f"{rule} is {first!r:.80}. If it is something else, give it another name.")
    found = []
    for each in first:
        try:
            if strange := sorted(set(each) - names - added):
                raise ValueError(f"the space has no choice {strange[0]!r}.")
            own = architecture_from(inner, parts.candidate(each))
            found.append(Architecture({**own, **{name: each[name] for name in each if name in added}}))
        except (TypeError, ValueError) as error:
            shown = dict(each) if isinstance(each, Architecture) else each
            raise SpaceError(f"{rule} holds {shown!r:.200}: {error}") from None
    return list(dict.fromkeys(found))
