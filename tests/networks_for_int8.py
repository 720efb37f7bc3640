"""Networks that int8 spoils in several ways, for tests of runtimes. All see images of three channels and 16 pixels."""

from __future__ import annotations

import torch
from torch import nn


class Convolutional(nn.Module):
    """A small network with a residual block and 75,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
        )
        self.head = nn.Linear(32 * 16, 64)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.stem(images)
        features = torch.relu(features + self.block(features))
        return self.head(nn.functional.avg_pool2d(features, 4).flatten(1))


class Cancelling(Convolutional):
    """Its head sees each feature twice, with large weights that cancel each other, as those of a regression may."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2 * 32 * 4, 2)
        with torch.no_grad():
            self.head.weight += torch.tensor([1000.0, -1000.0]).repeat_interleave(32 * 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = nn.functional.avg_pool2d(self.block(self.stem(images)), 8).flatten(1)
        return self.head(torch.cat([features, features], dim=1))


class Spiking(nn.Module):
    """A network whose values are ``gain`` times as large for each step by which an image is brighter than usual."""

    def __init__(self, gain: float = 100.0, outputs: int = 2) -> None:
        super().__init__()
        self.gain = gain
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=4), nn.ReLU()
        )
        self.head = nn.Linear(64, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        brighter = torch.relu(images.mean(dim=(1, 2, 3), keepdim=True) - 4)
        return self.head(self.layers(images * (1 + self.gain * brighter)).mean(dim=(2, 3)))


class Transformer(nn.Module):
    """Two blocks that add to tokens. One of their channels is a thousand times as large as the others, and is ignored.

    ``decomposed`` normalisation is exported as several operators.
    """

    def __init__(self, decomposed: bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 4, stride=4)
        self.norms = nn.ModuleList(nn.RMSNorm(16) if decomposed else nn.LayerNorm(16) for _ in range(3))
        self.projections = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))
        self.large = nn.Parameter(torch.eye(16)[0] * 1000)
        self.head = nn.Linear(16, 2)
        with torch.no_grad():
            for norm in self.norms:
                norm.weight *= 100
                norm.weight[0] = 0.01

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.large
        for norm, projection in zip(self.norms, self.projections, strict=False):
            seen = projection(norm(tokens))
            tokens = tokens + torch.softmax(seen @ seen.transpose(1, 2), dim=2) @ seen
        return self.head(self.norms[-1](tokens).mean(dim=1))
