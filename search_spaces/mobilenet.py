"""Inverted residual blocks with searched depth, width, kernel, expansion and squeeze-and-excite.

The choices are those of MobileNetV3 (Howard et al., 2019, arXiv:1905.02244) and Once-for-All (Cai et al., 2020,
arXiv:1908.09791). The choice of fused blocks comes from EfficientNetV2 (Tan and Le, 2021, arXiv:2104.00298), because
CPUs run a full convolution over few channels faster than a depthwise one. All activations are ReLU, which runtimes
merge into the convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import nn

from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from search_spaces.accepted import IMAGES, image_shape
from search_spaces.blocks import ConvNorm, Head, InvertedResidual, LayerWriter, initialise
from search_spaces.elastic_blocks import ElasticConvNorm, ElasticHead, ElasticInvertedResidual


@dataclass(frozen=True)
class Stage:
    """Options of consecutive blocks of one width; the first block has the stride. Depth 0 leaves the stage out."""

    stride: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    blocks: tuple[str, ...] = ("fused", "mbconv")
    kernels: tuple[int, ...] = (3, 5)
    expansions: tuple[int, ...] = (1, 2, 4)


@dataclass(frozen=True)
class Preset:
    """Options for images of one size. ``head_widths`` are widths of the last convolution, before the mean."""

    stem_strides: tuple[int, ...]
    stem_widths: tuple[int, ...]
    stages: tuple[Stage, ...]
    head_widths: tuple[int, ...]


PRESETS = {
    "8x8": Preset(
        stem_strides=(1,),
        stem_widths=(8, 16, 32),
        stages=(
            Stage(stride=1, depths=(0, 1, 2), widths=(8, 16, 32), expansions=(1, 2)),
            Stage(stride=2, depths=(1, 2, 3), widths=(16, 32, 48)),
            Stage(stride=2, depths=(0, 1, 2, 3), widths=(32, 64, 96)),
        ),
        head_widths=(32, 64, 128),
    ),
    # The stem strides, because on one CPU core a stage at 28x28 takes longer than the rest of the network.
    "28x28": Preset(
        stem_strides=(2,),
        stem_widths=(8, 16, 32),
        stages=(
            Stage(stride=1, depths=(0, 1, 2), widths=(16, 24, 32), expansions=(1, 2)),
            Stage(stride=2, depths=(1, 2, 3), widths=(24, 40, 64)),
            Stage(stride=2, depths=(0, 1, 2, 3), widths=(48, 80, 128)),
        ),
        head_widths=(64, 128, 256),
    ),
    "32x32": Preset(
        stem_strides=(1, 2),
        stem_widths=(16, 24, 32),
        stages=(
            Stage(stride=1, depths=(0, 1, 2), widths=(16, 24, 32), expansions=(1, 2)),
            Stage(stride=2, depths=(1, 2, 3), widths=(32, 48, 64)),
            Stage(stride=2, depths=(1, 2, 3, 4), widths=(64, 96, 128)),
            Stage(stride=2, depths=(0, 1, 2, 3), widths=(96, 144, 192), blocks=("mbconv",)),
        ),
        head_widths=(128, 256, 512),
    ),
    "imagenet": Preset(
        stem_strides=(2,),
        stem_widths=(16, 24),
        stages=(
            Stage(2, (2, 3, 4), (16, 24, 32), ("fused", "mbconv"), (3, 5, 7), (3, 4, 6)),
            Stage(2, (2, 3, 4), (24, 40, 48), ("fused", "mbconv"), (3, 5, 7), (3, 4, 6)),
            Stage(2, (2, 3, 4), (48, 80, 96), ("mbconv",), (3, 5, 7), (3, 4, 6)),
            Stage(1, (2, 3, 4), (64, 112, 128), ("mbconv",), (3, 5, 7), (3, 4, 6)),
            Stage(2, (2, 3, 4), (96, 160, 192), ("mbconv",), (3, 5, 7), (3, 4, 6)),
        ),
        head_widths=(480, 960),
    ),
}
LARGEST_SIDE = {"8x8": 12, "28x28": 28, "32x32": 64}


class Block(TypedDict):
    """Arguments of one inverted residual block, except its widths."""

    kernel: int
    stride: int
    expansion: int
    fused: bool
    squeeze: bool


Plan = tuple[tuple[int, int], list[tuple[str, int, Block]], int]
"""The stem's width and stride, each block's name, output width and arguments, and the head's width."""


class MobileNet:
    """Convolutional networks for images of any size, in the manner of MobileNetV3, Once-for-All and EfficientNetV2.

    ``preset`` is one of 8x8, 28x28, 32x32 and imagenet; auto takes the preset for the size of the images.

    >>> space = MobileNet(input_shape=(1, 28, 28), classes=10)
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))

    Raises:
        ValueError: unknown preset.
    """

    accepts = IMAGES

    def __init__(self, input_shape: tuple[int, int, int], classes: int, preset: str = "auto") -> None:
        if preset != "auto" and preset not in PRESETS:
            raise ValueError(f"preset must be one of {('auto', *PRESETS)}, but got {preset!r}.")
        self._input_shape = image_shape(self, input_shape)
        side = max(input_shape[1:])
        fitting = (name for name, largest in LARGEST_SIDE.items() if side <= largest)
        self.preset = next(fitting, "imagenet") if preset == "auto" else preset
        self._options = PRESETS[self.preset]
        self._classes = classes
        self.choices = tuple(_choices(self._options))

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the torch module, with weights drawn from torch's global random state."""
        stem, blocks, head_width = self._plan(architecture)
        width, stride = stem
        parts: list[nn.Module] = [ConvNorm(self._input_shape[0], width, 3, stride=stride)]
        for _, outputs, block in blocks:
            parts.append(InvertedResidual(width, outputs, **block))
            width = outputs
        network = nn.Sequential(*parts, ConvNorm(width, head_width, 1), Head(head_width, self._classes))
        initialise(network)
        return network

    def layers(self, architecture: Architecture) -> list[Layer]:
        """Return the layers, as a trace of the module gives them, without building it."""
        (width, stride), blocks, head_width = self._plan(architecture)
        writer = LayerWriter(self._input_shape).conv_norm(width, 3, stride=stride)
        for _, outputs, block in blocks:
            writer.inverted_residual(outputs, **block)
        return writer.conv_norm(head_width, 1).head(self._classes).layers

    def supernet(self) -> MobileSupernet:
        """Return weights that all architectures share, drawn from torch's global random state."""
        return MobileSupernet(self._options, self._input_shape[0], self._classes, self._plan)

    def _plan(self, architecture: Architecture) -> Plan:

        def chosen(name: str, options: tuple[Option, ...]) -> int:
            return int(architecture[name] if len(options) > 1 else options[0])

        blocks: list[tuple[str, int, Block]] = []
        for number, stage in enumerate(self._options.stages, start=1):
            name = f"stage{number}"
            depth = chosen(f"{name}.depth", stage.depths)
            for position in range(1, depth + 1):
                block = f"{name}.block{position}"
                blocks.append(
                    (
                        block,
                        chosen(f"{name}.width", stage.widths),
                        {
                            "kernel": chosen(f"{block}.kernel", stage.kernels),
                            "stride": stage.stride if position == 1 else 1,
                            "expansion": chosen(f"{block}.expansion", stage.expansions),
                            "fused": architecture.get(f"{name}.block", stage.blocks[0]) == "fused",
                            "squeeze": bool(architecture[f"{name}.squeeze_excite"]),
                        },
                    )
                )
        stem = chosen("stem.width", self._options.stem_widths), chosen("stem.stride", self._options.stem_strides)
        return stem, blocks, chosen("head.width", self._options.head_widths)


class MobileSupernet(nn.Module):
    """Shared weights of all architectures of one preset, as in Once-for-All, but separate for each kind of block.

    The n-th block of a stage has the same weights at every depth of the stage.
    """

    def __init__(self, preset: Preset, channels: int, classes: int, plan: Callable[[Architecture], Plan]) -> None:
        super().__init__()
        self._plan = plan
        self._channels = channels
        width = max(preset.stem_widths)
        self.stem = ElasticConvNorm(channels, width, 3)
        self.blocks = nn.ModuleDict()
        for number, stage in enumerate(preset.stages, start=1):
            outputs = max(stage.widths)
            for position in range(1, max(stage.depths) + 1):
                for kind in stage.blocks:
                    self.blocks[_key(f"stage{number}.block{position}", kind == "fused")] = ElasticInvertedResidual(
                        width if position == 1 else outputs,
                        outputs,
                        kernel=max(stage.kernels),
                        expansion=max(stage.expansions),
                        fused=kind == "fused",
                    )
            # If a stage is left out, the next one gets the width of the stage before.
            width = outputs if min(stage.depths) > 0 else max(width, outputs)
        self.last = ElasticConvNorm(width, max(preset.head_widths), 1)
        self.head = ElasticHead(max(preset.head_widths), classes)
        initialise(self)

    def weights(self, architecture: Architecture) -> dict[str, torch.Tensor]:
        """Return views of the shared weights by the parameter names of the architecture's module."""
        (width, _), blocks, head_width = self._plan(architecture)
        found = dict(self.stem.weights("0.", self._channels, width, 3))
        for place, (name, outputs, block) in enumerate(blocks, start=1):
            elastic = self.blocks[_key(name, block["fused"])]
            assert isinstance(elastic, ElasticInvertedResidual)
            sizes = {"kernel": block["kernel"], "expansion": block["expansion"]}
            found.update(elastic.weights(f"{place}.", width, outputs, squeeze=block["squeeze"], **sizes))
            width = outputs
        place = len(blocks) + 1
        found.update(self.last.weights(f"{place}.", width, head_width, 1))
        found.update(self.head.weights(f"{place + 1}.", head_width))
        return found


def _key(block: str, fused: bool) -> str:
    """Return a module name without dots, which torch does not allow."""
    return f"{block.replace('.', '_')}_{'fused' if fused else 'mbconv'}"


def _choices(preset: Preset) -> Iterator[Choice]:
    """Yield all choices with more than one option."""
    if len(preset.stem_strides) > 1:
        yield Choice("stem.stride", preset.stem_strides)
    yield Choice("stem.width", preset.stem_widths)
    for number, stage in enumerate(preset.stages, start=1):
        name = f"stage{number}"
        yield Choice(f"{name}.depth", stage.depths)
        present = (f"{name}.depth", tuple(depth for depth in stage.depths if depth > 0))
        yield Choice(f"{name}.width", stage.widths, when=present)
        if len(stage.blocks) > 1:
            yield Choice(f"{name}.block", stage.blocks, when=present)
        yield Choice(f"{name}.squeeze_excite", (False, True), when=present)
        for position in range(1, max(stage.depths) + 1):
            deep_enough = (f"{name}.depth", tuple(depth for depth in stage.depths if depth >= position))
            yield Choice(f"{name}.block{position}.kernel", stage.kernels, when=deep_enough)
            yield Choice(f"{name}.block{position}.expansion", stage.expansions, when=deep_enough)
    yield Choice("head.width", preset.head_widths)
