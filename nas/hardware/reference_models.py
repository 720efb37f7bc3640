"""Models for measuring a target itself: references for its drift, and probes for its peaks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from nas.hardware.target_profile import LAYER_BYTES
from nas.space.torch_settings import in_turn

REFERENCE_SHAPE = (3, 64, 64)
BESIDE = 16
"""The layers of a model that runs between the reference models while their speeds are recorded."""


@contextlib.contextmanager
def _same_weights() -> Iterator[None]:
    """Draw the same weights each time, and leave the random numbers of the process as they are."""
    with in_turn(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@_same_weights()
def reference_model() -> nn.Module:
    """Return a network of the commonest layers, about 16 million multiply-accumulates, always with the same weights.

    Its 0.2 MB of weights fit the cache of nearly any core. So it becomes slower with the core's clock, and hardly when
    others fill the cache that cores share, as do most networks of its size.
    """
    return nn.Sequential(
        *_convolution(3, 32, stride=2),
        *_convolution(32, 32, groups=32),
        *_convolution(32, 64, kernel=1),
        *_convolution(64, 64, stride=2, groups=64),
        *_convolution(64, 64),
        *_convolution(64, 128, kernel=1),
        *_convolution(128, 128, stride=2, groups=128),
        *_convolution(128, 128, kernel=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    ).eval()


@_same_weights()
def larger_reference_model(layers: int) -> nn.Module:
    """Return a network with a MB of weights for each layer, always with the same weights.

    It takes images of ``REFERENCE_SHAPE``, and about 17 million multiply-accumulates for each layer. Each inference
    fetches all weights, from the cache that cores share or from memory. So it becomes slower when others fill that
    cache, which the small reference model does not notice.
    """
    wide = math.isqrt(LAYER_BYTES // 4)
    deep = [part for _ in range(layers) for part in _convolution(wide, wide, kernel=1)]
    return nn.Sequential(
        *_convolution(3, wide, stride=8), *deep, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 10)
    ).eval()


@dataclass(frozen=True)
class Probe:
    """A model with a single bottleneck. ``work`` is the amount that one inference does, at batch size 1."""

    name: str
    module: nn.Module
    input_shape: tuple[int, int, int]
    work: float


@_same_weights()
def multiplying_probes() -> tuple[Probe, ...]:
    """Return models of nothing but multiply-accumulates, the unit of ``work``. The fastest one gives the peak."""
    wide, deep = 512, 128
    pointwise = nn.Sequential(*[nn.Conv2d(wide, wide, 1, bias=False) for _ in range(2)])
    spatial = nn.Sequential(*[nn.Conv2d(deep, deep, 3, padding=1, bias=False) for _ in range(2)])
    return (
        Probe("pointwise convolutions", pointwise.eval(), (wide, 28, 28), 2.0 * wide * wide * 28 * 28),
        Probe("3×3 convolutions", spatial.eval(), (deep, 28, 28), 2.0 * deep * deep * 9 * 28 * 28),
    )


@_same_weights()
def streaming_probe(bytes_each_way: int) -> Probe:
    """Return a model that only reads and writes. ``work`` is the bytes moved, in fp32."""
    rows = max(1, bytes_each_way // (4 * 1024 * 1024))
    return Probe("stream", nn.ReLU().eval(), (rows, 1024, 1024), 2.0 * 4 * rows * 1024 * 1024)


@_same_weights()
def cached_probe(weight_bytes: int) -> Probe:
    """Return a fully connected layer, whose weights fit into a cache. ``work`` is the bytes of them, in fp32."""
    width = max(16, int(math.sqrt(weight_bytes / 4)) // 16 * 16)
    layer = nn.Sequential(nn.Flatten(), nn.Linear(width, width, bias=False))
    return Probe("cached weights", layer.eval(), (1, 1, width), 4.0 * width * width)


def _convolution(
    channels: int, width: int, *, kernel: int = 3, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(width), nn.ReLU()
