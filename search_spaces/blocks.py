"""Torch modules that convolutional spaces share, and the layers that a device sees of them."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn

from nas.space.layer import Layer


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size (divided by ``stride``, rounded up), batch norm, and ReLU where asked for."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
        parts: list[nn.Module] = [convolution, nn.BatchNorm2d(outputs)]
        super().__init__(*parts, *([nn.ReLU(inplace=True)] if activate else []))


class SqueezeExcite(nn.Module):
    """Weights each channel by a gate computed from the means of all (Hu et al., 2018, arXiv:1709.01507)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, squeezed(width), 1)
        self.expand = nn.Conv2d(squeezed(width), width, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        means = maps.mean((2, 3), keepdim=True)
        gates = nn.functional.hardsigmoid(self.expand(nn.functional.relu(self.reduce(means))))
        return maps * gates


class InvertedResidual(nn.Module):
    """Widens ``expansion`` times, convolves, narrows again (Sandler et al., 2018, arXiv:1801.04381).

    ``fused`` does the first two with one full convolution (Gupta and Akin, 2020, arXiv:2003.02838), which does more
    work yet is often quicker than a depthwise one. The input is added where the shapes allow it.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int, fused: bool, squeeze: bool
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        parts: list[nn.Module] = []
        if fused:
            parts.append(ConvNorm(inputs, hidden, kernel, stride=stride))
        else:
            if expansion > 1:
                parts.append(ConvNorm(inputs, hidden, 1))
            parts.append(ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden))
        if squeeze:
            parts.append(SqueezeExcite(hidden))
        parts.append(ConvNorm(hidden, outputs, 1, activate=False))
        self.body = nn.Sequential(*parts)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.body(maps)
        return maps + output if self.is_residual else output


class Head(nn.Sequential):
    """The mean over the image, and a linear classifier."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def squeezed(width: int) -> int:
    """The width inside squeeze-and-excite: a quarter, but at least 4 so that ReLU leaves something alive."""
    return max(4, width // 4)


def initialise(module: nn.Module) -> None:
    """Draw convolutions as He et al. (2015, arXiv:1502.01852) do, and classifiers near zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.01)
            nn.init.zeros_(part.bias)


class LayerWriter:
    """Writes down the layers of a network while following the shape, (channels, height, width), of its maps."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.layers: list[Layer] = []

    def conv_norm(self, width: int, kernel: int, *, stride: int = 1, groups: int = 1, activate: bool = True) -> Self:
        """As ``ConvNorm``."""
        self.conv(width, kernel, stride=stride, groups=groups, extra_params=2 * width)
        return self.same("activation") if activate else self

    def conv(self, width: int, kernel: int, *, stride: int = 1, groups: int = 1, extra_params: int = 0) -> Self:
        """A convolution that keeps the size; ``extra_params`` are those of its bias or of the norm folded into it."""
        channels, height, image_width = self.shape
        output = (width, -(-height // stride), -(-image_width // stride))
        weights = width * (channels // groups) * kernel * kernel
        self._write(
            "depthwise_conv" if groups == channels > 1 else "conv",
            output,
            macs=weights * output[1] * output[2],
            params=weights + extra_params,
            kernel=kernel,
            stride=stride,
            groups=groups,
        )
        return self

    def squeeze_excite(self) -> Self:
        """As ``SqueezeExcite``."""
        shape = self.shape
        inside = squeezed(shape[0])
        self.mean().conv(inside, 1, extra_params=inside).same("activation")
        self.conv(shape[0], 1, extra_params=shape[0]).same("activation")
        self.shape = shape
        return self.same("elementwise")

    def inverted_residual(
        self, outputs: int, *, kernel: int, stride: int, expansion: int, fused: bool, squeeze: bool
    ) -> Self:
        """As ``InvertedResidual``."""
        inputs = self.shape[0]
        hidden = inputs * expansion
        if fused:
            self.conv_norm(hidden, kernel, stride=stride)
        else:
            if expansion > 1:
                self.conv_norm(hidden, 1)
            self.conv_norm(hidden, kernel, stride=stride, groups=hidden)
        if squeeze:
            self.squeeze_excite()
        self.conv_norm(outputs, 1, activate=False)
        return self.same("elementwise") if stride == 1 and inputs == outputs else self

    def same(self, kind: str, *, params: int = 0) -> Self:
        """A layer that keeps the shape, such as an activation or an addition."""
        self._write(kind, self.shape, params=params)
        return self

    def pool(self, kernel: int, *, stride: int) -> Self:
        """Pooling that keeps the size (divided by ``stride``, rounded up)."""
        channels, height, width = self.shape
        self._write("pool", (channels, -(-height // stride), -(-width // stride)), kernel=kernel, stride=stride)
        return self

    def mean(self) -> Self:
        """The mean over the image."""
        self._write("pool", (self.shape[0], 1, 1))
        return self

    def head(self, classes: int) -> Self:
        """As ``Head``; the last layer."""
        width = self.mean().shape[0]
        self.layers.append(Layer("linear", (width,), (classes,), macs=width * classes, params=(width + 1) * classes))
        return self

    def _write(
        self,
        kind: str,
        output: tuple[int, int, int],
        *,
        macs: int = 0,
        params: int = 0,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        self.layers.append(Layer(kind, self.shape, output, macs, params, kernel, stride, groups))
        self.shape = output
