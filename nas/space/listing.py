"""The architectures of a space that lists them, with the nearest ones of a combination that it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from nas.space.architecture import Architecture, Choice, Option
from nas.space.name_parts import likeness

AROUND = 12
"""The number of neighbours of an architecture: in a list, seldom two differ in a single choice."""
MOST_KEPT = 256
"""The most options of which the distances to all others are kept: of 20,000 names each takes 160 KiB."""


@runtime_checkable
class HasListing(Protocol):
    """A space that lists its architectures, because not every combination of options is one."""

    @property
    def listing(self) -> Listing:
        """All architectures."""
        ...


@runtime_checkable
class HasNumbers(Protocol):
    """A space that knows numbers of its architectures beforehand, such as a resolution or a count of operations."""

    @property
    def number_names(self) -> Sequence[str]:
        """The names of the numbers."""
        ...

    def numbers(self, architecture: Architecture) -> Sequence[float]:
        """Return the numbers of an architecture, in the order of their names."""
        ...


@final
class Listing:
    """N different architectures over ``choices``, of which each has an option.

    The distance of two is the sum over the choices: of numbers, the share of the options that lie between them; of
    texts, the share of their parts that they do not share.
    """

    def __init__(self, choices: Sequence[Choice], architectures: Sequence[Architecture]) -> None:
        self.architectures = tuple(dict.fromkeys(architectures))
        self._choices = tuple(choices)
        self._places = {architecture: place for place, architecture in enumerate(self.architectures)}
        options = [{option: n for n, option in enumerate(choice.options)} for choice in choices]
        self._numbers: npt.NDArray[np.int64] = np.array(
            [
                [number[architecture[choice.name]] for number, choice in zip(options, choices, strict=True)]
                for architecture in self.architectures
            ],
            dtype=np.int64,
        )
        self._apart: dict[tuple[str, Option], npt.NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self.architectures)

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self.architectures)

    def __contains__(self, architecture: object) -> bool:
        return architecture in self._places

    def draw(self, rng: np.random.Generator) -> Architecture:
        """Return a random architecture; each is as likely as any other."""
        return self.architectures[int(rng.integers(len(self.architectures)))]

    def nearest(self, values: Mapping[str, Option]) -> Architecture:
        """Return the architecture with these values, or the first one of those nearest to them."""
        asked = Architecture(values)
        place = self._places.get(asked)
        return self.architectures[int(np.argmin(self._distances(values))) if place is None else place]

    def around(self, architecture: Architecture, count: int = AROUND) -> list[Architecture]:
        """Return the ``count`` architectures nearest to another one, the nearest first."""
        order = np.argsort(self._distances(architecture), kind="stable")
        found = [self.architectures[place] for place in order[: count + 1].tolist()]
        return [each for each in found if each != architecture][:count]

    def _distances(self, values: Mapping[str, Option]) -> npt.NDArray[np.float64]:
        total = np.zeros(len(self))
        for column, choice in enumerate(self._choices):
            total += self._options_apart(choice, values[choice.name])[self._numbers[:, column]]
        return total

    def _options_apart(self, choice: Choice, option: Option) -> npt.NDArray[np.float64]:
        """Return the distance of each option of a choice from one of them, shape (options,); the last ones are kept."""
        key = (choice.name, option)
        if key not in self._apart:
            if choice.is_numeric:
                ranks = np.argsort(np.argsort(np.array(choice.options, dtype=np.float64)))
                apart = np.abs(ranks - ranks[choice.options.index(option)]) / max(1, len(ranks) - 1)
            else:
                apart = 1 - likeness(str(option), [str(each) for each in choice.options])
                apart[choice.options.index(option)] = 0.0
            if len(self._apart) >= MOST_KEPT:
                self._apart.clear()
            self._apart[key] = apart
        return self._apart[key]
