"""A small space of chains of blocks, and devices whose latencies are formulas, for testing predictors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from nas.prediction.predictor import FloatArray
from nas.space.architecture import Architecture, Choice, Option
from nas.space.description import Describer
from nas.space.layer import Layer
from nas.space.search_space import sample
from nas.values.other_target import Source

WIDTHS, KERNELS, EXPANSIONS = (8, 16, 24, 32), (3, 5, 7), (1, 2, 4)


@dataclass(frozen=True)
class MadeUpSpace:
    """Three stages of inverted residual blocks. The last stage is optional, and then its choices are inactive."""

    choices = (
        *(
            choice
            for stage in range(2)
            for choice in (
                Choice(f"depth{stage}", (1, 2, 3, 4)),
                Choice(f"width{stage}", WIDTHS),
                Choice(f"kernel{stage}", KERNELS),
                Choice(f"expansion{stage}", EXPANSIONS),
            )
        ),
        Choice("depth2", (0, 1, 2, 3)),
        Choice("width2", WIDTHS, when=("depth2", (1, 2, 3))),
        Choice("kernel2", KERNELS, when=("depth2", (1, 2, 3))),
        Choice("expansion2", EXPANSIONS, when=("depth2", (1, 2, 3))),
    )

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError

    def layers(self, architecture: Architecture) -> list[Layer]:
        layers = [Layer("conv", (3, 32, 32), (16, 32, 32), macs=442_368, params=448, kernel=3)]
        channels, side = 16, 32
        for stage in range(3):
            depth = int(architecture[f"depth{stage}"])
            if depth:
                width, kernel, expansion = (
                    int(architecture[f"{name}{stage}"]) for name in ("width", "kernel", "expansion")
                )
            for _ in range(depth):
                inner, area = channels * expansion, side * side
                inside = (inner, side, side)
                layers += [
                    Layer("conv", (channels, side, side), inside, channels * inner * area, channels * inner + inner),
                    Layer("activation", inside, inside),
                    Layer(
                        "depthwise_conv", inside, inside, kernel**2 * inner * area, kernel**2 * inner + inner, kernel
                    ),
                    Layer("activation", inside, inside),
                    Layer("conv", inside, (width, side, side), inner * width * area, inner * width + width),
                ]
                channels = width
            layers.append(Layer("pool", (channels, side, side), (channels, side // 2, side // 2)))
            side //= 2
        layers.append(Layer("linear", (channels,), (10,), macs=channels * 10, params=channels * 10 + 10))
        return layers


@dataclass(frozen=True)
class PruningSpace(MadeUpSpace):
    """The same space, except that kernels have no effect without expansion."""

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        dead = [f"kernel{stage}" for stage in range(3) if values.get(f"expansion{stage}") == 1]
        return {**values, **dict.fromkeys(dead, 3)}


SPACE = Describer(MadeUpSpace(), MadeUpSpace().layers)
PRUNING_SPACE = Describer(PruningSpace(), PruningSpace().layers)
"""Shared by all tests, because a description depends only on its architecture."""


def drawn(count: int, seed: int) -> list[Architecture]:
    """Return ``count`` different random architectures."""
    return list(_drawn(count, seed))


@cache
def _drawn(count: int, seed: int) -> tuple[Architecture, ...]:
    rng = np.random.default_rng(seed)
    found: dict[Architecture, None] = {}
    while len(found) < count:
        found[sample(SPACE.space, rng)] = None
    return tuple(found)


@dataclass(frozen=True)
class Device:
    """A device whose layers add up, with costs for a layer, a moved element and each kind of multiply-accumulate."""

    layer_ms: float = 0.004
    element_ms: float = 2e-8
    conv_ms: float = 1e-7
    depthwise_ms: float = 6e-7

    def latencies_ms(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return exact latencies, shape (N,). Activations are fused and cost nothing."""
        per_mac = {"conv": self.conv_ms, "depthwise_conv": self.depthwise_ms, "linear": 2e-7}
        return np.array(
            [
                0.05
                + sum(
                    self.layer_ms + per_mac.get(layer.kind, 0.0) * layer.macs + self.element_ms * layer.output_elements
                    for layer in SPACE.layers(architecture)
                    if layer.kind != "activation"
                )
                for architecture in architectures
            ]
        )


SOURCE_DEVICES = {
    "wide @ fp32": Device(0.002, 1e-8, 0.5e-7, 12e-7),
    "narrow @ int8": Device(0.008, 4e-8, 2e-7, 2e-7),
}
TARGET_DEVICE = Device(0.005, 3e-8, 1.2e-7, 7e-7)


def jumping_latencies_ms(architectures: Sequence[Architecture]) -> FloatArray:
    """Return latencies, shape (N,), of a device that rounds channels up to 16 and slows down outside its cache."""
    return np.array(
        [
            0.1
            + sum(
                1e-7
                * layer.macs
                * (-(-layer.output_shape[0] // 16) * 16 / layer.output_shape[0])
                * (2.0 if layer.output_elements > 30_000 else 1.0)
                for layer in SPACE.layers(architecture)
            )
            for architecture in architectures
        ]
    )


def sources_of(architectures: Sequence[Architecture]) -> tuple[Source, ...]:
    """Return the measurements of two other devices for these architectures, with 1 % noise."""
    rng = np.random.default_rng(7)
    return tuple(
        Source(
            target,
            architectures,
            device.latencies_ms(architectures) * np.exp(0.01 * rng.standard_normal(len(architectures))),
        )
        for target, device in SOURCE_DEVICES.items()
    )
