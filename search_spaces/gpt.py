"""Transformers that tell the next token of a text (Radford et al., 2019), with searched depth, width and heads.

The choices beside the sizes are those in which today's language models differ: key and value heads that several query
heads share (Ainslie et al., 2023, arXiv:2305.13245), positions that are learned or rotate queries and keys (Su et al.,
2021, arXiv:2104.09864), the norm (Zhang and Sennrich, 2019, arXiv:1910.07467), and one matrix as embedding and
classifier (Press and Wolf, 2017, arXiv:1608.05859).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from nas.space.signature import Signature
from search_spaces.accepted import TEXTS

LONGEST_TURN = 10_000
"""The base of rotary positions: the longest wave takes about six times as many tokens."""


class Gpt:
    """Transformers for the next token (Radford et al., 2019), with choices from later ones (arXiv:2305.13245).

    Models take windows of tokens, whole numbers of shape (N, tokens), and return logits of shape (N, tokens,
    vocabulary). ``widths`` must be divisible by twice the ``heads``.

    >>> space = Gpt(signature=nas.Signature((nas.TensorType("tokens", (64,), "int64", (256,)),), (64, 256)))
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))

    Raises:
        ValueError: the models have other inputs or outputs, or a width does not fit the heads.
    """

    accepts = TEXTS

    def __init__(
        self,
        signature: Signature,
        depths: Sequence[int] = (1, 2, 3, 4, 6),
        widths: Sequence[int] = (32, 64, 96, 128, 192),
        heads: Sequence[int] = (2, 4, 8),
    ) -> None:
        TEXTS.check("Gpt", signature)
        tokens = signature.inputs[0]
        if signature.output != (*tokens.shape, *tokens.counts):
            raise ValueError(f"Gpt gives logits for each token, tokens × vocabulary, but the data have {signature}.")
        for width in widths:
            for number in heads:
                if width % (2 * number):
                    raise ValueError(f"widths must be divisible by twice the heads, but got {width} and {number}.")
        self._context, self._vocabulary = signature.output
        self.choices = (
            Choice("depth", tuple(depths)),
            Choice("width", tuple(widths)),
            Choice("heads", tuple(heads)),
            Choice("heads_per_key", (1, 2, 4)),
            Choice("ff_ratio", (1, 2, 4)),
            Choice("positions", ("learned", "rotary")),
            Choice("norm", ("layer", "rms")),
            Choice("tied", (False, True)),
        )

    def canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
        """Share a key head among all heads where more would have to share it than there are."""
        return {**values, "heads_per_key": min(int(values["heads_per_key"]), int(values["heads"]))}

    def layers(self, architecture: Architecture) -> list[Layer]:
        """Return the layers, as a trace finds them, without building a module."""
        tokens, width, norm = self._context, int(architecture["width"]), str(architecture["norm"])
        heads, inside = int(architecture["heads"]), int(architecture["ff_ratio"]) * width
        key_heads, size = heads // int(architecture["heads_per_key"]), width // heads
        found = [Layer("embedding", (tokens,), (tokens, width), params=self._vocabulary * width)]
        if architecture["positions"] == "learned":
            found.append(_same("elementwise", (tokens, width), params=tokens * width))
        stream, turns = (tokens, width), architecture["positions"] == "rotary"
        block = [
            *_norm_layers(norm, stream),
            _linear(tokens, width, width),
            _linear(tokens, width, 2 * key_heads * size),
            *(_turn_layers(heads, tokens, size) + _turn_layers(key_heads, tokens, size) if turns else ()),
            *(2 * _shared_layers(key_heads, heads // key_heads, tokens, size) if heads > key_heads else ()),
            replace(_same("attention", (heads, tokens, size)), macs=2 * heads * tokens * tokens * size),
            _linear(tokens, width, width),
            _same("elementwise", stream),
            *_norm_layers(norm, stream),
            _linear(tokens, width, inside, bias=inside),
            _same("activation", (tokens, inside)),
            _linear(tokens, inside, width, bias=width),
            _same("elementwise", stream),
        ]
        head = _linear(tokens, width, self._vocabulary)
        last = replace(head, params=0) if architecture["tied"] else head
        return [*found, *int(architecture["depth"]) * block, *_norm_layers(norm, stream), last]

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the torch module, with weights drawn from torch's global random state."""
        return _Transformer(self._context, self._vocabulary, architecture)


class _Transformer(nn.Module):
    def __init__(self, context: int, vocabulary: int, architecture: Architecture) -> None:
        super().__init__()
        width, depth, norm = int(architecture["width"]), int(architecture["depth"]), str(architecture["norm"])
        is_rotary = architecture["positions"] == "rotary"
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = None if is_rotary else nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.ModuleList(_Block(context, width, norm, is_rotary, architecture) for _ in range(depth))
        self.norm = _norm(norm, width)
        self.head = None if architecture["tied"] else nn.Linear(width, vocabulary, bias=False)
        self._initialise(depth)

    def _initialise(self, depth: int) -> None:
        """Draw weights as in GPT-2: what is added to the residual stream shrinks with the depth."""
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                std = 0.02 / math.sqrt(2 * depth) if name.endswith("out.weight") else 0.02
                nn.init.normal_(weight, std=std)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of the token after each, shape (N, tokens, vocabulary)."""
        stream = self.embedding(tokens)
        if self.positions is not None:
            stream = stream + self.positions
        for block in self.blocks:
            stream = block(stream)
        stream = self.norm(stream)
        return F.linear(stream, self.embedding.weight if self.head is None else self.head.weight)


class _Block(nn.Module):
    """Attention to the tokens before, and a feed-forward network, each added to the stream."""

    def __init__(self, context: int, width: int, norm: str, is_rotary: bool, architecture: Architecture) -> None:
        super().__init__()
        self.attention_norm = _norm(norm, width)
        heads, shared = int(architecture["heads"]), int(architecture["heads_per_key"])
        self.attention = _Attention(context, width, heads, heads // shared, is_rotary)
        self.ff_norm = _norm(norm, width)
        self.ff = _FeedForward(width, int(architecture["ff_ratio"]) * width)

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        """Return the stream after this block, shape (N, tokens, width)."""
        stream = stream + self.attention(self.attention_norm(stream))
        added: torch.Tensor = self.ff(self.ff_norm(stream))
        return stream + added


class _Attention(nn.Module):
    cosines: torch.Tensor
    sines: torch.Tensor

    def __init__(self, context: int, width: int, heads: int, key_heads: int, is_rotary: bool) -> None:
        super().__init__()
        self._heads, self._key_heads, self._size = heads, key_heads, width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * key_heads * self._size, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self._is_rotary = is_rotary
        if is_rotary:
            cosines, sines = _turns(context, self._size)
            self.register_buffer("cosines", cosines, persistent=False)
            self.register_buffer("sines", sines, persistent=False)

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        """Return what each token takes from itself and those before it, shape (N, tokens, width)."""
        queries = self.query(stream).unflatten(-1, (self._heads, self._size)).transpose(1, 2)
        both = self.key_value(stream).unflatten(-1, (2 * self._key_heads, self._size)).split(self._key_heads, dim=2)
        keys, values = both[0].transpose(1, 2), both[1].transpose(1, 2)
        if self._is_rotary:
            queries, keys = self._turned(queries), self._turned(keys)
        keys, values = self._for_each_head(keys), self._for_each_head(values)
        found = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        taken: torch.Tensor = self.out(found.transpose(1, 2).flatten(2))
        return taken

    def _turned(self, heads: torch.Tensor) -> torch.Tensor:
        """Return heads whose halves are turned by an angle that grows with the position."""
        first, second = heads.chunk(2, dim=-1)
        return heads * self.cosines + torch.cat((-second, first), dim=-1) * self.sines

    def _for_each_head(self, heads: torch.Tensor) -> torch.Tensor:
        """Repeat shared heads for those that share them. Expanding them would hide constant shapes from exporters."""
        if self._key_heads == self._heads:
            return heads
        times = self._heads // self._key_heads
        return torch.stack([heads] * times, dim=2).flatten(1, 2)


class _FeedForward(nn.Module):
    def __init__(self, width: int, inside: int) -> None:
        super().__init__()
        self.widen = nn.Linear(width, inside)
        self.out = nn.Linear(inside, width)

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        """Return what is added to each token, shape (N, tokens, width)."""
        added: torch.Tensor = self.out(F.gelu(self.widen(stream)))
        return added


def _norm(kind: str, width: int) -> nn.Module:
    return nn.LayerNorm(width) if kind == "layer" else nn.RMSNorm(width, eps=1e-6)


def _turns(context: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines of the angles by position, each of shape (tokens, size)."""
    speeds = LONGEST_TURN ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
    angles = torch.outer(torch.arange(context, dtype=torch.float32), speeds).repeat(1, 2)
    return angles.cos(), angles.sin()


# Layers


def _same(kind: str, shape: tuple[int, ...], params: int = 0) -> Layer:
    return Layer(kind, shape, shape, params=params)


def _linear(tokens: int, inputs: int, outputs: int, bias: int = 0) -> Layer:
    weights = inputs * outputs
    return Layer("linear", (tokens, inputs), (tokens, outputs), macs=tokens * weights, params=weights + bias)


def _norm_layers(kind: str, stream: tuple[int, int]) -> tuple[Layer, ...]:
    tokens, width = stream
    if kind == "layer":
        return (_same("norm", stream, params=2 * width),)
    return (  # the square, its mean, a small number, the root, and two products
        _same("elementwise", stream),
        Layer("pool", stream, (tokens, 1)),
        _same("elementwise", (tokens, 1)),
        _same("elementwise", (tokens, 1)),
        _same("elementwise", stream),
        _same("elementwise", stream, params=width),
    )


def _shared_layers(key_heads: int, times: int, tokens: int, size: int) -> tuple[Layer, ...]:
    """Return the layer that repeats keys, or values, for the heads that share them."""
    return (Layer("concat", (key_heads, tokens, size), (key_heads, times, tokens, size)),)


def _turn_layers(heads: int, tokens: int, size: int) -> tuple[Layer, ...]:
    whole, half = (heads, tokens, size), (heads, tokens, size // 2)
    return (
        _same("elementwise", whole),
        _same("elementwise", half),
        Layer("concat", half, whole),
        _same("elementwise", whole),
        _same("elementwise", whole),
    )
