"""Choices that ``build`` never reads: networks that differ in them alone are the same, but would be trained as two."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import final

import numpy as np

from nas.space.architecture import Architecture, Option
from nas.space.own_code import own_code
from nas.space.parts.own_inputs import HasInputs
from nas.space.parts.start_weights import HasStart
from nas.space.search_space import SearchSpace, ends, sample

WATCHED = 16
"""Random architectures beside the smallest and the largest one. A choice may matter in some of them only."""
WATCHED_S = 5.0
"""No further one is built after these seconds."""


@final
class Noted(Mapping[str, Option]):
    """The options of an architecture, which note in ``read`` the choices that are looked at."""

    def __init__(self, options: Mapping[str, Option], read: set[str]) -> None:
        self._options, self._read = options, read

    def __getitem__(self, name: str) -> Option:
        self._read.add(name)
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names; whoever goes through all may use all."""
        self._read.update(self._options)
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)


@final
class Watched(Architecture):
    """An architecture that notes which of its choices are looked at."""

    @classmethod
    def of(cls, architecture: Architecture, read: set[str]) -> Watched:
        """Return the same architecture, which adds the names of choices to ``read``."""
        found = cls(architecture.values_by_choice)
        object.__setattr__(found, "values_by_choice", Noted(architecture.values_by_choice, read))
        return found


def unread_choices(space: SearchSpace, clock_s: float = WATCHED_S) -> list[str]:
    """Return the choices that differ among some architectures and that ``build`` and ``inputs`` never look at.

    Choices of training and deployment change no network, and ``start`` may read choices too: they are left out.
    """
    if isinstance(space, HasStart):
        return []
    rng, ends_s = np.random.default_rng(0), time.monotonic() + clock_s
    wanted = [choice.name for choice in space.choices if not choice.is_of_training and not choice.is_of_deployment]
    read: set[str] = set()
    seen: dict[str, set[Option]] = {}
    for architecture in (*ends(space), *(sample(space, rng) for _ in range(WATCHED))):
        if read.issuperset(wanted) or time.monotonic() > ends_s:
            break
        if _look(space, Watched.of(architecture, read)):
            for name, option in architecture.values_by_choice.items():
                seen.setdefault(name, set()).add(option)
    return [name for name in wanted if name not in read and len(seen.get(name, ())) > 1]


def _look(space: SearchSpace, watched: Watched) -> bool:
    """Build an architecture, and return False if that fails: such code may not have come to its choices."""
    try:
        with own_code():
            space.build(watched)
            if isinstance(space, HasInputs):
                space.inputs(watched)
    except Exception:
        return False
    return True


def unread_text(names: list[str]) -> str:
    """Return the sentence about choices that are never read."""
    listed = ", ".join(map(repr, names))
    one = len(names) == 1
    return (
        f"build never reads the choice{'' if one else 's'} {listed}, so networks that differ in "
        f"{'it' if one else 'them'} alone are the same, and each is trained as if it were another. Use "
        f"{'it' if one else 'them'} in build, leave {'it' if one else 'them'} out, or map the options to one with "
        "canonical."
    )
