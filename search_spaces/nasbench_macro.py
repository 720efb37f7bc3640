"""The chains of NAS-Bench-Macro (Su et al., 2021, arXiv:2103.11922).

Each of eight layers takes one of three blocks; widths and strides are fixed. The published table holds accuracies of
all 6,561 chains, and numbers the options in the order of ``OPERATIONS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import nn

from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from search_spaces.accepted import IMAGES, image_shape
from search_spaces.blocks import ConvNorm, Head, InvertedResidual, LayerWriter, initialise


class BlockKind(NamedTuple):
    """Arguments of one inverted residual block, except widths and stride."""

    kernel: int
    expansion: int


IDENTITY = "identity"
BLOCK_KINDS = {"mb3_k3_e3": BlockKind(3, 3), "mb6_k5_e6": BlockKind(5, 6)}
OPERATIONS = (IDENTITY, *BLOCK_KINDS)
STAGES = ((2, 64), (3, 128), (3, 256))  # depth, width; the first layer of each strides
STEM_WIDTH = 32
HEAD_WIDTH = 1280


class NasBenchMacro:
    """The space of NAS-Bench-Macro (Su et al., 2021, arXiv:2103.11922): eight layers in three stages.

    Each stage halves the image. The stem does not stride, so an image of 8×8 has 1×1 in the last stage. If an identity
    must change width and size, it is a strided 1×1 convolution without activation.

    >>> space = NasBenchMacro(input_shape=(3, 32, 32), classes=10)
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))
    """

    accepts = IMAGES
    choices = tuple(Choice(f"op{number}", OPERATIONS) for number in range(sum(depth for depth, _ in STAGES)))

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        self._input_shape = image_shape(self, input_shape)
        self._classes = classes

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        """Return the values with the identities of each stage moved behind its blocks, which changes nothing.

        The first layer of a stage stays in place, because it changes the shape. 3,969 different networks remain.
        """
        operations = [values[choice.name] for choice in self.choices]
        start = 0
        for depth, _ in STAGES:
            operations[start + 1 : start + depth] = sorted(
                operations[start + 1 : start + depth], key=lambda operation: operation == IDENTITY
            )
            start += depth
        return {choice.name: operation for choice, operation in zip(self.choices, operations, strict=True)}

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the torch module, with weights drawn from torch's global random state."""
        width = STEM_WIDTH
        parts: list[nn.Module] = [ConvNorm(self._input_shape[0], width, 3)]
        for kind, outputs, stride in _plan(architecture):
            if kind is not None:
                parts.append(_block(width, outputs, kind, stride=stride))
            elif stride > 1:
                parts.append(ConvNorm(width, outputs, 1, stride=stride, activate=False))
            width = outputs
        network = nn.Sequential(*parts, ConvNorm(width, HEAD_WIDTH, 1), Head(HEAD_WIDTH, self._classes))
        initialise(network)
        return network

    def layers(self, architecture: Architecture) -> list[Layer]:
        """Return the layers, as a trace of the module gives them, without building it."""
        writer = LayerWriter(self._input_shape).conv_norm(STEM_WIDTH, 3)
        for kind, outputs, stride in _plan(architecture):
            if kind is not None:
                writer.inverted_residual(
                    outputs, kernel=kind.kernel, stride=stride, expansion=kind.expansion, fused=False, squeeze=False
                )
            elif stride > 1:
                writer.conv_norm(outputs, 1, stride=stride, activate=False)
        return writer.conv_norm(HEAD_WIDTH, 1).head(self._classes).layers


def _block(inputs: int, outputs: int, kind: BlockKind, *, stride: int) -> nn.Module:
    return InvertedResidual(
        inputs, outputs, kernel=kind.kernel, stride=stride, expansion=kind.expansion, fused=False, squeeze=False
    )


def _plan(architecture: Architecture) -> Iterator[tuple[BlockKind | None, int, int]]:
    """Yield each layer's block, or None for an identity, its output width and its stride."""
    places = ((width, 2 if place == 0 else 1) for depth, width in STAGES for place in range(depth))
    for number, (width, stride) in enumerate(places):
        yield BLOCK_KINDS.get(str(architecture[f"op{number}"])), width, stride
