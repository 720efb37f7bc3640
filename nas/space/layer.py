"""Layers: the operations of an architecture with their shapes, as a device executes them."""

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
    """One operation at inference with batch size 1.

    Shapes leave out the batch: (channels, height, width) for images, (tokens, width) for sequences. ``macs`` counts
    multiply-accumulates, and ``params`` trained weights. A batch norm after a convolution is not a layer, because every
    runtime folds it; its weights count for the convolution.

    Raises:
        ValueError: a kind that is not among ``KINDS``.
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
            raise ValueError(f"the kind of a layer must be one of {KINDS}, but got {self.kind!r}.")

    @property
    def input_elements(self) -> int:
        """Number of elements that the layer reads, without weights."""
        return math.prod(self.input_shape)

    @property
    def output_elements(self) -> int:
        """Number of elements that the layer writes."""
        return math.prod(self.output_shape)


def total_macs(layers: Sequence[Layer]) -> int:
    """Return the multiply-accumulates of one inference."""
    return sum(layer.macs for layer in layers)


def total_params(layers: Sequence[Layer]) -> int:
    """Return the number of trained weights."""
    return sum(layer.params for layer in layers)
