"""The part of an architecture that is trained: all choices but those that affect its deployment only."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import final

from nas.space.architecture import Architecture, Choice
from nas.space.parts.device_parts import WithTraining
from nas.space.search_space import SearchSpace

PRECISION = "precision"
"""The choice of deployment that a recipe adds: the precision in which a trained network runs."""
PLAIN = "fp32"
"""The precision in which networks are trained, and with which the others are compared."""


@final
class TrainingParts:
    """Splits the architectures of a space into what is trained and how that is deployed.

    Attributes:
        names: the names of the choices of deployment; none in most spaces, where an architecture is its own part.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._choices = tuple(choice for choice in space.choices if choice.is_of_deployment)
        self.names = tuple(choice.name for choice in self._choices)
        self._ways = [
            dict(zip(self.names, options, strict=True))
            for options in itertools.product(*(choice.options for choice in self._choices))
        ]

    def of(self, architecture: Architecture) -> Architecture:
        """Return the part of an architecture that is trained; the architecture itself where that is all."""
        return architecture.without(self.names) if self.names else architecture

    def precision_of(self, architecture: Architecture) -> str | None:
        """Return the precision that a recipe lets an architecture choose; None where the target alone says it.

        A choice of the space's own that is called the same is none.
        """
        return precision_of(architecture) if PRECISION in self.names else None

    def siblings(self, architecture: Architecture) -> list[Architecture]:
        """Return all architectures that share the training of this one, itself included, in the order of options."""
        if not self.names:
            return [architecture]
        part = self.of(architecture)
        return [Architecture({**part, **way}) for way in self._ways]

    def grouped(self, architectures: Iterable[Architecture]) -> list[list[Architecture]]:
        """Return the architectures in groups that share a training, in the order of the first of each group."""
        groups: dict[Architecture, list[Architecture]] = {}
        for architecture in architectures:
            groups.setdefault(self.of(architecture), []).append(architecture)
        return list(groups.values())


def with_precisions(space: SearchSpace, precisions: Sequence[str]) -> SearchSpace:
    """Return the space with a choice of these precisions; the space itself for none."""
    if not precisions:
        return space
    return WithTraining(space, [Choice(PRECISION, tuple(precisions), affects="deployment")])


def precision_of(architecture: Architecture) -> str | None:
    """Return the precision that an architecture names, by whoever added the choice; None without one."""
    found = architecture.get(PRECISION)
    return None if found is None else str(found)
