"""The parts of plots: points with bounds, traces, axis ranges, limit lines and hover texts."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas.space.architecture import Architecture
from nas.values.objective import Limit, limit_text
from nas.values.pareto import non_dominated

HOVER_WIDTH = 52


@dataclass(frozen=True)
class Plot:
    """A plotly figure of traces and a layout, with its title and caption. The page adds the colours."""

    id: str
    title: str
    caption: str
    figure: dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One mark with its error bars. A bound that is not finite, as predictors of few samples give, is not drawn."""

    x: float
    y: float
    hover: str
    x_bounds: tuple[float, float] | None = None
    y_bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "x_bounds", _finite_bounds(self.x, self.x_bounds))
        object.__setattr__(self, "y_bounds", _finite_bounds(self.y, self.y_bounds))

    @property
    def without_bars(self) -> Point:
        """The mark alone."""
        return replace(self, x_bounds=None, y_bounds=None)

    @property
    def is_finite(self) -> bool:
        """True if the mark can be drawn."""
        return math.isfinite(self.x) and math.isfinite(self.y)


def _finite_bounds(value: float, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    if bounds is None:
        return None
    lower, upper = (bound if math.isfinite(bound) else value for bound in bounds)
    return lower, upper


def finite(points: Iterable[Point]) -> list[Point]:
    """Return the points that can be drawn."""
    return [point for point in points if point.is_finite]


def figure_of(traces: Sequence[dict[str, Any] | None], layout: dict[str, Any]) -> dict[str, Any]:
    """Return a figure of the traces that are not None."""
    return {"data": [trace for trace in traces if trace is not None], "layout": layout}


def trace_of(points: Sequence[Point], role: str, name: str, symbol: str, size: int) -> dict[str, Any] | None:
    """Return a trace of marks, or None without points; ``role`` is the name of its colour on the page."""
    if not points:
        return None
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": f"{name} ({len(points)})",
        "meta": {"role": role},
        "x": [point.x for point in points],
        "y": [point.y for point in points],
        "hovertext": [point.hover for point in points],
        "hoverinfo": "text",
        "marker": {"symbol": symbol, "size": size},
    }
    if any(point.x_bounds for point in points):
        trace["error_x"] = _error_bars([(point.x, point.x_bounds) for point in points])
    if any(point.y_bounds for point in points):
        trace["error_y"] = _error_bars([(point.y, point.y_bounds) for point in points])
    return trace


def _error_bars(values: Sequence[tuple[float, tuple[float, float] | None]]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(bounds[1] - value, 0.0) if bounds else 0.0 for value, bounds in values],
        "arrayminus": [max(value - bounds[0], 0.0) if bounds else 0.0 for value, bounds in values],
        "thickness": 1.3,
        "width": 3,
    }


def line_of(points: Sequence[tuple[float, float]], role: str, name: str, *, shape: str = "linear") -> dict[str, Any]:
    """Return a trace of one line, dotted if its ``role`` is "identity"."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "meta": {"role": role},
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "line": {"shape": shape, "width": 2, "dash": "dot" if role == "identity" else "solid"},
        "hoverinfo": "skip",
    }


def step_line(winners: Sequence[Point]) -> dict[str, Any] | None:
    """Return the front of these two quantities as a step line: the lowest error at each cost."""
    if not winners:
        return None
    losses_N2 = np.array([[point.x, point.y] for point in winners])
    kept = losses_N2[non_dominated(losses_N2)]
    ordered = sorted((float(x), float(y)) for x, y in kept)
    return line_of(ordered, "winner", "front", shape="hv")


def hover_text(architecture: Architecture, *lines: str) -> str:
    """Return the tooltip of an architecture, wrapped and escaped: plotly reads a subset of HTML."""
    short = textwrap.wrap(architecture.short, HOVER_WIDTH, max_lines=8) or ["(no choices)"]
    escaped = [html.escape(line, quote=False) for line in (*lines, *short)]
    return "<br>".join([f"<b>{architecture.id}</b>", *escaped])


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of the values with a margin; a range that begins near zero begins at zero."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if 0 <= low < room else low - room), high + room


def axis_ranges(
    points: Sequence[Point], x_limits: Sequence[float], y_limits: Sequence[float]
) -> tuple[list[float] | None, list[float] | None]:
    """Return axis ranges that show the points with their bars, and the limits unless they are far away."""
    if not points:
        return None, None
    xs = [x for point in points for x in (point.x, *(point.x_bounds or ()))]
    ys = [y for point in points for y in (point.y, *(point.y_bounds or ()))]
    x_reach, y_reach = 2 * max(xs), 2 * max(ys)
    x_low, x_high = padded([*xs, *(limit for limit in x_limits if limit <= x_reach)])
    y_low, y_high = padded([*ys, *(limit for limit in y_limits if limit <= y_reach)])
    return [x_low, x_high], [max(y_low, 0.0), y_high]


def is_inside(point: Point, x_range: Sequence[float] | None, y_range: Sequence[float] | None) -> bool:
    """Return True if both axis ranges show the point; a range that is None shows everything."""
    if x_range is None or y_range is None:
        return True
    return x_range[0] <= point.x <= x_range[1] and y_range[0] <= point.y <= y_range[1]


def limit_lines(
    x_limits: Iterable[Limit],
    y_limits: Iterable[Limit],
    x_range: Sequence[float] | None,
    y_range: Sequence[float] | None,
    y_factor: float = 100,
) -> dict[str, Any]:
    """Return the part of a layout that draws each limit as a labelled line; labels outside the axes are left out.

    The vertical axis shows values multiplied by ``y_factor``.
    """
    shapes: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for limit in x_limits:
        shapes.append({"type": "line", "x0": limit.value, "x1": limit.value, "yref": "paper", "y0": 0, "y1": 1})
        is_right = x_range is not None and limit.value > (x_range[0] + x_range[1]) / 2
        labels.append({"x": limit.value, "yref": "paper", "y": 1, "xanchor": "right" if is_right else "left"})
        labels[-1] |= {"text": html.escape(f" {limit_text(limit)} "), "yanchor": "top"}
    for limit in y_limits:
        value = y_factor * limit.value
        shapes.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value})
        labels.append({"xref": "paper", "x": 1, "y": value, "xanchor": "right", "yanchor": "bottom"})
        labels[-1] |= {"text": html.escape(f" {limit_text(limit)} ")}
    if x_range is not None and y_range is not None:
        inside = [
            (label.get("xref") == "paper" or label["x"] <= x_range[1])
            and (label.get("yref") == "paper" or label["y"] <= y_range[1])
            for label in labels
        ]
        labels = [label for label, is_inside in zip(labels, inside, strict=True) if is_inside]
    return {
        "shapes": [{**shape, "line": {"width": 1.5, "dash": "dash"}} for shape in shapes],
        "annotations": [{**label, "showarrow": False} for label in labels],
    }
