"""How well a predictor did on measurements that it had not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_TOLD = 3.0
"""Bounds that reach farther to each side, relative to the mean, say only that there are too few measurements."""


@dataclass(frozen=True)
class HeldOutError:
    """The cross-validated error of a predictor.

    ``mape``, ``within_…``, ``coverage`` (of the 90 % bounds) and ``width`` (median of upper − lower, relative to the
    mean) are shares: 0.05 is 5 %. ``spearman`` and ``kendall`` are NaN where the values do not vary. Measurements that
    a predictor leaves out count among the ``samples``, and not in the errors.
    """

    samples: int
    mape: float
    spearman: float
    kendall: float
    within_5_percent: float
    within_10_percent: float
    coverage: float
    width: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data; a figure that is infinite or not a number becomes None."""
        return {name: finite_or_none(value) for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> HeldOutError:
        """Return the figures that ``to_json`` wrote; those that JSON could not hold become NaN."""
        names = [name for name in cls.__dataclass_fields__ if name != "samples"]
        figures = {name: math.nan if body[name] is None else float(body[name]) for name in names}
        return cls(samples=int(body["samples"]), **figures)


def finite_or_none(value: float) -> float | None:
    """Return ``value``, or None, which JSON can hold, where it is infinite or not a number."""
    return value if math.isfinite(value) else None


def reach_text(half_width: float, samples: int, sides: str = "{} to each side") -> str:
    """Return how far bounds reach, as the end of a sentence about them: ``reach 12 % to each side``.

    ``half_width`` is relative to the mean, and ``samples`` is the number of measurements that it comes from.
    """
    if not math.isfinite(half_width):
        return "are open"
    if half_width > LARGEST_TOLD:
        return f"are {too_few_text(samples)}"
    return f"reach {sides.format(f'{100 * half_width:.0f} %')}"


def per_cent(value: float) -> str:
    """Return a share in per cent, such as ``5.6 %``, or a dash if it is not finite."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def correlation_text(value: float) -> str:
    """Return a rank correlation, such as ``0.934``, or a dash if it is not finite."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def width_text(width: float, samples: int) -> str:
    """Return the width of bounds for a table: ``24.0 %``, or a dash if it is not finite."""
    if not math.isfinite(width):
        return "–"
    return f"{100 * width:.1f} %" if width <= 2 * LARGEST_TOLD else too_few_text(samples)


def too_few_text(samples: int) -> str:
    """Return what stands in the place of bounds that are too wide to mean anything."""
    return f"unknown (too few measurements: {samples})"
