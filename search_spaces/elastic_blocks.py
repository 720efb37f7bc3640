"""Weights shared by blocks of all sizes: each block uses the first channels and the kernel centre of the largest block.

Slimmable networks share the first channels (Yu et al., 2019, arXiv:1812.08928), and Once-for-All shares the centre of
kernels (Cai et al., 2020, arXiv:1908.09791). Each ``weights`` method yields views of the shared weights under the
parameter names of the ordinary block, so that gradients flow back.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from search_spaces.blocks import ConvNorm, Head, SqueezeExcite, squeezed

Weights = Iterator[tuple[str, torch.Tensor]]
"""Names of parameters, with views of the shared weights."""


class ElasticConvNorm(ConvNorm):
    """Shared weights of ``ConvNorm`` up to these widths and this kernel; ``inputs`` is 1 for depthwise convolutions."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, activate=False)

    def weights(self, prefix: str, inputs: int, outputs: int, kernel: int) -> Weights:
        """Yield the weights of a block of this size."""
        weight = self.get_parameter("0.weight")
        edge = (weight.shape[-1] - kernel) // 2
        middle = slice(edge, edge + kernel)
        yield f"{prefix}0.weight", weight[:outputs, :inputs, middle, middle]
        yield f"{prefix}1.weight", self.get_parameter("1.weight")[:outputs]
        yield f"{prefix}1.bias", self.get_parameter("1.bias")[:outputs]


class ElasticSqueezeExcite(SqueezeExcite):
    """Shared weights of ``SqueezeExcite`` up to this width."""

    def weights(self, prefix: str, width: int) -> Weights:
        """Yield the weights of a block of this width."""
        inside = squeezed(width)
        yield f"{prefix}reduce.weight", self.reduce.weight[:inside, :width]
        yield f"{prefix}reduce.bias", self.get_parameter("reduce.bias")[:inside]
        yield f"{prefix}expand.weight", self.expand.weight[:width, :inside]
        yield f"{prefix}expand.bias", self.get_parameter("expand.bias")[:width]


class ElasticInvertedResidual(nn.Module):
    """Shared weights of ``InvertedResidual`` up to these sizes; fused and depthwise blocks share no weights."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, expansion: int, fused: bool) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.widen = None if fused or expansion == 1 else ElasticConvNorm(inputs, hidden, 1)
        self.convolve = ElasticConvNorm(inputs if fused else 1, hidden, kernel)
        self.excite = ElasticSqueezeExcite(hidden)
        self.narrow = ElasticConvNorm(hidden, outputs, 1)
        self._is_fused = fused

    def weights(self, prefix: str, inputs: int, outputs: int, *, kernel: int, expansion: int, squeeze: bool) -> Weights:
        """Yield the weights of a block of this size, in the order of ``InvertedResidual.body``."""
        hidden = inputs * expansion
        place = 0
        if self.widen is not None and expansion > 1:
            yield from self.widen.weights(f"{prefix}body.{place}.", inputs, hidden, 1)
            place += 1
        yield from self.convolve.weights(f"{prefix}body.{place}.", inputs if self._is_fused else 1, hidden, kernel)
        place += 1
        if squeeze:
            yield from self.excite.weights(f"{prefix}body.{place}.", hidden)
            place += 1
        yield from self.narrow.weights(f"{prefix}body.{place}.", hidden, outputs, 1)


class ElasticHead(Head):
    """Shared weights of ``Head`` up to this width."""

    def weights(self, prefix: str, width: int) -> Weights:
        """Yield the weights of a head of this width."""
        yield f"{prefix}2.weight", self.get_parameter("2.weight")[:, :width]
        yield f"{prefix}2.bias", self.get_parameter("2.bias")
