"""Plots of a page: what ``Charts.plot`` of ``templates/charts.js`` draws, with a title and a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plot:
    """A plot for the element of this id. ``spec`` has its axes, marks and rules, as ``templates/charts.js`` says."""

    id: str
    title: str
    caption: str
    spec: dict[str, Any]


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of the values with a margin; a range that begins near zero begins at zero."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if 0 <= low < room else low - room), high + room
