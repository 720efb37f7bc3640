"""The smallest space that is worth training: convolutions for digits of 1×8×8."""

from __future__ import annotations

import itertools

from torch import nn

from nas.space.architecture import Architecture, Choice


class TinySpace:
    """A convolution, and up to two more of the same width; their kernel is a choice only if they exist."""

    choices = (
        Choice("width", (4, 8, 16)),
        Choice("depth", (0, 1, 2)),
        Choice("kernel", (1, 3), when=("depth", (1, 2))),
    )

    def build(self, architecture: Architecture) -> nn.Module:
        width, depth, kernel = (int(architecture.get(name, 1)) for name in ("width", "depth", "kernel"))
        layers: list[nn.Module] = [*convolution(1, width, 3, 2)]
        layers += itertools.chain.from_iterable(convolution(width, width, kernel, 1) for _ in range(depth))
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * width, 10))


def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    """Return a convolution with batch norm and ReLU."""
    return (
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
