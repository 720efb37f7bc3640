"""The layer-wise space of FBNet (Wu et al., 2019, arXiv:1812.03443).

Each of 22 layers takes one of nine blocks; widths and strides are fixed. HW-NAS-Bench (Li et al., 2021,
arXiv:2103.10584) publishes tables for many devices, which number the options in the order of ``OPERATIONS``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from nas.space.architecture import Architecture, Choice
from nas.space.layer import Layer
from search_spaces.accepted import IMAGES, image_shape
from search_spaces.blocks import ConvNorm, Head, LayerWriter, initialise


@dataclass(frozen=True)
class BlockKind:
    """Arguments of one block, except widths and stride; ``groups`` is the number of groups of its 1×1 convolutions."""

    kernel: int
    expansion: int
    groups: int = 1


BLOCK_KINDS = {
    "k3_e1": BlockKind(3, 1),
    "k3_e1_g2": BlockKind(3, 1, groups=2),
    "k3_e3": BlockKind(3, 3),
    "k3_e6": BlockKind(3, 6),
    "k5_e1": BlockKind(5, 1),
    "k5_e1_g2": BlockKind(5, 1, groups=2),
    "k5_e3": BlockKind(5, 3),
    "k5_e6": BlockKind(5, 6),
}
SKIP = "skip"
OPERATIONS = (*BLOCK_KINDS, SKIP)
STAGES = ((1, 16, 1), (4, 24, 2), (4, 32, 2), (4, 64, 2), (4, 112, 1), (4, 184, 2), (1, 352, 1))  # depth, width, stride
PLACES = tuple((width, stride if place == 0 else 1) for depth, width, stride in STAGES for place in range(depth))
STEM_WIDTH = 16
HEAD_WIDTH = 1504  # 1984 in the paper, 1504 in the tables
LARGEST_SMALL_SIDE = 64


class FbNet:
    """The space of FBNet (Wu et al., 2019, arXiv:1812.03443): 22 inverted residual blocks that may be skipped.

    The stem halves only images with a side of more than 64 pixels. The blocks divide the sides by 16.

    >>> space = FbNet(input_shape=(3, 32, 32), classes=10)
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))
    """

    accepts = IMAGES
    choices = tuple(Choice(f"op{number}", OPERATIONS) for number in range(len(PLACES)))

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        self._input_shape = image_shape(self, input_shape)
        self._classes = classes
        self._stem_stride = 1 if max(input_shape[1:]) <= LARGEST_SMALL_SIDE else 2

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the torch module, with weights drawn from torch's global random state."""
        width = STEM_WIDTH
        parts: list[nn.Module] = [ConvNorm(self._input_shape[0], width, 3, stride=self._stem_stride)]
        for kind, outputs, stride in _plan(architecture):
            if kind is not None:
                parts.append(Block(width, outputs, kind, stride=stride))
            elif not _keeps_shape(width, outputs, stride):
                parts.append(ConvNorm(width, outputs, 1, stride=stride))
            width = outputs
        network = nn.Sequential(*parts, ConvNorm(width, HEAD_WIDTH, 1), Head(HEAD_WIDTH, self._classes))
        initialise(network)
        return network

    def layers(self, architecture: Architecture) -> list[Layer]:
        """Return the layers, as a trace of the module gives them, without building it."""
        writer = LayerWriter(self._input_shape).conv_norm(STEM_WIDTH, 3, stride=self._stem_stride)
        for kind, outputs, stride in _plan(architecture):
            if kind is not None:
                _write_block(writer, outputs, kind, stride=stride)
            elif not _keeps_shape(writer.shape[0], outputs, stride):
                writer.conv_norm(outputs, 1, stride=stride)
        return writer.conv_norm(HEAD_WIDTH, 1).head(self._classes).layers


class Block(nn.Module):
    """An inverted residual that keeps its first 1×1 convolution even at expansion 1; groups exchange channels."""

    def __init__(self, inputs: int, outputs: int, kind: BlockKind, *, stride: int) -> None:
        super().__init__()
        hidden = inputs * kind.expansion
        parts: list[nn.Module] = [ConvNorm(inputs, hidden, 1, groups=kind.groups)]
        if kind.groups > 1:
            # After the norm instead of before it, so that the norm can be folded; outputs are the same.
            parts.append(ChannelShuffle(kind.groups))
        parts.append(ConvNorm(hidden, hidden, kind.kernel, stride=stride, groups=hidden))
        parts.append(ConvNorm(hidden, outputs, 1, groups=kind.groups, activate=False))
        self.body = nn.Sequential(*parts)
        self.is_residual = _keeps_shape(inputs, outputs, stride)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the output maps, plus the input if the block is residual."""
        output: torch.Tensor = self.body(maps)
        return maps + output if self.is_residual else output


class ChannelShuffle(nn.Module):
    """Distributes the channels of each group over all groups (Zhang et al., 2018, arXiv:1707.01083).

    It is written as a transposition, which traces leave out. A trace would show torch's own shuffle as a layer of kind
    other.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the maps with reordered channels."""
        return torch.unflatten(maps, 1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


def _plan(architecture: Architecture) -> Iterator[tuple[BlockKind | None, int, int]]:
    """Yield each layer's block, or None if it is skipped, its output width and its stride."""
    for number, (width, stride) in enumerate(PLACES):
        yield BLOCK_KINDS.get(str(architecture[f"op{number}"])), width, stride


def _keeps_shape(inputs: int, outputs: int, stride: int) -> bool:
    return stride == 1 and inputs == outputs


def _write_block(writer: LayerWriter, outputs: int, kind: BlockKind, *, stride: int) -> None:
    """Append the layers of ``Block``; a shuffle computes nothing, so it is not a layer."""
    inputs = writer.shape[0]
    hidden = inputs * kind.expansion
    writer.conv_norm(hidden, 1, groups=kind.groups)
    writer.conv_norm(hidden, kind.kernel, stride=stride, groups=hidden)
    writer.conv_norm(outputs, 1, groups=kind.groups, activate=False)
    if _keeps_shape(inputs, outputs, stride):
        writer.same("elementwise")
