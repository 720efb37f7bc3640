"""A tiny space whose networks take pictures of their own size, scaled in their own way, from weights of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nas.space.architecture import Architecture, Choice

SIZES = (12, 16)


class OwnSizes:
    """A convolution, whose inputs are cut and scaled in a way of their own for each width."""

    choices = (Choice("resolution", SIZES), Choice("width", (4, 8, 16)))

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        self._channels, self._classes = input_shape[0], classes
        self.started: list[str] = []

    def build(self, architecture: Architecture) -> nn.Module:
        """Return a network that takes exactly its own resolution."""
        width, side = int(architecture["width"]), int(architecture["resolution"])
        rest = nn.Linear(width * (side // 2) ** 2, self._classes)
        return nn.Sequential(nn.Conv2d(self._channels, width, 3, 2, 1), nn.ReLU(), nn.Flatten(), rest)

    def inputs(self, architecture: Architecture) -> Mapping[str, Any]:
        width = int(architecture["width"])
        return {
            "image_size": int(architecture["resolution"]),
            "mean": [0.485, 0.456, 0.406][: self._channels],
            "std": [0.229, 0.224, 0.225][: self._channels],
            "crop": {4: 0.875, 8: 1.0, 16: 0.95}[width],
            "interpolation": {4: "bicubic", 8: "bilinear", 16: "lanczos"}[width],
        }

    def start(self, architecture: Architecture, module: nn.Module) -> None:
        self.started.append(architecture.id)
        with torch.no_grad():
            module[0].weight.fill_(0.125)  # type: ignore[operator, union-attr, index]
