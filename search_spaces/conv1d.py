"""Convolutions along time: separable or full, dilated, with residuals and squeeze-and-excite, for signals.

Depthwise-separable convolutions over log-mel spectrograms are those of DS-CNN (Zhang et al., 2017, arXiv:1711.07128),
dilated ones with residuals those of TCN (Bai et al., 2018, arXiv:1803.01271), and strided stems with long kernels for
raw audio those of M5 (Dai et al., 2016, arXiv:1610.00087). The plain convolutional baseline for time series is FCN
(Wang et al., 2016, arXiv:1611.06455).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from nas.space.architecture import Architecture, Choice
from nas.space.layer import Layer
from search_spaces.accepted import SIGNALS, signal_shape
from search_spaces.blocks import Head, LayerWriter, SqueezeExcite, initialise

STAGES = 3
DEPTHS = ((0, 1, 2), (1, 2, 3), (0, 1, 2, 3))
STEM_WIDTHS = (8, 16, 32)
WIDTHS = ((8, 16, 32), (8, 16, 32, 64), (16, 32, 64, 96))
KERNELS = (3, 5, 9, 13)
DILATIONS = (1, 2, 4)
BLOCKS = ("separable", "full")
FEWEST_SAMPLES = 8
"""A stage halves the samples if at least so many are left."""


class Stem(NamedTuple):
    """Kernels and strides of the first convolution."""

    kernels: tuple[int, ...]
    strides: tuple[int, ...]


STEMS = {
    128: Stem((3, 5, 9), (1, 2)),
    1024: Stem((5, 9, 15), (2, 4)),
    4096: Stem((15, 31), (4, 8)),
}
"""The stem by the most samples that it is for. Longer signals, such as raw audio, get ``LONG``."""
LONG = Stem((31, 79), (8, 16))


class BlockPlan(NamedTuple):
    """The sizes of a block."""

    width: int
    kernel: int
    dilation: int
    stride: int
    separable: bool
    squeeze: bool


class Conv1d:
    """Convolutional networks for signals and for log-mel spectrograms, down to 20 kB of weights (arXiv:1611.06455).

    Signals are float32 of shape (channels, samples); the channels of a spectrogram are its mel bands. The first
    convolution strides more over longer signals, so that networks for raw audio stay small.

    >>> space = Conv1d(input_shape=(3, 128), classes=10)
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))
    """

    accepts = SIGNALS

    def __init__(self, input_shape: tuple[int, int], classes: int) -> None:
        self._channels, self._samples = signal_shape(self, input_shape)
        self._classes = classes
        self._stem = next((stem for most, stem in STEMS.items() if self._samples <= most), LONG)
        self.choices = tuple(_choices(self._stem))

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the torch module, with weights drawn from torch's global random state."""
        width, kernel, stride = self._stem_of(architecture)
        parts: list[nn.Module] = [
            AsMaps(self._channels, self._samples),
            TimeConvNorm(self._channels, width, kernel, stride=stride),
        ]
        for block in self._blocks(architecture):
            parts.append(TimeBlock(width, block))
            width = block.width
        network = nn.Sequential(*parts, Head(width, self._classes))
        initialise(network)
        return network

    def layers(self, architecture: Architecture) -> list[Layer]:
        """Return the layers, as a trace of the module gives them, without building it."""
        width, kernel, stride = self._stem_of(architecture)
        writer = LayerWriter((self._channels, 1, self._samples))
        _write_conv_norm(writer, width, kernel, stride=stride)
        for block in self._blocks(architecture):
            residual = block.stride == 1 and writer.shape[0] == block.width
            if block.separable:
                groups = writer.shape[0]
                _write_conv_norm(writer, groups, block.kernel, stride=block.stride, groups=groups)
                _write_conv_norm(writer, block.width, 1, activate=False)
            else:
                _write_conv_norm(writer, block.width, block.kernel, stride=block.stride, activate=False)
            if block.squeeze:
                writer.squeeze_excite()
            if residual:
                writer.same("elementwise")
            writer.same("activation")
        return writer.head(self._classes).layers

    def _stem_of(self, architecture: Architecture) -> tuple[int, int, int]:
        """Return the width, the kernel and the stride of the first convolution."""
        width, kernel, stride = (architecture[f"stem.{name}"] for name in ("width", "kernel", "stride"))
        return int(width), int(kernel), int(stride)

    def _blocks(self, architecture: Architecture) -> Iterator[BlockPlan]:
        samples = -(-self._samples // self._stem_of(architecture)[2])
        for number in range(1, STAGES + 1):
            stage = f"stage{number}"
            for position in range(1, int(architecture[f"{stage}.depth"]) + 1):
                stride = 2 if position == 1 and number > 1 and samples >= FEWEST_SAMPLES else 1
                samples = -(-samples // stride)
                yield BlockPlan(
                    width=int(architecture[f"{stage}.width"]),
                    kernel=int(architecture[f"{stage}.kernel"]),
                    dilation=int(architecture[f"{stage}.dilation"]),
                    stride=stride,
                    separable=architecture[f"{stage}.block"] == "separable",
                    squeeze=bool(architecture[f"{stage}.squeeze_excite"]),
                )


class AsMaps(nn.Module):
    """Gives signals, shape (N, channels, samples), a height of 1."""

    def __init__(self, channels: int, samples: int) -> None:
        super().__init__()
        self._shape = (-1, channels, 1, samples)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Return maps of shape (N, channels, 1, samples)."""
        return signals.reshape(self._shape)


class TimeConvNorm(nn.Sequential):
    """A convolution along the last axis, batch norm and, with ``activate``, ReLU, for maps of height 1.

    A convolution of images over maps of height 1 runs 2 to 3.5 times faster in ONNX Runtime than a one-dimensional one:
    16, 32 and 64 channels of 128 samples, separable, kernel 7, one core of a Xeon.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        convolution = nn.Conv2d(
            inputs,
            outputs,
            (1, kernel),
            stride=(1, stride),
            padding=(0, kernel // 2 * dilation),
            dilation=(1, dilation),
            groups=groups,
            bias=False,
        )
        parts: list[nn.Module] = [convolution, nn.BatchNorm2d(outputs)]
        super().__init__(*parts, *([nn.ReLU(inplace=True)] if activate else []))


class TimeBlock(nn.Module):
    """A full or a separable convolution; the input is added if it has the output's shape, and ReLU follows."""

    def __init__(self, inputs: int, plan: BlockPlan) -> None:
        super().__init__()
        width, groups = (inputs, inputs) if plan.separable else (plan.width, 1)
        along = TimeConvNorm(
            inputs,
            width,
            plan.kernel,
            stride=plan.stride,
            dilation=plan.dilation,
            groups=groups,
            activate=plan.separable,
        )
        parts: list[nn.Module] = [along]
        if plan.separable:
            parts.append(TimeConvNorm(inputs, plan.width, 1, activate=False))
        if plan.squeeze:
            parts.append(SqueezeExcite(plan.width))
        self.body = nn.Sequential(*parts)
        self.is_residual = plan.stride == 1 and inputs == plan.width

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the output maps."""
        output: torch.Tensor = self.body(maps)
        return nn.functional.relu(maps + output if self.is_residual else output)


def _write_conv_norm(
    writer: LayerWriter, width: int, kernel: int, *, stride: int = 1, groups: int = 1, activate: bool = True
) -> None:
    """Append the layers of ``TimeConvNorm``. Dilation changes none of their sizes."""
    writer.conv(width, (1, kernel), stride=stride, groups=groups, extra_params=2 * width)
    if activate:
        writer.same("activation")


def _choices(stem: Stem) -> Iterator[Choice]:
    yield Choice("stem.width", STEM_WIDTHS)
    yield Choice("stem.kernel", stem.kernels)
    yield Choice("stem.stride", stem.strides[::-1])  # the larger stride is less work
    for number in range(1, STAGES + 1):
        stage = f"stage{number}"
        depths = DEPTHS[number - 1]
        present = (f"{stage}.depth", tuple(depth for depth in depths if depth > 0))
        yield Choice(f"{stage}.depth", depths)
        for name, options in (
            ("width", WIDTHS[number - 1]),
            ("kernel", KERNELS),
            ("dilation", DILATIONS),
            ("block", BLOCKS),
            ("squeeze_excite", (False, True)),
        ):
            yield Choice(f"{stage}.{name}", options, when=present)
