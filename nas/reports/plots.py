"""The report's plots, as plain figures; the page, which knows whether it is light or dark, gives their colours."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.reports.candidates import OUTSIDE, Candidate, PredictionCheck, prediction_checks
from nas.reports.wording import MEASURED, Wording, wording_of
from nas.results.front import Front
from nas.results.winner import Winner, accuracy_range_text, accuracy_text, range_text
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation, PredictedValue
from nas.values.measurement import Measurement
from nas.values.metric import METRICS, Metric
from nas.values.objective import Limit, limit_text
from nas.values.pareto import non_dominated

HOVER_WIDTH = 52


@dataclass(frozen=True)
class Plot:
    """A figure of traces and a layout, as plotly's script takes them, with its title and caption."""

    id: str
    title: str
    caption: str
    figure: dict[str, Any]


@dataclass(frozen=True)
class _Point:
    """One mark with its bounds; a bound that is not finite, as of a predictor with few samples, is not drawn."""

    x: float
    y: float
    hover: str
    x_bounds: tuple[float, float] | None = None
    y_bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "x_bounds", _finite_bounds(self.x, self.x_bounds))
        object.__setattr__(self, "y_bounds", _finite_bounds(self.y, self.y_bounds))

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.x) and math.isfinite(self.y)


def _finite_bounds(value: float, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    if bounds is None:
        return None
    lower, upper = (bound if math.isfinite(bound) else value for bound in bounds)
    return lower, upper


def _finite(points: Iterable[_Point]) -> list[_Point]:
    return [point for point in points if point.is_finite]


def front_plot(front: Front, candidates: Sequence[Candidate], cost: Metric) -> Plot:
    """Error against ``cost``: the winners with their front, and the candidates found, predicted and stopped."""
    words = wording_of(front.table)
    winners = [_winner_point(winner, cost) for winner in front if winner.has(cost.name)]
    found = [_found_point(c, cost, words) for c in candidates if not c.stopped and _is_found(c, cost)]
    predicted = [_predicted_point(c, cost, words) for c in candidates if not c.stopped and _is_predicted_only(c, cost)]
    stopped = [_found_point(c, cost, words) for c in candidates if c.stopped and _is_found(c, cost)]
    stopped += [_predicted_point(c, cost, words) for c in candidates if c.stopped and _is_predicted_only(c, cost)]
    winners, found, predicted, stopped = map(_finite, (winners, found, predicted, stopped))
    word = words.found if cost.source == "measured" else cost.source
    traces = [
        _trace(stopped, "stopped", "stopped early", "x-thin-open", 7),
        _trace(predicted, "predicted", "candidates, predicted", "circle-open", 8),
        _trace(found, "measured", f"candidates, {word}", "circle", 8),
        _step_line(winners),
        _trace(winners, "winner", f"winners, {word}", "diamond", 12),
    ]
    x_limits = [limit for limit in front.limits if limit.metric.name == cost.name]
    y_limits = [limit for limit in front.limits if limit.metric.name == "error"]
    main = [*winners, *found, *predicted] or stopped
    x_range, y_range = _ranges(main, [limit.value for limit in x_limits], [100 * limit.value for limit in y_limits])
    outside = sum(not _is_inside(point, x_range, y_range) for point in stopped)
    title = cost.title if cost.source == "measured" or word in cost.title else f"{cost.title} ({word})"
    layout = {
        "xaxis": {"title": {"text": f"{title}{f', {cost.unit}' if cost.unit else ''}"}, "range": x_range},
        "yaxis": {"title": {"text": "Error"}, "ticksuffix": " %", "range": y_range},
        **_limit_lines(x_limits, y_limits, x_range, y_range),
    }
    caption = words.errors
    if ways := _ways(candidates):
        caption += f" {ways}"
    if cost.source == "measured":
        caption += f" {words.found_bars}"
    else:
        bars = "" if front.table else " Bars are 95 % intervals of the test error."
        caption += f"{bars} The horizontal axis is {word}, not measured."
    for limit in x_limits:
        if x_range is not None and limit.value > x_range[1]:
            caption += f" The limit, {limit_text(limit)}, lies to the right of what is shown."
    if outside:
        lies = "candidate lies" if outside == 1 else "candidates lie"
        caption += f" {outside} early-stopped {lies} outside of what is shown; a double click shows all."
    if not main:
        caption = "Nothing to show yet: no training has finished."
    name = f"Test error and {cost.title[0].lower()}{cost.title[1:]}"
    return Plot(f"front-{cost.name}", name, caption, _figure(traces, layout))


def _ways(candidates: Sequence[Candidate]) -> str:
    """How errors of candidates were found where that was not by training, as a sentence."""
    ways = dict.fromkeys(candidate.by for candidate in candidates if candidate.by)
    return f"Candidates were not trained: their errors are {' or '.join(ways)}." if ways else ""


def error_plot(front: Front, candidates: Sequence[Candidate]) -> Plot:
    """Where the error is the only objective: how it fell over the search."""
    words = wording_of(front.table)
    full = [(i, c) for i, c in enumerate(candidates, 1) if not c.stopped]
    stopped = [(i, c) for i, c in enumerate(candidates, 1) if c.stopped]
    points = [_Point(i, 100 * c.error, _hover(c.architecture, *_candidate_lines(c, words))) for i, c in full]
    stopped_points = [_Point(i, 100 * c.error, _hover(c.architecture, *_candidate_lines(c, words))) for i, c in stopped]
    best = [_Point(i, 100 * min(c.error for _, c in full[: n + 1]), "") for n, (i, _) in enumerate(full)]
    last = len(candidates) + 1
    winners = [
        _Point(
            last + rank,
            100 * winner.test_error,
            _hover(winner.architecture, *_winner_lines(winner)),
            y_bounds=(100 * winner.test_interval.lower, 100 * winner.test_interval.upper),
        )
        for rank, winner in enumerate(front)
    ]
    traces = [
        _trace(stopped_points, "stopped", "stopped early", "x-thin-open", 7),
        _trace(points, "measured", "candidates", "circle", 8),
        _line([(p.x, p.y) for p in best], "measured", "best so far", shape="hv"),
        _trace(winners, "winner", "winners, test split", "diamond", 12),
    ]
    y_limits = [limit for limit in front.limits if limit.metric.name == "error"]
    main = [*winners, *points] or stopped_points
    x_range, y_range = _ranges([*main, *stopped_points], [], [100 * limit.value for limit in y_limits])
    layout = {
        "xaxis": {"title": {"text": "Candidates, then winners"}, "range": x_range},
        "yaxis": {"title": {"text": "Error"}, "ticksuffix": " %", "range": y_range},
        **_limit_lines([], y_limits, x_range, y_range),
    }
    caption = " ".join(filter(None, (words.errors_in_order, _ways(candidates))))
    if not main:
        caption = "Nothing to show yet: no training has finished."
    return Plot("error", "Error over the search", caption, _figure(traces, layout))


def prediction_plots(rows: Sequence[Evaluation], words: Wording = MEASURED) -> list[Plot]:
    """Predicted against measured, for each metric that was both."""
    plots = [_prediction_plot(metric, prediction_checks(rows, metric), words) for metric in METRICS.values()]
    return [plot for plot in plots if plot is not None]


def _prediction_plot(metric: Metric, checks: Sequence[PredictionCheck], words: Wording) -> Plot | None:
    pairs = [(check, _check_point(check, metric)) for check in checks]
    pairs = [(check, point) for check, point in pairs if point.is_finite]
    if not pairs:
        return None
    candidates = [point for check, point in pairs if not check.is_winner]
    winners = [point for check, point in pairs if check.is_winner and check.came_before]
    seen = [point for check, point in pairs if not check.came_before]
    low, high = _padded([bound for _, p in pairs for bound in (*(p.x_bounds or ()), *(p.y_bounds or ()))])
    traces = [
        _line([(low, low), (high, high)], "identity", f"predicted = {words.found}"),
        _trace(candidates, "measured", "candidates", "circle", 8),
        _trace(seen, "winner", "winners, seen by the predictor", "diamond-open", 12),
        _trace(winners, "winner", "winners", "diamond", 12),
    ]
    unit = f", {metric.unit}" if metric.unit else ""
    layout = {
        "xaxis": {"title": {"text": f"{metric.title} predicted{unit}"}, "range": [low, high]},
        "yaxis": {"title": {"text": f"{metric.title} {words.found}{unit}"}, "range": [low, high]},
    }
    caption = words.predicted_and_found
    counted = [check for check, _ in pairs if check.came_before]
    if counted:
        within_bounds = sum(check.is_within_bounds for check in counted)
        within_10_percent = sum(check.is_within_10_percent for check in counted)
        caption += (
            f" Of {len(counted)} {'point' if len(counted) == 1 else 'points'} {words.found_before}, "
            f"{within_bounds} lie within the 90 % bounds and {within_10_percent} within ±10 % of {words.found_unit}."
        )
    if seen:
        which = "1 hollow point, a winner" if len(seen) == 1 else f"{len(seen)} hollow points, winners"
        caption += f" Not counted: {which} whose measurement the predictor had already been fitted to."
    title = f"Predicted and {words.found if words is MEASURED else 'looked-up'} {metric.title.lower()}"
    return Plot(f"check-{metric.name}", title, caption, _figure(traces, layout))


def _figure(traces: Sequence[dict[str, Any] | None], layout: dict[str, Any]) -> dict[str, Any]:
    return {"data": [trace for trace in traces if trace is not None], "layout": layout}


def _trace(points: Sequence[_Point], role: str, name: str, symbol: str, size: int) -> dict[str, Any] | None:
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


def _line(points: Sequence[tuple[float, float]], role: str, name: str, *, shape: str = "linear") -> dict[str, Any]:
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


def _step_line(winners: Sequence[_Point]) -> dict[str, Any] | None:
    """The front of these two quantities: at a cost, the lowest error that is had for it."""
    if not winners:
        return None
    losses_N2 = np.array([[point.x, point.y] for point in winners])
    kept = losses_N2[non_dominated(losses_N2)]
    ordered = sorted((float(x), float(y)) for x, y in kept)
    return _line(ordered, "winner", "front", shape="hv")


def _is_found(candidate: Candidate, cost: Metric) -> bool:
    return cost.name in (candidate.measurements if cost.source == "measured" else candidate.values)


def _is_predicted_only(candidate: Candidate, cost: Metric) -> bool:
    return cost.source == "measured" and cost.name in candidate.predicted and not _is_found(candidate, cost)


def _found_point(candidate: Candidate, cost: Metric, words: Wording) -> _Point:
    hover = _hover(candidate.architecture, *_candidate_lines(candidate, words, cost))
    if cost.source != "measured":
        return _Point(candidate.values[cost.name], 100 * candidate.error, hover)
    measured = candidate.measurements[cost.name]
    bounds = (measured.interval.lower, measured.interval.upper)
    return _Point(measured.median, 100 * candidate.error, hover, bounds)


def _predicted_point(candidate: Candidate, cost: Metric, words: Wording) -> _Point:
    predicted = candidate.predicted[cost.name]
    hover = _hover(candidate.architecture, *_candidate_lines(candidate, words, cost))
    return _Point(predicted.mean, 100 * candidate.error, hover, (predicted.lower, predicted.upper))


def _winner_point(winner: Winner, cost: Metric) -> _Point:
    bounds = None
    if cost.source == "measured":
        interval = winner.measurements[cost.name].interval
        bounds = (interval.lower, interval.upper)
    return _Point(
        x=winner.value(cost.name),
        y=100 * winner.test_error,
        hover=_hover(winner.architecture, *_winner_lines(winner, cost)),
        x_bounds=bounds,
        y_bounds=(100 * winner.test_interval.lower, 100 * winner.test_interval.upper),
    )


def _check_point(check: PredictionCheck, metric: Metric) -> _Point:
    predicted, measured = check.predicted, check.measured
    lines = _value_lines(metric, {metric.name: predicted}, {metric.name: measured}, {})
    return _Point(
        x=predicted.mean,
        y=measured.median,
        hover=_hover(check.architecture, *lines),
        x_bounds=(predicted.lower, predicted.upper),
        y_bounds=(measured.interval.lower, measured.interval.upper),
    )


def _winner_lines(winner: Winner, cost: Metric | None = None) -> list[str]:
    lines = [f"test accuracy {accuracy_text(winner.test_error)} ({accuracy_range_text(winner.test_interval)})"]
    return lines + _value_lines(cost, winner.predicted, winner.measurements, winner.values)


def _candidate_lines(candidate: Candidate, words: Wording, cost: Metric | None = None) -> list[str]:
    stopped = ", stopped early" if candidate.stopped else ""
    way = f" {candidate.by}" if candidate.by else ""
    lines = [f"{words.seen_accuracy}{way} {accuracy_text(candidate.error)}{stopped}"]
    return lines + _value_lines(cost, candidate.predicted, candidate.measurements, candidate.values)


def _value_lines(
    metric: Metric | None,
    predicted: Mapping[str, PredictedValue],
    measurements: Mapping[str, Measurement],
    values: Mapping[str, float],
) -> list[str]:
    if metric is None:
        return []
    name, title, lines = metric.name, metric.title.lower(), []
    if name in measurements:
        found = measurements[name]
        if found.table is not None:
            lines.append(f"{title} from the table {metric.format(found.median)}")
        else:
            bounds = range_text(metric, found.interval.lower, found.interval.upper)
            lines.append(f"{title} measured {metric.format(found.median)} ({bounds})")
    if name in predicted:
        guess = predicted[name]
        lines.append(f"{title} predicted {metric.format(guess.mean)} ({range_text(metric, guess.lower, guess.upper)})")
        if not guess.known:
            lines.append(OUTSIDE)
    if metric.source != "measured" and name in values:
        lines.append(f"{title} {metric.format(values[name])}")
    return lines


def _hover(architecture: Architecture, *lines: str) -> str:
    """Text for plotly, which reads a subset of HTML: what was recorded is escaped, and wrapped to fit."""
    short = textwrap.wrap(architecture.short, HOVER_WIDTH, max_lines=8) or ["(no choices)"]
    escaped = [html.escape(line, quote=False) for line in (*lines, *short)]
    return "<br>".join([f"<b>{architecture.id}</b>", *escaped])


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Bounds of the values with some room around; zero stays the lower end of what is near it."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if 0 <= low < room else low - room), high + room


def _ranges(
    points: Sequence[_Point], x_limits: Sequence[float], y_limits: Sequence[float]
) -> tuple[list[float] | None, list[float] | None]:
    """Axis ranges that hold the points with their bars, and the limits unless they lie far off."""
    if not points:
        return None, None
    xs = [x for point in points for x in (point.x, *(point.x_bounds or ()))]
    ys = [y for point in points for y in (point.y, *(point.y_bounds or ()))]
    x_reach, y_reach = 2 * max(xs), 2 * max(ys)
    x_low, x_high = _padded([*xs, *(limit for limit in x_limits if limit <= x_reach)])
    y_low, y_high = _padded([*ys, *(limit for limit in y_limits if limit <= y_reach)])
    return [x_low, x_high], [max(y_low, 0.0), y_high]


def _is_inside(point: _Point, x_range: Sequence[float] | None, y_range: Sequence[float] | None) -> bool:
    if x_range is None or y_range is None:
        return True
    return x_range[0] <= point.x <= x_range[1] and y_range[0] <= point.y <= y_range[1]


def _limit_lines(
    x_limits: Iterable[Limit],
    y_limits: Iterable[Limit],
    x_range: Sequence[float] | None,
    y_range: Sequence[float] | None,
) -> dict[str, Any]:
    shapes: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for limit in x_limits:
        shapes.append({"type": "line", "x0": limit.value, "x1": limit.value, "yref": "paper", "y0": 0, "y1": 1})
        is_right = x_range is not None and limit.value > (x_range[0] + x_range[1]) / 2
        labels.append({"x": limit.value, "yref": "paper", "y": 1, "xanchor": "right" if is_right else "left"})
        labels[-1] |= {"text": html.escape(f" {limit_text(limit)} "), "yanchor": "top"}
    for limit in y_limits:
        value = 100 * limit.value
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
