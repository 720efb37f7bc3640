"""How well a predictor did on measurements that it had not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class HeldOutError:
    """The cross-validated error of a predictor.

    ``mape``, ``within_…``, ``coverage`` (of the 90 % bounds) and ``width`` (median of upper − lower, relative to the
    mean) are shares: 0.05 is 5 %. ``spearman`` and ``kendall`` are NaN where the values do not vary.
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
        """Return the figures that ``to_json`` wrote; missing ones, as version 0.2 left them out, become NaN."""
        names = [name for name in cls.__dataclass_fields__ if name != "samples"]
        figures = {name: math.nan if body.get(name) is None else float(body[name]) for name in names}
        return cls(samples=int(body["samples"]), **figures)


def finite_or_none(value: float) -> float | None:
    """Return ``value``, or None, which JSON can hold, where it is infinite or not a number."""
    return value if math.isfinite(value) else None
