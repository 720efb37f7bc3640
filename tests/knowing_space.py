"""A tiny space that knows something of its architectures beforehand."""

from __future__ import annotations

from collections.abc import Mapping

from tiny_space import TinySpace

from nas.space.architecture import Architecture


class Knowing(TinySpace):
    """A space of which the accuracy of narrow networks is known."""

    known_names = ("elsewhere", "twice")

    def known(self, architecture: Architecture) -> Mapping[str, float]:
        return {"elsewhere": 70.0 + int(architecture["width"])} if architecture["width"] != 16 else {}
