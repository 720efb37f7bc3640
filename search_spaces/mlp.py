"""Perceptrons for tables: embedded numbers and categories, then residual blocks.

Blocks are those of the tabular ResNet of Gorishniy et al. ("Revisiting deep learning models for tabular data", 2021,
arXiv:2106.11959), and numbers are embedded as in "On embeddings for numerical features in tabular deep learning" by
the same group (2022, arXiv:2203.05556). Without blocks, the network is a linear model, which small tables often prefer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from nas.space.architecture import Architecture, Choice
from nas.space.layer import Layer
from nas.space.signature import Signature, TensorType
from search_spaces.accepted import TABLES, category_counts

DEPTHS = (0, 1, 2, 3, 4)
WIDTHS = (16, 32, 64, 128, 256)
DROPOUTS = (0.0, 0.1, 0.25, 0.5)
CATEGORY_WIDTHS = (2, 4, 8, 16)
BINS = 8
"""Pieces of a piecewise-linear embedding."""
FREQUENCIES = 8
"""Learned frequencies of a periodic embedding, each with a sine and a cosine."""
EMBEDDED_WIDTH = 8
"""The values that a periodic embedding gives for each number."""
DEVIATION = 0.3
"""The standard deviation of the first frequencies, in periods for each unit of a scaled number."""
MOST_EMBEDDED = 256
"""With more numbers, embeddings would be larger than the network."""


class Mlp:
    """Tabular ResNets (Gorishniy et al., 2021, arXiv:2106.11959) with embeddings of numbers and categories.

    Numbers must be scaled to mean 0 and deviation 1 or so. Inputs are numbers, categories, or one of each.

    >>> space = Mlp(nas.Signature((nas.TensorType("numbers", (13,)),), output=(3,)))
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))
    """

    accepts = TABLES

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        numbers = sum(each.elements for each in signature.inputs if not each.counts)
        embeddings = ("none", "piecewise", "periodic") if 0 < numbers <= MOST_EMBEDDED else ()
        deep = ("depth", DEPTHS[1:])
        self.choices = (
            Choice("depth", DEPTHS),
            Choice("width", WIDTHS, when=deep),
            Choice("expansion", (1, 2), when=deep),
            Choice("norm", ("none", "batch"), when=deep),
            Choice("dropout", DROPOUTS, when=deep, affects="training"),
            *([Choice("numbers", embeddings)] if embeddings else []),
            *([Choice("category_width", CATEGORY_WIDTHS)] if any(each.counts for each in signature.inputs) else []),
        )

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the torch module, with weights drawn from torch's global random state."""
        return _TabularNet(self._signature, architecture)

    def layers(self, architecture: Architecture) -> Sequence[Layer]:
        """Return the operations of the network."""
        inputs = self._signature.inputs
        found = [layer for each in inputs for layer in _embedding_layers(each, architecture)]
        widths = [_joined_width(each, architecture) for each in inputs]
        joined = sum(widths)
        if len(widths) > 1:
            found.append(Layer("concat", (max(widths),), (joined,)))
        if depth := int(architecture["depth"]):
            width, has_norm = int(architecture["width"]), architecture["norm"] == "batch"
            hidden = width * int(architecture["expansion"])
            norm = [Layer("norm", (width,), (width,), params=2 * width)] if has_norm else []
            found.append(_linear(joined, width))
            for _ in range(depth):
                found += [*norm, _linear(width, hidden), Layer("activation", (hidden,), (hidden,))]
                found += [_linear(hidden, width), Layer("elementwise", (width,), (width,))]
            found += [*norm, Layer("activation", (width,), (width,))]
            joined = width
        return [*found, _linear(joined, self._signature.output[0])]


class _TabularNet(nn.Module):
    """Embeds each input, joins them, and goes through residual blocks to the outputs."""

    def __init__(self, signature: Signature, architecture: Architecture) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(_embedding(each, architecture) for each in signature.inputs)
        joined = sum(_joined_width(each, architecture) for each in signature.inputs)
        depth = int(architecture["depth"])
        parts: list[nn.Module] = []
        if depth:
            width = int(architecture["width"])
            parts.append(nn.Linear(joined, width))
            parts += [
                _ResidualBlock(
                    width,
                    width * int(architecture["expansion"]),
                    architecture["norm"] == "batch",
                    float(architecture["dropout"]),
                )
                for _ in range(depth)
            ]
            parts += [*([nn.BatchNorm1d(width)] if architecture["norm"] == "batch" else []), nn.ReLU()]
            joined = width
        self.body = nn.Sequential(*parts)
        self.head = nn.Linear(joined, signature.output[0])

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs, shape (N, classes or values)."""
        parts = [embed(each) for embed, each in zip(self.embeddings, inputs, strict=True)]
        output: torch.Tensor = self.head(self.body(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)))
        return output


class _ResidualBlock(nn.Module):
    """Adds to its input: a norm, a linear layer, ReLU, dropout, and a linear layer back."""

    def __init__(self, width: int, hidden: int, has_norm: bool, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *([nn.BatchNorm1d(width)] if has_norm else []),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values, changed by the block."""
        output: torch.Tensor = values + self.inner(values)
        return output


class _Piecewise(nn.Module):
    """Tells for each number how far it has come through each of ``BINS`` ranges of a normal distribution.

    The ranges have equal probability. The first and the last one go on without an end.
    """

    starts: torch.Tensor
    widths: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        inner = torch.special.ndtri(torch.arange(1, BINS) / BINS)
        edges = torch.cat([torch.tensor([-2.0]), inner, torch.tensor([2.0])])
        self.register_buffer("starts", edges[:-1], persistent=False)
        self.register_buffer("widths", edges.diff(), persistent=False)
        lowest, highest = torch.zeros(BINS), torch.ones(BINS)
        lowest[0], highest[-1] = -10.0, 10.0
        self.register_buffer("lowest", lowest, persistent=False)
        self.register_buffer("highest", highest, persistent=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of shape (N, numbers × BINS)."""
        shares = (values[:, :, None] - self.starts) / self.widths
        return torch.minimum(torch.maximum(shares, self.lowest), self.highest).flatten(1)


class _Periodic(nn.Module):
    """Maps each number to sines and cosines of learned frequencies, and by a linear layer of its own to a vector."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(DEVIATION * torch.randn(numbers, FREQUENCIES))
        bound = 1 / math.sqrt(2 * FREQUENCIES)
        self.weight = nn.Parameter(torch.empty(numbers, 2 * FREQUENCIES, EMBEDDED_WIDTH).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(numbers, EMBEDDED_WIDTH).uniform_(-bound, bound))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of shape (N, numbers × EMBEDDED_WIDTH)."""
        angles = 2 * math.pi * self.frequencies * values[:, :, None]
        waves = torch.cat([angles.sin(), angles.cos()], dim=2)
        vectors = torch.matmul(waves.transpose(0, 1), self.weight).transpose(0, 1) + self.bias
        return nn.functional.relu(vectors).flatten(1)


class _Categories(nn.Module):
    """Looks up a vector for the category of each column."""

    def __init__(self, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__()
        self.columns = nn.ModuleList(nn.Embedding(count, width) for count, width in zip(counts, widths, strict=True))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Return values of shape (N, sum of the widths)."""
        return torch.cat([column(codes[:, place]) for place, column in enumerate(self.columns)], dim=1)


def _category_widths(each: TensorType, architecture: Architecture) -> list[int]:
    """Return the width for each column: of few categories, no more than there are."""
    return [min(int(architecture["category_width"]), count) for count in category_counts(each)]


def _embedding(each: TensorType, architecture: Architecture) -> nn.Module:
    if each.counts:
        return _Categories(_category_widths(each, architecture), category_counts(each))
    kind = architecture.get("numbers", "none")
    if kind == "none":
        return nn.Identity()
    return _Piecewise() if kind == "piecewise" else _Periodic(each.elements)


def _joined_width(each: TensorType, architecture: Architecture) -> int:
    if each.counts:
        return sum(_category_widths(each, architecture))
    widths = {"none": 1, "piecewise": BINS, "periodic": EMBEDDED_WIDTH}
    return each.elements * widths[str(architecture.get("numbers", "none"))]


def _embedding_layers(each: TensorType, architecture: Architecture) -> list[Layer]:
    numbers = (each.elements, 1)
    if each.counts:
        widths = _category_widths(each, architecture)
        found = [
            Layer("embedding", (), (width,), params=count * width)
            for count, width in zip(category_counts(each), widths, strict=True)
        ]
        return [*found, Layer("concat", (max(widths),), (sum(widths),))]
    if (kind := architecture.get("numbers", "none")) == "none":
        return []
    if kind == "piecewise":
        bins = (each.elements, BINS)
        return [Layer("elementwise", numbers, bins), *(Layer("elementwise", bins, bins) for _ in range(3))]
    angles, waves = (each.elements, FREQUENCIES), (each.elements, 2 * FREQUENCIES)
    vectors = (each.elements, EMBEDDED_WIDTH)
    weights = each.elements * 2 * FREQUENCIES * EMBEDDED_WIDTH
    rows_in, rows_out = (each.elements, 1, 2 * FREQUENCIES), (each.elements, 1, EMBEDDED_WIDTH)
    return [
        Layer("elementwise", numbers, angles, params=each.elements * FREQUENCIES),
        Layer("other", angles, angles),
        Layer("other", angles, angles),
        Layer("concat", angles, waves),
        Layer("linear", rows_in, rows_out, weights, weights),
        Layer("elementwise", vectors, vectors, params=each.elements * EMBEDDED_WIDTH),
        Layer("activation", vectors, vectors),
    ]


def _linear(inputs: int, outputs: int) -> Layer:
    return Layer("linear", (inputs,), (outputs,), macs=inputs * outputs, params=(inputs + 1) * outputs)
