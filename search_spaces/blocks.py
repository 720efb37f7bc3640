"""Torch modules that convolutional spaces share, and the layers that devices execute for them."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn

from nas.space.layer import Layer


class ConvNorm(nn.Sequential):
    """A convolution, batch norm and, with ``activate``, ReLU; sides are divided by ``stride`` and rounded up."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
        parts: list[nn.Module] = [convolution, nn.BatchNorm2d(outputs)]
        super().__init__(*parts, *([nn.ReLU(inplace=True)] if activate else []))


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the means of all channels (Hu et al., 2018, arXiv:1709.01507)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, squeezed(width), 1)
        self.expand = nn.Conv2d(squeezed(width), width, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the scaled maps."""
        means = maps.mean((2, 3), keepdim=True)
        gates = nn.functional.hardsigmoid(self.expand(nn.functional.relu(self.reduce(means))))
        return maps * gates


class InvertedResidual(nn.Module):
    """Widens channels ``expansion`` times, convolves, and narrows again (Sandler et al., 2018, arXiv:1801.04381).

    With ``fused``, one full convolution widens and convolves (Gupta and Akin, 2020, arXiv:2003.02838). It does more
    work but is often faster than a depthwise convolution. The input is added if input and output have the same shape.
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
        """Return the output maps, plus the input if the block is residual."""
        output: torch.Tensor = self.body(maps)
        return maps + output if self.is_residual else output


class Head(nn.Sequential):
    """The mean over the image, followed by a linear classifier."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def squeezed(width: int) -> int:
    """Return the width inside squeeze-and-excite: a quarter, but at least 4, so that ReLU does not zero everything."""
    return max(4, width // 4)


def initialise(module: nn.Module) -> None:
    """Draw weights of convolutions as in He et al. (2015, arXiv:1502.01852), and those of classifiers near zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.01)
            nn.init.zeros_(part.bias)


class LayerWriter:
    """Lists the layers of a network; ``shape``, (channels, height, width), is that of the current maps.

    Each method appends layers, updates ``shape``, and returns the writer.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.layers: list[Layer] = []

    def conv_norm(self, width: int, kernel: int, *, stride: int = 1, groups: int = 1, activate: bool = True) -> Self:
        """Append the layers of ``ConvNorm``."""
        self.conv(width, kernel, stride=stride, groups=groups, extra_params=2 * width)
        return self.same("activation") if activate else self

    def conv(
        self,
        width: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        groups: int = 1,
        extra_params: int = 0,
    ) -> Self:
        """Append a convolution; ``extra_params`` are those of its bias, or of the norm that is folded into it.

        A kernel of one number is square. A stride divides sides of 1 to 1.
        """
        channels, height, image_width = self.shape
        output = (width, -(-height // stride), -(-image_width // stride))
        sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        weights = width * (channels // groups) * sides[0] * sides[1]
        self._write(
            "depthwise_conv" if groups == channels > 1 else "conv",
            output,
            macs=weights * output[1] * output[2],
            params=weights + extra_params,
            kernel=max(sides),
            stride=stride,
            groups=groups,
        )
        return self

    def squeeze_excite(self) -> Self:
        """Append the layers of ``SqueezeExcite``."""
        shape = self.shape
        inside = squeezed(shape[0])
        self.mean().conv(inside, 1, extra_params=inside).same("activation")
        self.conv(shape[0], 1, extra_params=shape[0]).same("activation")
        self.shape = shape
        return self.same("elementwise")

    def inverted_residual(
        self, outputs: int, *, kernel: int, stride: int, expansion: int, fused: bool, squeeze: bool
    ) -> Self:
        """Append the layers of ``InvertedResidual``."""
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
        """Append a layer that keeps the shape, such as an activation or an addition."""
        self._write(kind, self.shape, params=params)
        return self

    def pool(self, kernel: int, *, stride: int) -> Self:
        """Append a pool; sides are divided by ``stride`` and rounded up."""
        channels, height, width = self.shape
        self._write("pool", (channels, -(-height // stride), -(-width // stride)), kernel=kernel, stride=stride)
        return self

    def mean(self) -> Self:
        """Append the mean over the image."""
        self._write("pool", (self.shape[0], 1, 1))
        return self

    def head(self, classes: int) -> Self:
        """Append the layers of ``Head``, which come last."""
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
