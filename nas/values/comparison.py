"""Telling values apart: which of two values is lower beyond doubt, and which points no objective separates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.values.measurement import Estimate
from nas.values.pareto import BoolArray, FloatArray

Z95 = 1.959964
"""The half-width of a 95 % interval in standard errors."""


@dataclass(frozen=True)
class Standing:
    """The place of one point among others, by their objectives and by what can be told of these.

    Attributes:
        on_front: True if no other point is at least as good in every objective and surely better in one.
        same_as: the other points from which no objective tells it apart.
        barely_ahead_of: points that are surely better in an objective and not told apart in the others. It is ahead of
            them only by differences within the joint intervals.
    """

    on_front: bool
    same_as: tuple[str, ...] = ()
    barely_ahead_of: tuple[str, ...] = ()


def wilson_interval(wrong: float, count: float, z: float = Z95) -> tuple[float, float]:
    """Return the 95 % interval of a share of ``count`` items, which stays within 0 and 1 (Wilson, 1927)."""
    share = wrong / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return 0.0 if wrong == 0 else centre - half, 1.0 if wrong == count else centre + half


def is_surely_less(one: Estimate, other: Estimate) -> bool:
    """Return True if ``one`` is below ``other`` by more than their joint 95 % interval."""
    return bool(_surely_less(*_columns([[one]]), *_columns([[other]]))[0, 0])


def ratio_of(one: Estimate, other: Estimate) -> Estimate:
    """Return how many times ``other`` ``one`` is, with the 95 % interval of the ratio. Both values must be positive.

    The halves of both intervals that face each other are added in quadrature, as logarithms. A bound that is not
    positive adds nothing.
    """
    ratio = one.value / other.value
    down = math.hypot(_logs(one.value, one.interval.lower), _logs(other.interval.upper, other.value))
    up = math.hypot(_logs(one.interval.upper, one.value), _logs(other.value, other.interval.lower))
    return Estimate.within(ratio, ratio * math.exp(-down), ratio * math.exp(up))


def _logs(upper: float, lower: float) -> float:
    """Return how far apart two bounds are, as a logarithm."""
    return max(0.0, math.log(upper / lower)) if lower > 0 else 0.0


def standings(points: Mapping[str, Sequence[Estimate]]) -> dict[str, Standing]:
    """Return the place of each named point among the others. A point is one estimate for each objective, lower better.

    Two estimates are told apart if their difference exceeds their joint interval: the halves that face each other,
    added in quadrature. For medians of independent rounds that is the 95 % interval of the difference; for test errors
    it is Newcombe's interval of the difference of two shares, from their Wilson intervals ("Interval estimation for the
    difference between independent proportions", 1998, method 10). All models are tested on the same items, so their
    errors vary together and the true interval is narrower: points are rather told apart too seldom than too often.
    Pairs are judged one by one. With many points, some are told apart by chance.
    """
    if not points:
        return {}
    names = list(points)
    values, lower, upper = _columns(list(points.values()))
    return {name: _standing(names, place, values, lower, upper) for place, name in enumerate(names)}


def _standing(names: Sequence[str], place: int, values: FloatArray, lower: FloatArray, upper: FloatArray) -> Standing:
    own = values[place], lower[place], upper[place]
    worse = _surely_less(values, lower, upper, *own)
    better = _surely_less(*own, values, lower, upper)
    is_other = np.arange(len(values)) != place
    # Dominance by the values themselves has no circles, so that a front always has a point.
    dominates = (values <= values[place]).all(axis=1) & (values < values[place]).any(axis=1)
    is_beaten = dominates & worse.any(axis=1)
    same = is_other & ~worse.any(axis=1) & ~better.any(axis=1)
    ahead = is_other & worse.any(axis=1) & ~better.any(axis=1) & ~dominates
    return Standing(
        on_front=not bool(is_beaten.any()),
        same_as=tuple(names[int(other)] for other in np.flatnonzero(same)),
        barely_ahead_of=tuple(names[int(other)] for other in np.flatnonzero(ahead)),
    )


def _columns(points: Sequence[Sequence[Estimate]]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return values, lower and upper bounds, each of shape (N, M)."""
    shape = len(points), len(points[0])
    values = np.array([[each.value for each in point] for point in points], dtype=np.float64).reshape(shape)
    lower = np.array([[each.interval.lower for each in point] for point in points], dtype=np.float64).reshape(shape)
    upper = np.array([[each.interval.upper for each in point] for point in points], dtype=np.float64).reshape(shape)
    return values, np.minimum(lower, values), np.maximum(upper, values)


def _surely_less(
    one: FloatArray,
    one_lower: FloatArray,
    one_upper: FloatArray,
    other: FloatArray,
    other_lower: FloatArray,
    other_upper: FloatArray,
) -> BoolArray:
    """Return a mask of where ``one`` is below ``other`` by more than the halves of both intervals between them."""
    less: BoolArray = other - one > np.hypot(one_upper - one, other - other_lower)
    return less
