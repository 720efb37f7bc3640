"""The kernel of Gaussian processes over architectures: a sum of reasons why two architectures cost the same.

Linear parts express that costs add up; Gaussian parts express that similar architectures have similar costs. Their
weights and rates are the hyperparameters. The logarithms have a normal prior around ``PRIOR``, which describes a
typical device for blocks of unit size: costs follow those of other targets first, then the counts of operations. The
settings were chosen on targets that serve as sources, and on simulated devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from nas.prediction.predictor import FloatArray
from predictors.features import Blocks

FloatingArray = NDArray[np.floating[Any]]


@final
@dataclass(frozen=True)
class SourceBlocks:
    """Predictions of other targets for N architectures, each block of unit size over the population.

    ``common``, shape (N, 1), is their mean. ``components`` are the principal components of all their values, and
    ``whitened`` the first six components, scaled to equal variance.
    """

    common: FloatArray
    components: FloatArray
    whitened: FloatArray


class Hyperparameters(NamedTuple):
    """Weights of the parts, and rates at which Gaussian parts decay with the squared distance."""

    constant: float
    common: float
    components: float
    components_near: float
    whitened: float
    options: float
    options_near: float
    counts: float
    counts_near: float
    layers: float
    layers_near: float
    layer_sums: float
    components_rate: float
    options_rate: float
    counts_rate: float
    layers_rate: float
    graph: float
    noise: float


PRIOR = Hyperparameters(
    constant=1.0,
    common=1.0,
    components=0.5,
    components_near=0.1,
    whitened=0.1,
    options=0.1,
    options_near=0.05,
    counts=0.3,
    counts_near=0.1,
    layers=0.1,
    layers_near=0.1,
    layer_sums=0.05,
    components_rate=1.0,
    options_rate=2.0,
    counts_rate=1.0,
    layers_rate=1.0,
    graph=0.1,
    noise=0.15,
)
_CELLS_IN_CACHE = 50_000
_INDEX = {name: index for index, name in enumerate(Hyperparameters._fields)}


GRAPH = PRIOR._replace(graph=1.0)
"""The belief that the options and the graph are equally informative."""


def hypotheses() -> tuple[Hyperparameters, ...]:
    """Return three beliefs to start from: devices run all chosen options, only the live graph, or something between."""
    tenth = {name: getattr(PRIOR, name) / 10 for name in ("options", "options_near", "counts", "counts_near")}
    return PRIOR, GRAPH, PRIOR._replace(graph=10.0, **tenth)


class _Part(NamedTuple):
    """A term of the kernel: its block, its weight and, for a Gaussian term, its rate.

    ``tells`` names the subject of the block: "written" choices, the "graph" or "both". The hyperparameter ``graph``
    scales the weights of terms about the graph.
    """

    block: str
    weight: str
    rate: str | None = None
    tells: str = "written"

    def factor(self, weights: FloatArray) -> float:
        """Return the weight of the term, given all hyperparameters."""
        graph = weights[_INDEX["graph"]]
        return float(weights[_INDEX[self.weight]] * {"written": 1.0, "graph": graph, "both": 1.0 + graph}[self.tells])

    def slopes(self, weights: FloatArray) -> list[tuple[int, float]]:
        """Return relative derivatives of the weight with respect to the logarithms of hyperparameters."""
        graph = weights[_INDEX["graph"]]
        by_graph = {"written": 0.0, "graph": 1.0, "both": graph / (1.0 + graph)}[self.tells]
        own = (_INDEX[self.weight], 1.0)
        return [own, (_INDEX["graph"], float(by_graph))] if by_graph > 0 else [own]


_SOURCE_PARTS = (
    _Part("common", "common"),
    _Part("components", "components"),
    _Part("whitened", "whitened"),
    _Part("components", "components_near", "components_rate"),
)
_LAYER_PARTS = (
    _Part("graph_logs", "layers", tells="graph"),
    _Part("graph_logs", "layers_near", "layers_rate", tells="graph"),
    _Part("graph_sums", "layer_sums", tells="graph"),
)

_NETWORK_PARTS = (
    _Part("scores", "common"),
    _Part("effective", "options"),
    _Part("effective", "options_near", "options_rate"),
    _Part("effective_counts", "counts"),
    _Part("effective_counts", "counts_near", "counts_rate"),
    _Part("graph_logs", "layers"),
    _Part("graph_logs", "layers_near", "layers_rate"),
)
"""Terms for metrics such as accuracy, which depend on the network and not on options that change nothing."""


def _option_parts(prefix: str, tells: str) -> tuple[_Part, ...]:
    return (
        _Part(prefix, "options", tells=tells),
        _Part(prefix, "options_near", "options_rate", tells=tells),
        _Part(f"{prefix}_counts", "counts", tells=tells),
        _Part(f"{prefix}_counts", "counts_near", "counts_rate", tells=tells),
    )


@final
class Products:
    """Inner products and squared distances by block between N and M architectures, from which kernels are computed."""

    def __init__(self, first: Inputs, second: Inputs) -> None:
        self.parts = first.parts
        self.shape = (len(first), len(second))
        self._products: dict[str, FloatingArray] = {}
        self._distances: dict[str, FloatingArray] = {}
        gaussian = {part.block for part in self.parts if part.rate is not None}
        for block in dict.fromkeys(part.block for part in self.parts):
            product = self._products[block] = first.blocks[block] @ second.blocks[block].T
            if block in gaussian:
                distances = product * product.dtype.type(-2)
                distances += first.squares[block][:, None]
                distances += second.squares[block]
                self._distances[block] = np.maximum(distances, 0, out=distances)

    def covariance(self, logs: FloatArray) -> FloatingArray:
        """Return the kernel matrix, shape (N, M), for logarithms of hyperparameters, shape (H,)."""
        weights = np.exp(logs)
        total: FloatingArray | None = None
        for part in self.parts:
            term = self._term(part, weights)
            total = term if total is None else np.add(total, term, out=total)
        assert total is not None
        total += total.dtype.type(weights[_INDEX["constant"]])
        return total

    def covariance_and_slopes(self, logs: FloatArray) -> tuple[FloatArray, list[tuple[int, FloatArray]]]:
        """Return the kernel matrix and its derivatives with respect to all hyperparameters that affect it."""
        weights = np.exp(logs)
        slopes: dict[int, FloatArray] = {}
        constant = np.full(self.shape, weights[_INDEX["constant"]])
        total = constant.copy()
        slopes[_INDEX["constant"]] = constant
        for part in self.parts:
            term = self._term(part, weights)
            total += term
            for index, share in part.slopes(weights):
                slope = term if share == 1.0 else share * term
                slopes[index] = slopes[index] + slope if index in slopes else slope
            if part.rate is not None:
                index = _INDEX[part.rate]
                slope = term * self._distances[part.block] * (-0.5 * weights[index])
                slopes[index] = slopes[index] + slope if index in slopes else slope
        return total, list(slopes.items())

    def _term(self, part: _Part, weights: FloatArray) -> FloatArray:
        weight = part.factor(weights)
        if part.rate is None:
            products = self._products[part.block]
            linear: FloatArray = products * products.dtype.type(weight)
            return linear
        distances = self._distances[part.block]
        near = np.multiply(distances, distances.dtype.type(-0.5 * weights[_INDEX[part.rate]]))
        np.exp(near, out=near)
        near *= near.dtype.type(weight)
        gaussian: FloatArray = near
        return gaussian


@final
@dataclass(frozen=True)
class Inputs:
    """The blocks of N architectures by name, and the parts of the kernel that use them."""

    blocks: Mapping[str, FloatingArray]
    parts: tuple[_Part, ...]

    @classmethod
    def of(cls, blocks: Blocks, sources: SourceBlocks | None = None, dtype: type = np.float64) -> Inputs:
        """Return the inputs of N architectures; parts of the kernel whose block is missing or empty are left out."""
        named = {each.name: getattr(blocks, each.name).astype(dtype) for each in fields(blocks)}
        if sources is not None:
            named |= {each.name: getattr(sources, each.name).astype(dtype) for each in fields(sources)}
        if named["live"].shape[1] > 0:
            options = (*_option_parts("written", "written"), *_option_parts("live", "graph"))
        else:
            options = _option_parts("written", "both")
        parts = (*(_SOURCE_PARTS if sources is not None else ()), *options, *_LAYER_PARTS)
        return cls(named, tuple(part for part in parts if named[part.block].shape[1] > 0))

    @classmethod
    def of_networks(cls, blocks: Blocks, scores: FloatArray | None = None) -> Inputs:
        """Return the inputs of N architectures for metrics of the network itself, without options that change nothing.

        ``scores``, shape (N, S), each of unit size, are known beforehand; values are expected to be linear in them.
        """
        named = {
            "effective": blocks.effective,
            "effective_counts": blocks.live_counts if blocks.live.shape[1] > 0 else blocks.written_counts,
            "graph_logs": blocks.graph_logs.astype(np.float64),
            "scores": np.empty((len(blocks.effective), 0)) if scores is None else scores,
        }
        return cls(named, tuple(part for part in _NETWORK_PARTS if named[part.block].shape[1] > 0))

    @cached_property
    def squares(self) -> Mapping[str, FloatingArray]:
        """Squared length of each architecture's features by block, each of shape (N,)."""
        return {name: np.einsum("nd,nd->n", block, block) for name, block in self.blocks.items()}

    def __len__(self) -> int:
        return len(next(iter(self.blocks.values())))

    def take(self, index: NDArray[np.int64]) -> Inputs:
        """Return the rows at ``index``."""
        return Inputs({name: block[index] for name, block in self.blocks.items()}, self.parts)

    def as_type(self, dtype: type) -> Inputs:
        """Return the inputs in another precision."""
        return Inputs({name: block.astype(dtype) for name, block in self.blocks.items()}, self.parts)

    def split(self, others: int) -> Iterator[Inputs]:
        """Yield parts whose kernel matrix with ``others`` architectures fits the cache; this is three times as fast."""
        rows = max(16, _CELLS_IN_CACHE // max(others, 1))
        for start in range(0, len(self), rows):
            part = slice(start, start + rows)
            yield Inputs({name: block[part] for name, block in self.blocks.items()}, self.parts)

    def weighted(self, centres: Inputs, logs: FloatArray, weights: FloatingArray) -> FloatingArray:
        """Return the kernel matrix with M centres times ``weights``, shape (M, K), as an array of shape (N, K).

        Linear parts are multiplied by the weights first. The exponent of a Gaussian part is a single product of
        matrices. So this takes a third of the time of the matrix itself.
        """
        scale = np.exp(logs)
        total = np.tile(weights.sum(axis=0) * weights.dtype.type(scale[_INDEX["constant"]]), (len(self), 1))
        rows = max(16, _CELLS_IN_CACHE // max(len(centres), 1))
        for part in self.parts:
            ours, theirs = self.blocks[part.block], centres.blocks[part.block]
            scaled = weights * weights.dtype.type(part.factor(scale))
            if part.rate is None:
                total += ours @ (theirs.T @ scaled)
                continue
            rate = theirs.dtype.type(scale[_INDEX[part.rate]])
            squares = -0.5 * rate * centres.squares[part.block]
            turned = np.vstack([rate * theirs.T, np.ones_like(squares), squares])
            for start in range(0, len(ours), rows):
                some, at = ours[start : start + rows], self.squares[part.block][start : start + rows]
                near = np.column_stack([some, -0.5 * rate * at, np.ones_like(at)]) @ turned
                total[start : start + rows] += np.exp(near, out=near) @ scaled
        return total

    def variances(self, logs: FloatArray) -> FloatArray:
        """Return the kernel of each architecture with itself, shape (N,)."""
        weights = np.exp(logs)
        total = np.full(len(self), weights[_INDEX["constant"]])
        for part in self.parts:
            total += part.factor(weights) * (self.squares[part.block] if part.rate is None else 1.0)
        return total
