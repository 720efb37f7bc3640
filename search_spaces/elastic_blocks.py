"""Weights that blocks of all sizes share: each takes the first channels, and the middle of the kernel, of the largest.

Slimmable networks share the first channels (Yu et al., 2019, arXiv:1812.08928), Once-for-All the middle of kernels
(Cai et al., 2020, arXiv:1908.09791). ``weights`` gives, under the names of the parameters of the ordinary block,
views of what is shared, so that gradients flow back into it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from search_spaces.blocks import ConvNorm, Head, SqueezeExcite, squeezed

Weights = Iterator[tuple[str, torch.Tensor]]


class ElasticConvNorm(ConvNorm):
    """What ``ConvNorm`` of up to these widths and this kernel share. A depthwise one has ``inputs`` 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, activate=False)

    def weights(self, prefix: str, inputs: int, outputs: int, kernel: int) -> Weights:
        weight = self.get_parameter("0.weight")
        edge = (weight.shape[-1] - kernel) // 2
        middle = slice(edge, edge + kernel)
        yield f"{prefix}0.weight", weight[:outputs, :inputs, middle, middle]
        yield f"{prefix}1.weight", self.get_parameter("1.weight")[:outputs]
        yield f"{prefix}1.bias", self.get_parameter("1.bias")[:outputs]


class ElasticSqueezeExcite(SqueezeExcite):
    """What ``SqueezeExcite`` of up to this width share."""

    def weights(self, prefix: str, width: int) -> Weights:
        inside = squeezed(width)
        yield f"{prefix}reduce.weight", self.reduce.weight[:inside, :width]
        yield f"{prefix}reduce.bias", self.get_parameter("reduce.bias")[:inside]
        yield f"{prefix}expand.weight", self.expand.weight[:width, :inside]
        yield f"{prefix}expand.bias", self.get_parameter("expand.bias")[:width]


class ElasticInvertedResidual(nn.Module):
    """What ``InvertedResidual`` of one kind, of up to these sizes, share. Fused and depthwise ones share nothing."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, expansion: int, fused: bool) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.widen = None if fused or expansion == 1 else ElasticConvNorm(inputs, hidden, 1)
        self.convolve = ElasticConvNorm(inputs if fused else 1, hidden, kernel)
        self.excite = ElasticSqueezeExcite(hidden)
        self.narrow = ElasticConvNorm(hidden, outputs, 1)
        self._is_fused = fused

    def weights(self, prefix: str, inputs: int, outputs: int, *, kernel: int, expansion: int, squeeze: bool) -> Weights:
        """In the order of ``InvertedResidual.body``."""
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
    """What ``Head`` of up to this width share."""

    def weights(self, prefix: str, width: int) -> Weights:
        yield f"{prefix}2.weight", self.get_parameter("2.weight")[:, :width]
        yield f"{prefix}2.bias", self.get_parameter("2.bias")
