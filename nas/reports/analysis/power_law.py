"""Power laws: the exponent by which one quantity grows with others, with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.values.pareto import FloatArray

FEWEST = 8
"""A line through fewer points is not given."""
LEAST_SPAN = 1.5
"""The largest size is at least so many times the smallest one, or nothing can be told of growth."""
CURVE_POINTS = 24
LEAST_BEND, FEWEST_FOR_BEND = 0.1, 15
"""How much an exponent changes over the sizes before it is called bent."""


@dataclass(frozen=True)
class Exponent:
    """The power by which a value grows with one size, the other sizes being equal, with its 95 % interval."""

    value: float
    lower: float
    upper: float

    @property
    def is_sure(self) -> bool:
        """True if the interval tells that the value grows, or that it falls."""
        return self.lower > 0 or self.upper < 0

    @property
    def of_twice(self) -> float:
        """The factor to the value for twice the size."""
        return float(2.0**self.value)


@dataclass(frozen=True)
class PowerLaw:
    """A fitted power law ``value = factor × size₁^exponent₁ × …``.

    Attributes:
        exponents: one for each size.
        explained: R² of the logarithms.
        samples: the number of points.
        bend: the exponents at the smallest and at the largest size, if they surely differ; only with one size.
        curve: sizes, values and the 95 % bounds of the mean, each of shape (points,); only with one size.
    """

    exponents: tuple[Exponent, ...]
    explained: float
    samples: int
    bend: tuple[float, float] | None = None
    curve: tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None = None


def power_law(sizes: FloatArray, values: FloatArray) -> PowerLaw | None:
    """Return the power law of ``values``, shape (N,), by ``sizes``, shape (N, K); None where none can be told.

    That is so for fewer than 8 points, and for sizes that hardly differ or that grow together. Logarithms are fitted by
    least squares. Intervals are robust to spread that differs along the sizes (HC3: MacKinnon & White, 1985), by
    Student's t.
    """
    usable = (values > 0) & (sizes > 0).all(axis=1)
    sizes, values = sizes[usable], values[usable]
    if len(values) < FEWEST or any(column.max() / column.min() < LEAST_SPAN for column in sizes.T):
        return None
    logs, target = np.log(sizes), np.log(values)
    centre = logs.mean(axis=0)
    design = np.column_stack([np.ones(len(logs)), logs - centre])
    if np.linalg.matrix_rank(design) < design.shape[1] or np.linalg.cond(design / np.abs(design).max(axis=0)) > 1e4:
        return None
    coefficients, influence = _least_squares(design, target)
    reach = _student(len(values) - design.shape[1])
    errors = np.linalg.norm(influence, axis=0)
    exponents = tuple(
        Exponent(float(c), float(c - reach * e), float(c + reach * e))
        for c, e in zip(coefficients[1:], errors[1:], strict=True)
    )
    residuals = target - design @ coefficients
    spread = float(((target - target.mean()) ** 2).sum())
    explained = 1 - float((residuals**2).sum()) / spread if spread > 0 else 0.0
    if sizes.shape[1] > 1:
        return PowerLaw(exponents, explained, len(values))
    at = np.linspace(logs.min(), logs.max(), CURVE_POINTS)
    curve = np.column_stack([np.ones(len(at)), at - centre[0]])
    middle = curve @ coefficients
    half = reach * np.linalg.norm(curve @ influence.T, axis=1)
    drawn = (np.exp(at), np.exp(middle), np.exp(middle - half), np.exp(middle + half))
    return PowerLaw(exponents, explained, len(values), _bend(logs[:, 0] - centre[0], target), drawn)


def _least_squares(design: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return coefficients, shape (K,), and how each point moves them, shape (N, K), by HC3.

    Their covariance is the product of the latter with itself. As a product it is never made, because where values
    hardly differ, rounding makes its variances negative.
    """
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ target
    leverage = np.clip(np.einsum("ij,jk,ik->i", design, inverse, design), 0, 1 - 1e-6)
    scaled = ((target - design @ coefficients) / (1 - leverage))[:, None] * design
    return coefficients, scaled @ inverse


def _bend(logs: FloatArray, target: FloatArray) -> tuple[float, float] | None:
    """Return the exponents at both ends if a bent line is surely better than a straight one."""
    if len(logs) < FEWEST_FOR_BEND or len(np.unique(logs)) < 4:
        return None
    design = np.column_stack([np.ones(len(logs)), logs, logs**2])
    if np.linalg.cond(design) > 1e6:
        return None
    coefficients, influence = _least_squares(design, target)
    ends = coefficients[1] + 2 * coefficients[2] * np.array([logs.min(), logs.max()])
    if abs(coefficients[2]) <= _student(len(logs) - 3) * float(np.linalg.norm(influence[:, 2])):
        return None
    return (float(ends[0]), float(ends[1])) if abs(ends[1] - ends[0]) >= LEAST_BEND else None


def _student(freedom: int) -> float:
    from scipy.special import stdtrit  # here, because scipy is slow to import

    return float(stdtrit(max(1, freedom), 0.975))
