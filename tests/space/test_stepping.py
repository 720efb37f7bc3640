"""A step of a training is timed, whatever the space's code does in it."""

from __future__ import annotations

import itertools
import sys
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
def test_the_second_step_is_timed(fault: str) -> None:
    """Neither torch's threads nor its random state change."""
    ticks = itertools.count()
    before = torch.get_num_threads(), torch.get_rng_state()
    architecture = Architecture({"fault": fault})
    assert (
        step_seconds(Steps(), architecture, image_signature((1, 8, 8), 10), 4, 2, lambda: float(2 ** next(ticks)))
        == 8 - 4
    )
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(("fault", "says"), [("exit", "SystemExit: 0"), ("raise", "RuntimeError: boom")])
def test_a_failure_is_that_of_the_architecture(fault: str, says: str) -> None:
    """It names the line."""
    with pytest.raises(CandidateError, match=rf"training raised {says} \(.*test_stepping.py, line \d+\)"):
        step_seconds(Steps(), Architecture({"fault": fault}), image_signature((1, 8, 8), 10), 4, 1)
