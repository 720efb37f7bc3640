"""Candidates: architectures that know what a device sees of them, what is trained, and in which precision they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar, final

from nas.space.architecture import Architecture, Option
from nas.space.search_space import SearchSpace, is_active

Value = TypeVar("Value")

PRECISION = "precision"
"""The choice of deployment that a recipe adds: the precision in which a trained network runs. Spaces have no other."""
PLAIN = "fp32"
"""The precision in which networks are trained, and with which the others are compared."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Candidate(Architecture):
    """An architecture with all choices of a space: a network, how it is trained, and the precision in which it runs.

    It equals any architecture with the same choices, and takes its place in rows, in jobs and as a key.
    """

    parts: SpaceParts = field(kw_only=True)

    @property
    def on_device(self) -> Architecture:
        """What devices see. Candidates that share it differ only in their training, and share measurements."""
        return self.parts.on_device(self)

    @property
    def trained(self) -> Architecture:
        """What is trained. Candidates that share it differ only in their precision, and share a training."""
        return self.without([PRECISION]) if self.parts.precisions else self

    @property
    def precision(self) -> str | None:
        """The precision that a recipe lets candidates choose; None where the target alone says it."""
        return precision_of(self) if self.parts.precisions else None

    @property
    def siblings(self) -> list[Candidate]:
        """All candidates that share the training of this one, itself included, in the order of precisions."""
        found = [Candidate({**self, PRECISION: each}, parts=self.parts) for each in self.parts.precisions]
        return found or [self]

    @property
    def in_fp32(self) -> Candidate | None:
        """The same weights in fp32; None for a candidate that is in fp32, or whose precision was no choice."""
        if self.precision in (None, PLAIN):
            return None
        return next(each for each in self.siblings if each.precision == PLAIN)


@final
class SpaceParts:
    """Tells which choices of a space are for devices, for training and for deployment, and makes its candidates.

    Attributes:
        training: the names of the choices of training.
        precisions: the precisions that candidates choose from; none where precision is no choice.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._choices = tuple(space.choices)
        self.training = tuple(choice.name for choice in space.choices if choice.is_of_training)
        self.precisions = tuple(
            str(option) for choice in space.choices if choice.is_of_deployment for option in choice.options
        )
        self._added = [*self.training, *([PRECISION] if self.precisions else [])]
        self._on_device: dict[Architecture, Architecture] = {}

    def on_device(self, architecture: Architecture) -> Architecture:
        """Return what devices see of an architecture: all but its choices of training."""
        if not self.training:
            return architecture
        if architecture not in self._on_device:
            self._on_device[architecture] = architecture.without(self.training)
        return self._on_device[architecture]

    def candidate(self, part: Mapping[str, Option]) -> Candidate:
        """Return the candidate with these choices. Choices of training that they lack take their middle option.

        A precision that they lack is the first one.
        """
        given = part.values_by_choice if isinstance(part, Architecture) else part
        if all(name in given for name in self._added):
            return Candidate(given, parts=self)
        values: dict[str, Option] = {}
        for choice in self._choices:
            if choice.name in given:
                values[choice.name] = given[choice.name]
            elif choice.is_of_training and is_active(choice, values):
                values[choice.name] = choice.options[(len(choice.options) - 1) // 2]
            elif choice.is_of_deployment:
                values[choice.name] = choice.options[0]
        return Candidate({**values, **given}, parts=self)

    def one_each(self, architectures: Iterable[Architecture]) -> list[Candidate]:
        """Return the first candidate of each that devices can tell apart."""
        found: dict[Architecture, Architecture] = {}
        for architecture in architectures:
            found.setdefault(self.on_device(architecture), architecture)
        return list(map(self.candidate, found.values()))


def by_training(candidates: Iterable[Candidate]) -> dict[Architecture, list[Candidate]]:
    """Return candidates by what is trained of them, in the order of the first of each."""
    found: dict[Architecture, list[Candidate]] = {}
    for candidate in candidates:
        found.setdefault(candidate.trained, []).append(candidate)
    return found


def precision_of(architecture: Architecture) -> str | None:
    """Return the precision that an architecture names, by whoever added the choice; None without one."""
    found = architecture.get(PRECISION)
    return None if found is None else str(found)


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
