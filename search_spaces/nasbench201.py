"""The cells of NAS-Bench-201 (Dong and Yang, 2020, arXiv:2001.00326).

A cell is a graph of four nodes, with input node 0 and output node 3. Each of its six edges has one of five operations,
and a node is the sum of its incoming edges. All cells of a network are the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from search_spaces.accepted import IMAGES, image_shape
from search_spaces.blocks import Head, LayerWriter, initialise

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (to, from)
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
OUTPUT = 3
STAGES = 3


class NasBench201:
    """The space of NAS-Bench-201 (Dong and Yang, 2020, arXiv:2001.00326): three stages of ``cells`` equal cells.

    Residual blocks between the stages halve the image and double ``channels``. The published networks have
    ``channels=16, cells=5``. The stem does not stride, so an image of 8×8 still has 2×2 in the last stage.

    >>> space = NasBench201(input_shape=(3, 32, 32), classes=10)
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))

    Raises:
        ValueError: ``channels`` or ``cells`` is less than 1.
    """

    accepts = IMAGES
    choices = tuple(Choice(f"op_e{to}{source}", OPERATIONS) for to, source in EDGES)

    def __init__(self, input_shape: tuple[int, int, int], classes: int, channels: int = 16, cells: int = 5) -> None:
        for name, value in (("channels", channels), ("cells", cells)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, but got {value}.")
        self._input_shape = image_shape(self, input_shape)
        self._classes = classes
        self._channels = channels
        self._cells = cells

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        """Return the values with "none" on each edge that is on no path from input to output.

        Other duplicates remain separate. A chain of skips and one skip give the same outputs, but the published tables
        list separate training runs for them.
        """
        live = _live_edges(values)
        return {f"op_e{to}{source}": live.get((to, source), "none") for to, source in EDGES}

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the torch module, with weights drawn from torch's global random state."""
        live = _live_edges(architecture)
        width = self._channels
        parts: list[nn.Module] = [
            nn.Conv2d(self._input_shape[0], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        ]
        height, image_width = self._input_shape[1:]
        for stage in range(STAGES):
            if stage > 0:
                parts.append(ResidualBlock(width, 2 * width, pool_kernel=_pool_kernel(height, image_width)))
                width *= 2
                height, image_width = -(-height // 2), -(-image_width // 2)
            parts.extend(Cell(width, live) for _ in range(self._cells))
        network = nn.Sequential(*parts, nn.BatchNorm2d(width), nn.ReLU(inplace=True), Head(width, self._classes))
        initialise(network)
        return network

    def layers(self, architecture: Architecture) -> list[Layer]:
        """Return the layers, as a trace of the module gives them, without building it."""
        live = _live_edges(architecture)
        width = self._channels
        writer = LayerWriter(self._input_shape).conv_norm(width, 3, activate=False)
        for stage in range(STAGES):
            if stage > 0:
                width *= 2
                _write_residual_block(writer, width)
            before = len(writer.layers)
            _write_cell(writer, live)  # cells keep the shape, so all cells of a stage have the same layers
            writer.layers.extend(writer.layers[before:] * (self._cells - 1))
        return writer.same("norm", params=2 * width).same("activation").head(self._classes).layers


class Cell(nn.Module):
    """A cell without edges that have no effect; without any path from input to output it returns zeros."""

    def __init__(self, width: int, live: Mapping[tuple[int, int], str]) -> None:
        super().__init__()
        self._edges = tuple(live)
        self.operations = nn.ModuleList(_operation(name, width) for name in live.values())

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the maps of the output node."""
        nodes = {0: maps}
        for (to, source), operation in zip(self._edges, self.operations, strict=True):
            value = operation(nodes[source])
            nodes[to] = nodes[to] + value if to in nodes else value
        # The product keeps earlier layers in the autograd graph, so that they get gradients of zero.
        return nodes[OUTPUT] if OUTPUT in nodes else maps * 0.0


class ReluConvNorm(nn.Sequential):
    """ReLU, convolution and batch norm, in the order of the paper."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
        )


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, the first strided, with a shortcut of an average pool and a 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, *, pool_kernel: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ReluConvNorm(inputs, outputs, 3, stride=2), ReluConvNorm(outputs, outputs, 3))
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(pool_kernel, stride=2, padding=(pool_kernel - 1) // 2, count_include_pad=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the sum of both branches, with half the sides."""
        output: torch.Tensor = self.body(maps) + self.shortcut(maps)
        return output


def _pool_kernel(height: int, width: int) -> int:
    """Return 2 as in the paper, or 3 with padding if a side is odd; the shortcut then rounds up as convolutions do."""
    return 2 + max(height % 2, width % 2)


def _operation(name: str, width: int) -> nn.Module:
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return ReluConvNorm(width, width, KERNELS[name])


def _live_edges(values: Mapping[str, Option]) -> dict[tuple[int, int], str]:
    """Return the operations of edges on a path from input to output, by (to, from), in the order of ``EDGES``."""
    present = {(to, source): str(values[f"op_e{to}{source}"]) for to, source in EDGES}
    present = {edge: operation for edge, operation in present.items() if operation != "none"}
    reached = {0}
    for to, source in EDGES:  # sorted by target, so each source is processed before its outgoing edges
        if (to, source) in present and source in reached:
            reached.add(to)
    needed = {OUTPUT}
    for to, source in reversed(EDGES):
        if (to, source) in present and to in needed:
            needed.add(source)
    return {(to, source): name for (to, source), name in present.items() if source in reached and to in needed}


def _write_cell(writer: LayerWriter, live: Mapping[tuple[int, int], str]) -> None:
    nodes = {0}
    width = writer.shape[0]
    for (to, _), name in live.items():
        if name == "avg_pool_3x3":
            writer.pool(3, stride=1)
        elif name in KERNELS:
            writer.same("activation").conv_norm(width, KERNELS[name], activate=False)
        if to in nodes:
            writer.same("elementwise")
        nodes.add(to)
    if OUTPUT not in nodes:
        writer.same("elementwise")


def _write_residual_block(writer: LayerWriter, width: int) -> None:
    start = writer.shape
    writer.same("activation").conv_norm(width, 3, stride=2, activate=False)
    writer.same("activation").conv_norm(width, 3, activate=False)
    writer.shape = start
    writer.pool(_pool_kernel(*start[1:]), stride=2).conv(width, 1).same("elementwise")
