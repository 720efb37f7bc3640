"""A step of a training is timed, whatever the space's code does in it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import CandidateError
from nas.space.architecture import Architecture, Choice
from nas.space.signature import image_signature
from nas.space.stepping import step_seconds


class Steps:
    """A space whose networks fail in training."""

    choices = (Choice("fault", ("none", "exit", "raise", "volume")),)

    def build(self, architecture: Architecture) -> nn.Module:
        layers: list[nn.Module] = [Fault(architecture["fault"]), nn.Flatten(), nn.Linear(64, 10)]
        if architecture["fault"] == "volume":  # weights of five dimensions have no channels-last format
            layers = [nn.Unflatten(1, (1, 1)), nn.Conv3d(1, 1, 1), nn.Flatten(), nn.Linear(64, 10)]
        return nn.Sequential(*layers)


class Fault(nn.Module):
    """Fails in training."""

    def __init__(self, fault: object) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, x: Any) -> Any:
        if self.fault == "exit":
            sys.exit(0)
        if self.fault == "raise":
            raise RuntimeError("boom")
        return x


@pytest.mark.parametrize("fault", ["none", "volume"])
def test_the_fastest_step_counts(fault: str) -> None:
    """The first is slower and the third was disturbed. Neither torch's threads nor its random state change."""
    taken_s = [0.4, 0.2, 0.3, 0.1, 0.9]
    ticks = iter([0.0, *itertools.chain.from_iterable(zip(at := [*itertools.accumulate(taken_s)], at, strict=True))])
    before = torch.get_num_threads(), torch.get_rng_state()
    architecture = Architecture({"fault": fault})
    found = step_seconds(Steps(), architecture, image_signature((1, 8, 8), 10), 4, 2, lambda: next(ticks))
    assert found == pytest.approx(0.1)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(("taken_s", "steps", "found"), [((5.0, 4.0), 2, 4.0), ((0.01,) * 9, 6, 0.01)])
def test_slow_steps_are_few_and_quick_ones_soon_enough(taken_s: Sequence[float], steps: int, found: float) -> None:
    times = itertools.chain.from_iterable((0.0, each) for each in taken_s)
    asked = [0]

    def clock() -> float:
        asked[0] += 1
        return next(times)

    architecture = Architecture({"fault": "none"})
    signature = image_signature((1, 8, 8), 10)
    assert step_seconds(Steps(), architecture, signature, 4, 2, clock) == pytest.approx(found)
    assert asked == [2 * steps]


@pytest.mark.parametrize(("fault", "says"), [("exit", "SystemExit: 0"), ("raise", "RuntimeError: boom")])
def test_a_failure_is_that_of_the_architecture(fault: str, says: str) -> None:
    """It names the line."""
    with pytest.raises(CandidateError, match=rf"training raised {says} \(.*test_stepping.py, line \d+\)"):
        step_seconds(Steps(), Architecture({"fault": fault}), image_signature((1, 8, 8), 10), 4, 1)
