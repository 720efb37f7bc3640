"""An operation with its shapes: what a device sees of an architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

KINDS = (
    "conv",
    "depthwise_conv",
    "linear",
    "matmul",
    "attention",
    "norm",
    "activation",
    "elementwise",
    "pool",
    "concat",
    "softmax",
    "embedding",
    "other",
)


@dataclass(frozen=True)
class Layer:
    """One operation at inference, batch size 1.

    Shapes leave out the batch: (channels, height, width) for images, (tokens, width) for sequences.
    ``macs`` are multiply-accumulates, ``params`` trained weights (a folded batch norm's included).
    A batch norm that follows a convolution is no layer of its own: every runtime folds it.
    """

    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int = 0
    params: int = 0
    kernel: int = 1
    stride: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind of a layer must be one of {KINDS}, but got {self.kind!r}.")

    @property
    def input_elements(self) -> int:
        return math.prod(self.input_shape)

    @property
    def output_elements(self) -> int:
        return math.prod(self.output_shape)


def total_macs(layers: Sequence[Layer]) -> int:
    """Multiply-accumulates of one inference."""
    return sum(layer.macs for layer in layers)


def total_params(layers: Sequence[Layer]) -> int:
    """Trained weights."""
    return sum(layer.params for layer in layers)
