"""Layers: the operations of an architecture with their shapes, as a device executes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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
_LEAST = {"macs": 0, "params": 0, "kernel": 1, "stride": 1, "groups": 1}


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


def fault_of(layer: Layer) -> str | None:
    """Return what is wrong with the shapes or the counts of a layer, as a sentence; None if nothing is.

    Layers are made by the thousand, so this is asked once of each different one.
    """
    for name in ("input_shape", "output_shape"):
        shape = getattr(layer, name)
        if not isinstance(shape, tuple) or not all(_is_count(size, 0) for size in shape):
            return f"the {name} of a layer must be a tuple of whole numbers, but got {shape!r:.80}."
    for name, least in _LEAST.items():
        number = getattr(layer, name)
        if not _is_count(number, least):
            return f"{name} of a layer must be a whole number of at least {least}, but got {number!r:.80}."
    return None


def _is_count(number: object, least: int) -> bool:
    """Return True for a whole number of at least ``least``, also one of numpy."""
    return isinstance(number, int | np.integer) and bool(number >= least)


def total_macs(layers: Sequence[Layer]) -> int:
    """Return the multiply-accumulates of one inference."""
    return sum(layer.macs for layer in layers)


def total_params(layers: Sequence[Layer]) -> int:
    """Return the number of trained weights."""
    return sum(layer.params for layer in layers)


TOTALS: Mapping[str, Callable[[Sequence[Layer]], int]] = {"params": total_params, "macs": total_macs}
"""The metrics that are sums over layers, by name."""
