"""The smallest space whose architectures share weights."""

from __future__ import annotations

import torch
from tiny_space import TinySpace
from torch import nn

from nas.space.architecture import Architecture

WIDEST = 16


class TinySupernet(nn.Module):
    """The weights of ``TinySpace``: an architecture takes the first channels, and the middle of kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(inputs, WIDEST, 3, bias=False) for inputs in (1, WIDEST, WIDEST))
        self.norms = nn.ModuleList(nn.BatchNorm2d(WIDEST) for _ in range(3))
        self.head = nn.Linear(16 * WIDEST, 10)

    def weights(self, architecture: Architecture) -> dict[str, torch.Tensor]:
        width, depth, kernel = (int(architecture.get(name, 1)) for name in ("width", "depth", "kernel"))
        depth = int(architecture["depth"])
        found: dict[str, torch.Tensor] = {}
        for number in range(1 + depth):
            middle = slice(1, 2) if number > 0 and kernel == 1 else slice(0, 3)
            inputs = width if number > 0 else 1
            weight = self.convolutions[number].get_parameter("weight")
            found[f"{3 * number}.weight"] = weight[:width, :inputs, middle, middle]
            found[f"{3 * number + 1}.weight"] = self.norms[number].get_parameter("weight")[:width]
            found[f"{3 * number + 1}.bias"] = self.norms[number].get_parameter("bias")[:width]
        found[f"{3 * depth + 4}.weight"] = self.head.weight[:, : 16 * width]
        found[f"{3 * depth + 4}.bias"] = self.head.bias
        return found


class SharingSpace(TinySpace):
    """``TinySpace`` with a supernet."""

    def supernet(self) -> TinySupernet:
        return TinySupernet()
