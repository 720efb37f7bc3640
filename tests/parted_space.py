"""A space whose architectures are parts of a parent."""

from __future__ import annotations

from typing import Any

from tiny_space import TinySpace

from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space

ALL = list(enumerate_space(TinySpace()))


class Parted(TinySpace):
    """Its parent is the last architecture, which is not trained and leaves nothing."""

    parent, first, untuned, notes = ALL[-1], (ALL[-1], ALL[0]), (), ()

    def parent_module(self) -> Any:
        """It has none."""

    def inheritance(self, parent: Any, losses: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def inherit(self, architecture: Architecture, module: Any, inheritance: Any) -> None:
        """Load nothing."""
