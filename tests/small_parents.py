"""Small models to shrink: of three stages with shortcuts, with a part that cannot be sliced, and broken ones."""

from __future__ import annotations

import torch
from torch import nn


class Residual(nn.Module):
    """Two convolutions with a shortcut around them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, inner, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(inner)
        self.second = nn.Conv2d(inner, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what the convolutions make of ``x``."""
        out: torch.Tensor = x + self.second(torch.relu(self.norm(self.first(x))))
        return out


class ThreeStages(nn.Module):
    """A network for pictures, of three stages; the second and the third have blocks that can be left out."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(), Residual(16, 32))
        self.third = nn.Sequential(
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), Residual(32, 32), Residual(32, 32)
        )
        self.head = nn.Linear(32, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        out: torch.Tensor = self.head(self.third(self.second(self.stem(x))).mean(dim=(2, 3)))
        return out


class Overwriting(nn.Module):
    """A shortcut around layers of which the first writes to what it gets, so that the shortcut holds it too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16))
        self.inner = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(32, 16, 3, padding=1)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = self.stem(x)
        x = x + self.last(self.inner(x))
        out: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return out


class Held(nn.Module):
    """A network whose layers are all those of its ``model``, as in many training scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make_digits()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        out: torch.Tensor = self.model(x)
        return out


class Rigid(nn.Module):
    """Two convolutions, of which ``forward`` reshapes the first one's channels to fixed sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed = nn.Conv2d(1, 16, 3, padding=1)
        self.free = nn.Conv2d(16, 32, 3, padding=1)
        self.grouped = nn.Conv2d(32, 32, 3, padding=1, groups=4)
        self.last = nn.Conv2d(32, 16, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = self.fixed(x)
        x = x.reshape(x.shape[0], 16, x.shape[2], x.shape[3]).relu()
        out: torch.Tensor = self.head(self.last(self.grouped(self.free(x).relu()).relu()).mean(dim=(2, 3)))
        return out


def make_digits() -> nn.Module:
    """Return a model of digits: one channel, ten classes."""
    torch.manual_seed(1)
    return ThreeStages(1, 10)


def make_overwriting() -> nn.Module:
    """Return a model of digits with a shortcut that a layer overwrites."""
    torch.manual_seed(1)
    return Overwriting()


def make_colours(num_classes: int = 5) -> nn.Module:
    """Return a model of pictures in three channels."""
    torch.manual_seed(2)
    return ThreeStages(3, num_classes)


def make_rigid() -> nn.Module:
    """Return a model that keeps some of its channels."""
    return Rigid()


def make_on_gpu() -> nn.Module:
    """Raise what torch raises without a GPU."""
    raise RuntimeError("No CUDA GPUs are available")


def make_linear() -> nn.Module:
    """Return a model of which nothing can be removed."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def make_nothing() -> str:
    """Return no model."""
    return "a model"
