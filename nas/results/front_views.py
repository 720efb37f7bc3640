"""A front in other forms: a few lines of text, an HTML table, rows for a data frame, and a plot."""

from __future__ import annotations

import html
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from nas.errors import did_you_mean
from nas.results.winner import Winner, accuracy_text, range_text
from nas.values.metric import METRICS, Metric
from nas.values.objective import Limit, limit_text

COLOURS = {True: "#0b6e99", False: "#9aa5ab"}
"""Of winners on the front, and of others."""


class Winners(Protocol):
    """What is shown of a front; ``Front`` itself has all of it."""

    @property
    def winners(self) -> Sequence[Winner]: ...

    @property
    def on_front(self) -> Sequence[bool]: ...

    @property
    def limits(self) -> Sequence[Limit]: ...

    @property
    def costs(self) -> Sequence[Metric]: ...

    @property
    def run_folder(self) -> Path: ...


def front_text(front: Winners) -> str:
    """Return one line about the front, and one line a winner."""
    return "\n".join([f"Front of {front.run_folder}: {_summary(front)}", *_aligned(_cells(front))])


def front_html(front: Winners) -> str:
    """Return the front as an HTML table for a notebook; everything in it is escaped."""
    header, *rows = _cells(front)
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    caption = html.escape(f"Front of {front.run_folder}: {_summary(front)}")
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def front_rows(front: Winners) -> list[dict[str, Any]]:
    """Return one flat dictionary a winner: choices as ``choice.<name>``, medians, and bounds as ``<metric>_lower``."""
    return [_row(front, winner, on_front) for winner, on_front in zip(front.winners, front.on_front, strict=True)]


def _row(front: Winners, winner: Winner, on_front: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": winner.architecture.id,
        "on_front": on_front,
        "meets_limits": winner.meets(front.limits),
        "test_error": winner.test_error,
        "test_error_lower": winner.test_interval.lower,
        "test_error_upper": winner.test_interval.upper,
    }
    for name, measurement in winner.measurements.items():
        interval = measurement.interval
        row |= {name: measurement.median, f"{name}_lower": interval.lower, f"{name}_upper": interval.upper}
    row |= dict(winner.values)
    row |= {f"choice.{name}": option for name, option in winner.architecture.items()}
    return {**row, "bundle": "" if winner.bundle is None else str(winner.bundle)}


def front_plot(front: Winners, metric: str | None = None) -> Any:
    """Return a plotly figure of test error against ``metric``, by default the first cost, with 95 % intervals.

    Raises:
        ValueError: no such metric, or no winner has a value of it.
    """
    cost = _cost(front, metric)
    shown = [pair for pair in zip(front.winners, front.on_front, strict=True) if pair[0].has(cost.name)]
    if front.winners and not shown:
        raise ValueError(f"a plot needs values, but no winner has a value of {cost.name}.")
    graph = importlib.import_module("plotly.graph_objects")
    figure = graph.Figure()
    for on_front, name in ((True, "on the front"), (False, "dominated")):
        group = [winner for winner, is_on_front in shown if is_on_front == on_front]
        if group:
            marker = {"size": 9, "color": COLOURS[on_front]}
            figure.add_trace(graph.Scatter(**_trace(group, cost), name=name, marker=marker))
    for limit in front.limits:
        if limit.metric == cost:
            figure.add_vline(x=limit.value, line_dash="dot", annotation_text=html.escape(limit_text(limit)))
    figure.update_xaxes(title_text=f"{cost.title} ({cost.unit})" if cost.unit else cost.title)
    figure.update_yaxes(title_text="Test error (%)")
    return figure.update_layout(template="plotly_white", title_text=html.escape(str(front.run_folder)))


def _trace(winners: Sequence[Winner], cost: Metric) -> dict[str, Any]:
    values = [winner.value(cost.name) for winner in winners]
    found = [winner.measurements.get(cost.name) for winner in winners]
    upper = [0.0 if m is None else m.interval.upper - value for m, value in zip(found, values, strict=True)]
    lower = [0.0 if m is None else value - m.interval.lower for m, value in zip(found, values, strict=True)]
    errors = [winner.test_error for winner in winners]
    return {
        "x": values,
        "y": [100 * error for error in errors],
        "error_x": {"type": "data", "array": upper, "arrayminus": lower, "thickness": 1},
        "error_y": {
            "type": "data",
            "array": [100 * (w.test_interval.upper - w.test_error) for w in winners],
            "arrayminus": [100 * (w.test_error - w.test_interval.lower) for w in winners],
            "thickness": 1,
        },
        "mode": "markers",
        "text": [html.escape(f"{winner.architecture.id}: {winner.short}") for winner in winners],
        "hovertemplate": "%{text}<br>%{x}, error %{y:.2f} %<extra></extra>",
    }


def _cost(front: Winners, metric: str | None) -> Metric:
    if metric is None:
        return front.costs[0] if front.costs else METRICS["latency_ms"]
    known = [name for name in METRICS if name != "error"]
    if metric not in known:
        raise ValueError(f"metric must name a cost, but got {metric!r}. {did_you_mean(metric, known)}")
    return METRICS[metric]


def _summary(front: Winners) -> str:
    count = len(front.winners)
    parts = [f"{count} winner{'s' * (count != 1)}", f"{sum(front.on_front)} on the front"]
    if front.limits:
        met = sum(winner.meets(front.limits) for winner in front.winners)
        parts.append(f"{met} within {' and '.join(limit_text(limit) for limit in front.limits)}")
    return ", ".join(parts)


def _cells(front: Winners) -> list[list[str]]:
    """Return the header and one row of cells a winner."""
    limits = ["limits"] if front.limits else []
    costs = [cost.title.lower() for cost in front.costs]
    rows = [["", "winner", "test accuracy", *costs, *limits, "architecture"]]
    for number, (winner, on_front) in enumerate(zip(front.winners, front.on_front, strict=True)):
        name = winner.architecture.id + ("" if on_front else " (dominated)")
        met = ["met" if winner.meets(front.limits) else "not met"] if front.limits else []
        found = [_cost_text(winner, cost) for cost in front.costs]
        rows.append([str(number), name, accuracy_text(winner.test_error), *found, *met, winner.short])
    return rows


def _cost_text(winner: Winner, cost: Metric) -> str:
    if not winner.has(cost.name):
        return "unknown"
    measurement = winner.measurements.get(cost.name)
    value = cost.format(winner.value(cost.name))
    if measurement is None or measurement.interval.is_point:
        return value
    return f"{value} ({range_text(cost, measurement.interval.lower, measurement.interval.upper)})"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
