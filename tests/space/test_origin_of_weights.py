"""What is known of the weights from which training begins."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from nas.space.architecture import Architecture, Choice
from nas.space.parts.start_weights import origin_of


class Forgetful:
    """A space whose origin cannot be told."""

    choices = (Choice("width", (1, 2)),)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the module."""
        return nn.Linear(int(architecture["width"]), 2)

    def origin(self, architecture: Architecture) -> Mapping[str, str]:
        raise KeyError("licence")


def test_a_space_that_cannot_tell_the_origin_costs_no_winner_and_says_why() -> None:
    found = origin_of(Forgetful(), Architecture({"width": 1}))
    assert found["model"] == "unknown"
    assert found["reason"].startswith("telling their origin raised KeyError")
