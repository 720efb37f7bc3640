"""What a space knows of its architectures before any is trained, such as published accuracies on other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace


@runtime_checkable
class HasKnown(Protocol):
    """A space that knows values that tell of accuracies: an architecture with a higher one is probably better."""

    @property
    def known_names(self) -> Sequence[str]:
        """The names of the values."""
        ...

    def known(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the values that are known of an architecture, by name."""
        ...


@final
class KnownPrior:
    """What a space knows, as a prior for samplers."""

    higher_is_better = True
    """True: a sampler may begin with architectures whose values are high."""

    def __init__(self, space: HasKnown) -> None:
        self._space = space
        self.names = tuple(space.known_names)

    def __call__(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        """Return the values of N architectures, shape (N, names); NaN where nothing is known."""
        rows = [self._space.known(architecture) for architecture in architectures]
        found = [[float(row.get(name, np.nan)) for name in self.names] for row in rows]
        return np.array(found, dtype=np.float64).reshape(len(rows), len(self.names))


def known_prior(space: SearchSpace) -> KnownPrior | None:
    """Return the prior of a space that knows something of its architectures; None for any other."""
    return KnownPrior(space) if isinstance(space, HasKnown) and len(space.known_names) else None
