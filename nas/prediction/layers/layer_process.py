"""Relative errors of layers' costs, as a Gaussian process over layers that is observed only through their sums.

No kernel's time is exactly proportional to its operations: vectors are padded, tiles stay half empty, and the edges of
small maps run pixel by pixel. So each layer's cost is multiplied by 1 + h. Here h is a smooth function of the layer's
shapes, the same in every network. A network costs the sum over its layers, and a weighted sum of values of a Gaussian
process is normal too. So h follows from whole networks in closed form (Rasmussen and Williams, 2006, section 9.4 for
linear functionals; Law et al., "Variational learning on aggregate outputs", 2018). A layer without samples gets the h
of similar layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy import linalg

from nas.space.layer import Layer
from nas.values.pareto import FloatArray

_VECTOR, _TILE = 16, 64
"""Channels that are computed together, and channels that share loaded data, with AVX-512; AVX2 has half as many."""
_LENGTHS = np.array([2.25, 2.25, 3.0, 4.5, 2.25, 0.75, 0.75, 1.5])
"""Length scale of each of ``_features``, in its own unit; twice or half as much works equally on mobile networks."""
_SIZES = (0.05, 0.1, 0.2, 0.4)
_NOISES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Standard deviations, relative, of the layers' costs and of the measurements; the most likely pair is taken."""
_MOST_FOR_CHOOSING = 300
_LARGEST = 0.5
"""Residuals beyond this are clipped, because spoilt measurements or causes other than layers explain them."""


@final
@dataclass(frozen=True, eq=False)
class LayerProcess:
    """A fitted process: the L layers of the samples, and their weights, shape (L,), in the h of other layers."""

    layers: tuple[Layer, ...]
    weights: FloatArray

    def __call__(self, layers: Sequence[Layer]) -> FloatArray:
        """Return h of each layer, shape (len(layers),)."""
        if not self.layers or not layers:
            return np.zeros(len(layers))
        off: FloatArray = _kernel(layers, self.layers) @ self.weights
        return off


NOTHING_OFF = LayerProcess((), np.zeros(0))


def fit_layer_process(layers: Sequence[Layer], shares_NL: FloatArray, residuals_N: FloatArray) -> LayerProcess:
    """Fit the process to relative residuals of N networks, measured minus the sum of their layers' costs.

    ``shares_NL`` are the shares of L different layers in these sums. If noise alone explains the residuals best, h is
    0.
    """
    used = np.flatnonzero(shares_NL.any(axis=0))
    if not len(used):
        return NOTHING_OFF
    layers, shares_NL = [layers[index] for index in used.tolist()], shares_NL[:, used]
    residuals_N = np.clip(residuals_N, -_LARGEST, _LARGEST)
    among_NN = shares_NL @ _kernel(layers, layers) @ shares_NL.T
    size, noise = _likeliest(among_NN, residuals_N)
    if size == 0:
        return NOTHING_OFF
    covariance = among_NN + (noise / size) ** 2 * np.eye(len(residuals_N))
    weights: FloatArray = shares_NL.T @ linalg.solve(covariance, residuals_N, assume_a="pos")
    return LayerProcess(tuple(layers), weights)


def _likeliest(among_NN: FloatArray, residuals_N: FloatArray) -> tuple[float, float]:
    """Return the size and noise with the highest marginal likelihood; size 0 if noise alone explains as much."""
    among_NN, residuals_N = among_NN[:_MOST_FOR_CHOOSING, :_MOST_FOR_CHOOSING], residuals_N[:_MOST_FOR_CHOOSING]
    sizes, axes = np.linalg.eigh(among_NN)  # once for all pairs
    squares = (axes.T @ residuals_N) ** 2
    sizes = np.maximum(sizes, 0.0)

    def evidence(size: float, noise: float) -> float:
        variances = size**2 * sizes + noise**2
        return -0.5 * float((squares / variances + np.log(variances)).sum())

    alone = [(evidence(0.0, noise), 0.0, noise) for noise in _NOISES]
    together = [(evidence(size, noise), size, noise) for size in _SIZES for noise in _NOISES]
    _, size, noise = max([*alone, *together])
    return size, noise


def _kernel(first: Sequence[Layer], second: Sequence[Layer]) -> FloatArray:
    """Return correlations, shape (len(first), len(second)): Gaussian in features, 0 between different operations."""
    kinds = {kind: number for number, kind in enumerate({_operation(layer) for layer in (*first, *second)})}
    one, other = (np.array([_features(layer) for layer in layers]) / _LENGTHS for layers in (first, second))
    squared = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    alike = np.equal.outer(*([kinds[_operation(layer)] for layer in layers] for layers in (first, second)))
    correlations: FloatArray = np.where(alike, np.exp(-0.5 * np.maximum(squared, 0.0)), 0.0)
    return correlations


def _operation(layer: Layer) -> tuple[str, bool]:
    return layer.kind, layer.groups > 1


def _features(layer: Layer) -> tuple[float, ...]:
    inputs, outputs = _channels(layer.input_shape), _channels(layer.output_shape)
    return (
        math.log2(inputs),
        math.log2(outputs),
        math.log2(max(1.0, layer.output_elements / outputs)),
        float(layer.kernel),
        float(layer.stride),
        _log_padding(inputs, _VECTOR),
        _log_padding(outputs, _VECTOR),
        _log_padding(outputs, _TILE),
    )


def _channels(shape: tuple[int, ...]) -> int:
    """Return the channels: the first dimension of a map, the last of tokens, 1 for a single number; at least 1."""
    return max(1, (1, *shape)[-1] if len(shape) != 3 else shape[0])


def _log_padding(channels: int, tile: int) -> float:
    """Return the logarithm, to base 2, of the factor by which padding to whole tiles increases the channels."""
    return math.log2(-(-channels // tile) * tile / channels)
