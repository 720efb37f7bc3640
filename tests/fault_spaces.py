"""Spaces of small networks for digits, some of which fail, each in a different way."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

from nas.space.architecture import Architecture, Choice

PLAIN = "plain"


class Faulty:
    """A space whose choice ``part`` selects a fault, or none if it is plain.

    The faults build and shape fail at once. With refused, the runtime has no kernel, and with export the exporter
    fails. The faults nan, raise, exit, hang, slow and wait occur only in training; slow waits for ``seconds``, and wait
    also ends once there is a file ``until``. With ``always`` there is no plain part.
    """

    def __init__(self, faults: str = "", always: bool = False, seconds: float = 0.05, until: str = "") -> None:
        parts = tuple(faults.split()) if always else (PLAIN, *faults.split())
        self.choices = (
            Choice("width", (2, 3, 4, 5, 6, 8)),
            Choice("depth", (0, 1, 2)),
            Choice("kernel", (1, 3), when=("depth", (1, 2))),
            Choice("part", parts),
        )
        self._seconds = seconds
        self._until = Path(until)

    def build(self, architecture: Architecture) -> nn.Module:
        part = str(architecture["part"])
        if part == "build":
            raise RuntimeError("this part cannot be built")
        width, depth, kernel = (int(architecture.get(name, 1)) for name in ("width", "depth", "kernel"))
        convolutions = [nn.Conv2d(1, width, 3, stride=2, padding=1)]
        convolutions += [nn.Conv2d(width, width, kernel, padding=kernel // 2) for _ in range(depth)]
        layers: list[nn.Module] = [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
        if part == "refused":
            layers.append(DoubleConvolution(width))
        outputs = 9 if part == "shape" else 10
        return nn.Sequential(
            Fault(part, self._seconds, self._until), *layers, nn.Flatten(), nn.Linear(16 * width, outputs)
        )


class Fault(nn.Module):
    """A module that returns its input, or fails as ``part`` says."""

    def __init__(self, part: str, seconds: float, until: Path) -> None:
        super().__init__()
        self._part = part
        self._seconds = seconds
        self._until = until

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._part == "export" and float(x.sum()) > 1e9:
            return -x
        if self.training:
            self._fail(x)
            return x * float("nan") if self._part == "nan" else x
        return x

    def _fail(self, x: torch.Tensor) -> None:
        if self._part == "raise":
            raise RuntimeError("this part cannot be trained")
        if self._part == "exit":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._part == "slow":
            time.sleep(self._seconds)
        ends_s = time.monotonic() + self._seconds
        while self._part == "wait" and not self._until.is_file() and time.monotonic() < ends_s:
            time.sleep(0.05)
        while self._part == "hang":
            time.sleep(0.1)


class DoubleConvolution(nn.Module):
    """A convolution in float64, for which ONNX Runtime has no CPU kernel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._convolution = nn.Conv2d(width, width, 1).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._convolution(x.double()).float()
