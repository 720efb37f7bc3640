"""Choosing what to measure first on a new target: the architectures that tell most of all the others.

Before any measurement, a cost is expected to be a mixture of what it is on other targets. The rest depends on sizes of
layers and on choices. A Gaussian process says so, and each architecture is chosen such that the mean variance of all is
least after measuring it (integrated variance, Sacks et al., "Design and Analysis of Computer Experiments", 1989). Each
direction in which other targets differ has a variance of its own, so what is measured also tells which of them to
believe.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.prediction.one_thread import one_thread
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.name_parts import is_of_names
from nas.space.parts.encoding import encode
from nas.values.pareto import FloatArray, IntArray

POOL = 1000
"""Most architectures to choose from; a choice takes 5 ms for this many, and its time grows with their square."""
_COMMON, _ELSEWHERE, _DIRECTIONS, _NEAR = 1.0, 0.5, 0.1, 0.1
"""Variances of costs before any measurement, by what they follow: the mean of other targets, all that these tell, and
the directions in which they differ. The last is for costs that are similar where those on other targets are. They are
about those of ``predictors.processes.kernel.PRIOR``, and so are the next ones.
"""
_OWN, _OWN_NEAR = 0.3, 0.1
"""The same for an architecture's own features: costs that follow them, and costs that are similar where they are."""
_NOISE = 0.15
_MOST_DIRECTIONS = 6
_LEAST_VARIANCE = 1e-6
_TOO_FAR = 0.1
"""This share of the architectures, the least usual ones, is only chosen where no other is left."""


def own_features(space: Describer, architectures: Sequence[Architecture]) -> FloatArray:
    """Return features of N architectures, shape (N, D): sizes and choices, both with the same weight.

    Sizes are logarithms of the sums over layers, and of numbers that are known beforehand. Every architecture must be
    buildable.
    """
    described = space.describe(architectures)
    sizes = np.hstack([np.log1p(described.layer_sums.sum(axis=1)), described.log_numbers])
    sizes = (sizes - sizes.mean(axis=0)) / np.maximum(sizes.std(axis=0), 1e-9)
    columns = [not is_of_names(choice) for choice in space.choices for _ in choice.options]
    choices = encode(space.space, architectures)[:, columns]
    spread = np.sqrt(((choices - choices.mean(axis=0)) ** 2).sum(axis=1).mean())
    return np.hstack([sizes, choices * (np.sqrt(sizes.shape[1]) / max(float(spread), 1e-9))])


@one_thread()
def prior_covariance(own: FloatArray, elsewhere: FloatArray) -> FloatArray:
    """Return the covariance of the costs of N architectures before any measurement, shape (N, N).

    ``own`` are their features, shape (N, D), and ``elsewhere`` logarithms of their costs on other targets, shape
    (N, targets).
    """
    unit = _unit(own)
    covariance = 1.0 + _OWN * unit @ unit.T + _OWN_NEAR * _nearness(unit)
    if elsewhere.shape[1] and np.ptp(elsewhere, axis=0).any():
        standard = (elsewhere - elsewhere.mean(axis=0)) / np.maximum(elsewhere.std(axis=0), 1e-9)
        common = _unit(standard.mean(axis=1)[:, None])
        left, sizes, _ = np.linalg.svd(standard, full_matrices=False)
        directions = _unit(left[:, sizes**2 > _LEAST_VARIANCE * (sizes**2).sum()][:, :_MOST_DIRECTIONS])
        told = _unit(standard)
        covariance += _COMMON * common @ common.T + _ELSEWHERE * told @ told.T + _DIRECTIONS * directions @ directions.T
        covariance += _NEAR * _nearness(told)
    return covariance


@one_thread()
def most_informative(covariance: FloatArray, count: int, first: Sequence[int] = ()) -> IntArray:
    """Return the indexes, shape (count,), of the rows of a covariance, shape (N, N), that tell most of all rows.

    Rows in ``first`` are always taken, and come first. If N is at most ``count``, all rows are taken.

    Raises:
        ValueError: a count below 1.
    """
    if count < 1:
        raise ValueError(f"the count of architectures must be at least 1, but got {count}.")
    chosen = list(dict.fromkeys(first))[:count]
    total = len(covariance)
    if total <= count:
        return np.array(chosen + [row for row in range(total) if row not in chosen], dtype=np.int64)
    variances = np.diag(covariance)
    is_usual = variances <= np.quantile(variances, 1 - _TOO_FAR)
    is_free = is_usual if is_usual.sum() - is_usual[chosen].sum() >= count - len(chosen) else np.full(total, True)
    left = covariance.copy()
    for row in chosen:
        _measure(left, row)
    while len(chosen) < count:
        gains = (left**2).sum(axis=0) / (np.diag(left) + _NOISE)
        gains[~is_free] = -1.0
        gains[chosen] = -2.0
        chosen.append(int(gains.argmax()))
        _measure(left, chosen[-1])
    return np.array(chosen, dtype=np.int64)


def _measure(covariance: FloatArray, row: int) -> None:
    """Replace a covariance by the one after measuring a row."""
    column = covariance[:, row].copy()
    covariance -= np.outer(column, column / (column[row] + _NOISE))


def _unit(columns: FloatArray) -> FloatArray:
    """Return columns around zero whose rows have a mean square length of 1, shape (N, D)."""
    centred = columns - columns.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=1).mean())
    scaled: FloatArray = centred / max(float(size), 1e-9)
    return scaled


def _nearness(unit: FloatArray) -> FloatArray:
    """Return 1 for rows that are alike, and less with their squared distance, shape (N, N)."""
    squares = (unit**2).sum(axis=1)
    near: FloatArray = np.exp(-0.5 * np.maximum(squares[:, None] + squares - 2 * unit @ unit.T, 0.0))
    return near
