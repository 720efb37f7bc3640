"""The report of a run: one HTML file that opens offline, a pure function of what was recorded."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from nas.architecture import Architecture
from nas.evaluation import STAGES, Evaluation, PredictedValue
from nas.front import (
    FitRecord,
    Front,
    RunRecord,
    Winner,
    accuracy_range_text,
    accuracy_text,
    broken_text,
    funnel_of,
    limit_text,
    range_text,
)
from nas.measurement import Measurement
from nas.metric import METRICS, Metric
from nas.objective import Limit
from nas.pareto import non_dominated
from nas.progress import duration_text

HOVER_WIDTH = 52
MOST_SHOWN = 4
STAGE_TITLES = {"measure": "Measured", "train": "Trained", "retrain": "Retrained", "winner": "Winners"}


def write_report(path: Path, record: RunRecord) -> None:
    """Write the report to ``path``: aside at first and then renamed, so that no reader meets half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_text(render_report(record), encoding="utf-8", errors="replace")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def render_report(record: RunRecord) -> str:
    """The report as one HTML page that loads nothing else.

    Recorded text is escaped everywhere. Scripts stand in the page's content security policy by their hashes,
    so that a browser runs these and no others, and fetches nothing.
    """
    front = record.front
    candidates = _candidates_of(record.rows)
    costs = front.costs
    script = files("nas").joinpath("templates", "report.js").read_text(encoding="utf-8")
    plots = [_front_plot(front, candidates, cost) for cost in costs] or [_error_plot(front, candidates)]
    checks = _prediction_plots(front, record.rows)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nas"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = _unbroken
    return environment.get_template("report.html.jinja").render(
        record=record,
        front=front,
        headline=headline(record),
        tiles=_tiles(front, record),
        plots=plots,
        checks=checks,
        winners=_winner_table(front, costs),
        fits=_fit_table(record.fits),
        trust=_trust_sentences(front, record.fits),
        flags=_flags(record.rows),
        conditions=_conditions(record.rows),
        funnel=_funnel(record.rows),
        candidates=_candidate_table(record.rows, costs),
        notes=_notes(record.notes),
        figures=_inert_json({plot.id: plot.figure for plot in (*plots, *checks)}),
        style=Markup(files("nas").joinpath("templates", "report.css").read_text(encoding="utf-8")),  # noqa: S704 ours
        script=Markup(script),  # noqa: S704 ours
        plotly=Markup(_plotly_script()),  # noqa: S704 plotly's own
        script_hashes=[_script_hash(_plotly_script()), _script_hash(script)],
    )


def headline(record: RunRecord) -> str:
    """The result in one sentence."""
    front = record.front
    limits = " and ".join(limit_text(limit) for limit in front.limits)
    if not front.winners:
        return _headline_without_winners(record)
    noun = "winner" if len(front) == 1 else "winners"
    start = f"{len(front)} {noun} on {record.target}"
    best = front.best
    if best is None:
        shortfall = min(front.winners, key=lambda winner: _excess(winner, front.limits))
        broken = "; ".join(broken_text(shortfall, limit) for limit in shortfall.broken(front.limits))
        return f"{start}, but none meets {limits}. The nearest is {shortfall.architecture.id}: {broken}."
    cost = next((metric for metric in front.costs if best.has(metric.name)), None)
    at = "" if cost is None else f" at {cost.format(best.value(cost.name))}"
    if cost is not None and cost.source != "measured":
        at += f" ({cost.title.lower()})" if cost.source == "counted" else " (modelled)"
    within = f", within {limits}" if limits else ""
    return f"{start}; best {accuracy_text(best.test_error)} test accuracy{at}{within}."


def _headline_without_winners(record: RunRecord) -> str:
    if not record.rows:
        return f"Nothing has been recorded yet on {record.target}."
    failures = Counter(row.failure.kind for row in record.rows if row.failure is not None)
    if failures.total() == len(record.rows):
        kind, count = failures.most_common(1)[0]
        return f"No winners on {record.target}: all {len(record.rows)} evaluations failed, {count} of them by {kind}."
    counts = {count.stage: count for count in funnel_of(record.rows)}
    done = [f"{counts['train'].reached} trained", f"{counts['measure'].finished} measured"]
    return f"No winners yet on {record.target}: {' and '.join(done)} so far."


def _excess(winner: Winner, limits: Iterable[Limit]) -> float:
    return max(
        (limit.excess(winner.upper(limit.metric.name)) if winner.has(limit.metric.name) else math.inf)
        for limit in limits
    )


# Candidates: what the rows say about each trained architecture


@dataclass(frozen=True)
class _Candidate:
    """A finished or stopped training, with what was measured and predicted of its architecture."""

    architecture: Architecture
    error: float
    round: int
    stopped: bool
    predicted: Mapping[str, PredictedValue]
    measurements: Mapping[str, Measurement]
    values: Mapping[str, float]


def _candidates_of(rows: Sequence[Evaluation]) -> list[_Candidate]:
    """One candidate for each architecture whose last training did not fail, in the order of training."""
    measured: dict[Architecture, dict[str, Measurement]] = {}
    for row in rows:
        if row.stage in ("measure", "train") and not row.failed:
            measured.setdefault(row.architecture, {}).update(row.measurements)
    trained = {row.architecture: row for row in rows if row.stage == "train"}
    return [
        _Candidate(
            architecture=architecture,
            error=float(row.values["error"]),
            round=row.round,
            stopped=not row.reached_full_fidelity,
            predicted=row.predicted,
            measurements=measured.get(architecture, {}),
            values=row.values,
        )
        for architecture, row in trained.items()
        if not row.failed and math.isfinite(row.values.get("error", math.nan))
    ]


# Plots: plain figures; colours are given by the page, which knows whether it is light or dark


@dataclass(frozen=True)
class _Plot:
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


def _front_plot(front: Front, candidates: Sequence[_Candidate], cost: Metric) -> _Plot:
    winners = [_winner_point(winner, cost) for winner in front if winner.has(cost.name)]
    found = [_found_point(c, cost) for c in candidates if not c.stopped and _is_found(c, cost)]
    predicted = [_predicted_point(c, cost) for c in candidates if not c.stopped and _is_predicted_only(c, cost)]
    stopped = [_found_point(c, cost) for c in candidates if c.stopped and _is_found(c, cost)]
    stopped += [_predicted_point(c, cost) for c in candidates if c.stopped and _is_predicted_only(c, cost)]
    winners, found, predicted, stopped = map(_finite, (winners, found, predicted, stopped))
    word = cost.source
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
    title = cost.title if word in cost.title else f"{cost.title} ({word})"
    layout = {
        "xaxis": {"title": {"text": f"{title}{f', {cost.unit}' if cost.unit else ''}"}, "range": x_range},
        "yaxis": {"title": {"text": "Error"}, "ticksuffix": " %", "range": y_range},
        **_limit_lines(x_limits, y_limits, x_range, y_range),
    }
    caption = "Winners: error on the test split. Candidates: error on the validation split."
    if word == "measured":
        caption += " Bars are 95 % intervals of what was measured, and 90 % bounds of what was predicted."
    else:
        caption += f" Bars are 95 % intervals of the test error. The horizontal axis is {word}, not measured."
    for limit in x_limits:
        if x_range is not None and limit.value > x_range[1]:
            caption += f" The limit, {limit_text(limit)}, lies to the right of what is shown."
    if outside:
        lies = "candidate lies" if outside == 1 else "candidates lie"
        caption += f" {outside} early-stopped {lies} outside of what is shown; a double click shows all."
    if not main:
        caption = "Nothing to show yet: no training has finished."
    name = f"Test error and {cost.title[0].lower()}{cost.title[1:]}"
    return _Plot(f"front-{cost.name}", name, caption, _figure(traces, layout))


def _error_plot(front: Front, candidates: Sequence[_Candidate]) -> _Plot:
    """Where the error is the only objective: how it fell over the search."""
    full = [(i, c) for i, c in enumerate(candidates, 1) if not c.stopped]
    stopped = [(i, c) for i, c in enumerate(candidates, 1) if c.stopped]
    points = [_Point(i, 100 * c.error, _hover(c.architecture, *_candidate_lines(c))) for i, c in full]
    stopped_points = [_Point(i, 100 * c.error, _hover(c.architecture, *_candidate_lines(c))) for i, c in stopped]
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
        _line([(p.x, p.y) for p in best], "measured", "best so far"),
        _trace(winners, "winner", "winners, test split", "diamond", 12),
    ]
    y_limits = [limit for limit in front.limits if limit.metric.name == "error"]
    main = [*winners, *points] or stopped_points
    x_range, y_range = _ranges([*main, *stopped_points], [], [100 * limit.value for limit in y_limits])
    layout = {
        "xaxis": {"title": {"text": "Trainings, then winners"}, "range": x_range},
        "yaxis": {"title": {"text": "Error"}, "ticksuffix": " %", "range": y_range},
        **_limit_lines([], y_limits, x_range, y_range),
    }
    caption = "Error on the validation split by order of training; winners, on the test split, at the right."
    if not main:
        caption = "Nothing to show yet: no training has finished."
    return _Plot("error", "Error over the search", caption, _figure(traces, layout))


def _prediction_plots(front: Front, rows: Sequence[Evaluation]) -> list[_Plot]:
    """Predicted against measured, for each metric that was both."""
    pairs_by_metric: dict[str, dict[str, list[_Point]]] = {}
    for row in rows:
        for name in set(row.predicted) & set(row.measurements):
            if row.stage in ("measure", "winner") and not row.failed and name in METRICS:
                points = _finite([_pair_point(row, METRICS[name])])
                pairs_by_metric.setdefault(name, {}).setdefault(row.stage, []).extend(points)
    plots = []
    for name, metric in METRICS.items():
        if name not in pairs_by_metric:
            continue
        pairs = pairs_by_metric[name]
        points = [point for part in pairs.values() for point in part]
        if not points:
            continue
        ends = [bound for p in points for bound in (*(p.x_bounds or ()), *(p.y_bounds or ()))]
        low, high = _padded(ends)
        traces = [
            _line([(low, low), (high, high)], "identity", "predicted = measured"),
            _trace(pairs.get("measure", []), "measured", "candidates", "circle", 8),
            _trace(pairs.get("winner", []), "winner", "winners", "diamond", 12),
        ]
        unit = f", {metric.unit}" if metric.unit else ""
        layout = {
            "xaxis": {"title": {"text": f"{metric.title} predicted{unit}"}, "range": [low, high]},
            "yaxis": {"title": {"text": f"{metric.title} measured{unit}"}, "range": [low, high]},
        }
        caption = (
            "What was predicted before measuring, with 90 % bounds, and what was then measured, with 95 % intervals."
        )
        title = f"Predicted and measured {metric.title.lower()}"
        plots.append(_Plot(f"check-{name}", title, caption, _figure(traces, layout)))
    return plots


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


def _is_found(candidate: _Candidate, cost: Metric) -> bool:
    return cost.name in (candidate.measurements if cost.source == "measured" else candidate.values)


def _is_predicted_only(candidate: _Candidate, cost: Metric) -> bool:
    return cost.source == "measured" and cost.name in candidate.predicted and not _is_found(candidate, cost)


def _found_point(candidate: _Candidate, cost: Metric) -> _Point:
    hover = _hover(candidate.architecture, *_candidate_lines(candidate, cost))
    if cost.source != "measured":
        return _Point(candidate.values[cost.name], 100 * candidate.error, hover)
    measured = candidate.measurements[cost.name]
    bounds = (measured.interval.lower, measured.interval.upper)
    return _Point(measured.median, 100 * candidate.error, hover, bounds)


def _predicted_point(candidate: _Candidate, cost: Metric) -> _Point:
    predicted = candidate.predicted[cost.name]
    hover = _hover(candidate.architecture, *_candidate_lines(candidate, cost))
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


def _pair_point(row: Evaluation, metric: Metric) -> _Point:
    predicted, measured = row.predicted[metric.name], row.measurements[metric.name]
    lines = _value_lines(metric, row.predicted, row.measurements, row.values)
    return _Point(
        x=predicted.mean,
        y=measured.median,
        hover=_hover(row.architecture, *lines),
        x_bounds=(predicted.lower, predicted.upper),
        y_bounds=(measured.interval.lower, measured.interval.upper),
    )


def _winner_lines(winner: Winner, cost: Metric | None = None) -> list[str]:
    lines = [f"test accuracy {accuracy_text(winner.test_error)} ({accuracy_range_text(winner.test_interval)})"]
    return lines + _value_lines(cost, winner.predicted, winner.measurements, winner.values)


def _candidate_lines(candidate: _Candidate, cost: Metric | None = None) -> list[str]:
    stopped = ", stopped early" if candidate.stopped else ""
    lines = [f"validation accuracy {accuracy_text(candidate.error)}{stopped}"]
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
        bounds = range_text(metric, found.interval.lower, found.interval.upper)
        lines.append(f"{title} measured {metric.format(found.median)} ({bounds})")
    if name in predicted:
        guess = predicted[name]
        lines.append(f"{title} predicted {metric.format(guess.mean)} ({range_text(metric, guess.lower, guess.upper)})")
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


# Tables: cells of text with a smaller second line, and what to sort by


@dataclass(frozen=True)
class _Cell:
    text: str
    detail: str = ""
    sort: float | str | None = None
    kind: str = ""
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def sort_text(self) -> str:
        """What the page sorts by; empty, which stands last, where there is nothing."""
        if self.sort is None or (isinstance(self.sort, float) and not math.isfinite(self.sort)):
            return ""
        return f"{self.sort:.12g}" if isinstance(self.sort, float | int) else self.sort


@dataclass(frozen=True)
class _Table:
    headers: tuple[str, ...]
    rows: tuple[tuple[_Cell, ...], ...]
    numeric: frozenset[str] = frozenset()


_NOTHING = _Cell("–")


def _architecture_cell(architecture: Architecture) -> _Cell:
    choices = tuple((name, str(option)) for name, option in architecture.items())
    return _Cell(architecture.short, sort=architecture.short, kind="architecture", choices=choices)


def _measured_cell(metric: Metric, measurements: Mapping[str, Measurement]) -> _Cell:
    if metric.name not in measurements:
        return _NOTHING
    found = measurements[metric.name]
    detail = range_text(metric, found.interval.lower, found.interval.upper)
    if found.interval.lower == found.interval.upper:
        detail = "exact"
    return _Cell(metric.format(found.median), detail, found.median, "flagged" if found.flags else "")


def _predicted_cell(metric: Metric, predicted: Mapping[str, PredictedValue]) -> _Cell:
    if metric.name not in predicted:
        return _NOTHING
    guess = predicted[metric.name]
    return _Cell(metric.format(guess.mean), range_text(metric, guess.lower, guess.upper), guess.mean)


def _value_cell(metric: Metric, values: Mapping[str, float]) -> _Cell:
    if metric.name not in values:
        return _NOTHING
    return _Cell(metric.format(values[metric.name]), sort=float(values[metric.name]))


def _shown_costs(
    costs: Iterable[Metric],
    predicted: Iterable[Mapping[str, Any]],
    measured: Iterable[Mapping[str, Any]],
    values: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[str, Metric, str]]:
    """Columns: header, metric and kind; the costs at first, then whatever else was found."""
    names_by_kind = {
        "predicted": {name for found in predicted for name in found},
        "measured": {name for found in measured for name in found},
        "value": {name for found in values for name in found},
    }
    first = {metric.name: metric for metric in costs}
    for metric in {**first, **METRICS}.values():
        if metric.name == "error":
            continue
        if metric.name in names_by_kind["predicted"]:
            yield f"{metric.title}, predicted", metric, "predicted"
        if metric.source == "measured" and (metric.name in names_by_kind["measured"] or metric.name in first):
            yield f"{metric.title}, measured", metric, "measured"
        if metric.source != "measured" and (metric.name in names_by_kind["value"] or metric.name in first):
            yield (
                (metric.title if metric.source in metric.title else f"{metric.title} ({metric.source})"),
                metric,
                "value",
            )


def _winner_table(front: Front, costs: Sequence[Metric]) -> _Table:
    columns = list(
        _shown_costs(costs, (w.predicted for w in front), (w.measurements for w in front), (w.values for w in front))
    )
    first = [column for column in columns if column[1] in costs]
    rest = [column for column in columns if column[1] not in costs]
    headers = ["Winner", "Architecture", "Test accuracy", *(header for header, _, _ in first)]
    headers += ["Limits"] if front.limits else []
    headers += ["Bundle", *(header for header, _, _ in rest)]
    rows = []
    for winner, on_front in zip(front.winners, front.on_front, strict=True):
        place = "on the front" if on_front else "beaten by another winner"
        cells = [
            _Cell(winner.architecture.id, place, winner.architecture.id, "id"),
            _architecture_cell(winner.architecture),
            _Cell(accuracy_text(winner.test_error), accuracy_range_text(winner.test_interval), 1 - winner.test_error),
        ]
        found = winner.predicted, winner.measurements, winner.values
        cells += [_cost_cell(kind, metric, *found) for _, metric, kind in first]
        if front.limits:
            cells.append(_limits_cell(winner, front.limits))
        cells.append(_Cell(winner.folder or "–", sort=winner.folder, kind="path"))
        cells += [_cost_cell(kind, metric, *found) for _, metric, kind in rest]
        rows.append(tuple(cells))
    numeric = frozenset({"Test accuracy", *(header for header, _, _ in columns)})
    return _Table(tuple(headers), tuple(rows), numeric)


def _cost_cell(
    kind: str,
    metric: Metric,
    predicted: Mapping[str, PredictedValue],
    measurements: Mapping[str, Measurement],
    values: Mapping[str, float],
) -> _Cell:
    if kind == "predicted":
        return _predicted_cell(metric, predicted)
    return _measured_cell(metric, measurements) if kind == "measured" else _value_cell(metric, values)


def _limits_cell(winner: Winner, limits: Iterable[Limit]) -> _Cell:
    broken = winner.broken(limits)
    if not broken:
        return _Cell("met", sort="0 met", kind="met")
    text = "not met: " + "; ".join(broken_text(winner, limit) for limit in broken)
    return _Cell(text, sort=f"1 {text}", kind="broken")


def _candidate_table(rows: Sequence[Evaluation], costs: Sequence[Metric]) -> _Table:
    """Every row, by stage and then as recorded."""
    columns = list(
        _shown_costs(costs, (r.predicted for r in rows), (r.measurements for r in rows), (r.values for r in rows))
    )
    headers = ("Row", "Stage", "Round", "Architecture", "Choices", "Outcome", "Error", "Epochs")
    ordered = sorted(enumerate(rows, 1), key=lambda pair: STAGES.index(pair[1].stage))
    table = []
    for number, row in ordered:
        error, split = _error_of(row)
        epochs = row.details.get("epochs")
        cells = [
            _Cell(str(number), sort=number),
            _Cell(row.stage, sort=f"{STAGES.index(row.stage)}"),
            _Cell(str(row.round), sort=row.round),
            _Cell(row.architecture.id, sort=row.architecture.id, kind="id"),
            _architecture_cell(row.architecture),
            _outcome_cell(row),
            _NOTHING if error is None else _Cell(METRICS["error"].format(error), split, error),
            _NOTHING if epochs is None else _Cell(str(epochs), sort=float(epochs)),
        ]
        for _, metric, kind in columns:
            cells.append(_cost_cell(kind, metric, row.predicted, row.measurements, row.values))
        table.append(tuple(cells))
    numeric = frozenset({"Row", "Round", "Error", "Epochs", *(header for header, _, _ in columns)})
    return _Table((*headers, *(header for header, _, _ in columns)), tuple(table), numeric)


def _error_of(row: Evaluation) -> tuple[float | None, str]:
    if row.failed:
        return None, ""
    if "test_error" in row.details:
        return float(row.details["test_error"]), "test"
    return (float(row.values["error"]), "validation") if "error" in row.values else (None, "")


def _outcome_cell(row: Evaluation) -> _Cell:
    if row.failure is not None:
        return _Cell(f"failed: {row.failure.kind}", row.failure.reason, f"2 {row.failure.kind}", "broken")
    if not row.reached_full_fidelity:
        return _Cell("stopped early", sort="1", kind="stopped")
    flags = [flag for measurement in row.measurements.values() for flag in measurement.flags]
    return _Cell("done", "; ".join(flags), "0", "flagged" if flags else "")


# Trust, funnel and notes


def _tiles(front: Front, record: RunRecord) -> list[tuple[str, str, str]]:
    """The figures at the top: what, how much, and a remark."""
    tiles = []
    best = front.best
    if best is not None:
        interval = f"95 %: {accuracy_range_text(best.test_interval)}"
        tiles.append(
            (
                "best test accuracy within the limits" if front.limits else "best test accuracy",
                accuracy_text(best.test_error),
                interval,
            )
        )
        for cost in front.costs[:2]:
            if best.has(cost.name):
                cell = _cost_cell(
                    "measured" if cost.source == "measured" else "value",
                    cost,
                    best.predicted,
                    best.measurements,
                    best.values,
                )
                remark = f"95 %: {cell.detail}" if cost.source == "measured" else ""
                tiles.append(
                    (f"its {cost.title.removesuffix(f' ({cost.source})').lower()}, {cost.source}", cell.text, remark)
                )
    meeting = sum(winner.meets(front.limits) for winner in front)
    if front.winners:
        within = f"{meeting} within the limits" if front.limits else f"{sum(front.on_front)} on the front"
        tiles.append(("winners", str(len(front)), within))
    counts = {count.stage: count for count in funnel_of(record.rows)}
    trained, measured = counts["train"], counts["measure"]
    if trained.reached:
        tiles.append(("candidates trained", str(trained.reached), f"{trained.stopped_early} stopped early"))
    if measured.reached:
        tiles.append(("candidates measured", str(measured.finished), "on the target"))
    return tiles


def _fit_table(fits: Sequence[FitRecord]) -> _Table:
    headers = ("Round", "Metric", "Samples", "Mean error (MAPE)", "Spearman", "Within 10 %", "Coverage of 90 % bounds")
    rows = tuple(
        (
            _Cell(str(fit.round), sort=fit.round),
            _Cell(METRICS[fit.metric].title if fit.metric in METRICS else fit.metric, sort=fit.metric),
            _Cell(str(fit.samples), sort=fit.samples),
            _share_cell(fit.held_out.mape),
            _NOTHING
            if math.isnan(fit.held_out.spearman)
            else _Cell(f"{fit.held_out.spearman:.3f}", sort=fit.held_out.spearman),
            _share_cell(fit.held_out.within_10_percent),
            _share_cell(fit.held_out.coverage),
        )
        for fit in fits
    )
    return _Table(headers, rows, frozenset(headers) - {"Metric"})


def _share_cell(share: float) -> _Cell:
    return _NOTHING if math.isnan(share) else _Cell(f"{100 * share:.1f} %", sort=share)


def _trust_sentences(front: Front, fits: Sequence[FitRecord]) -> list[str]:
    sentences = []
    for name, fit in {fit.metric: fit for fit in fits}.items():
        title = METRICS[name].title.lower() if name in METRICS else name
        sentences.append(
            f"On measured architectures that it had not seen, the last {title} predictor was off by "
            f"{100 * fit.held_out.mape:.1f} % on average, and its 90 % bounds held {100 * fit.held_out.coverage:.0f} % "
            f"of them ({fit.held_out.samples} architectures)."
        )
    for name, metric in METRICS.items():
        pairs = [
            (w.predicted[name], w.measurements[name]) for w in front if {name} <= w.predicted.keys() & w.measurements
        ]
        if pairs:
            inside = sum(guess.lower <= found.median <= guess.upper for guess, found in pairs)
            sentences.append(
                f"{inside} of {len(pairs)} winners were measured within the {metric.title.lower()} bounds "
                "predicted for them."
            )
    parities = [winner.parity for winner in front if winner.parity is not None]
    if parities:
        sentences.append(f"Exported and trained models gave equal outputs up to {max(parities):.2g}.")
    return sentences


def _flags(rows: Iterable[Evaluation]) -> list[tuple[str, str]]:
    """Each doubt about measurements, with the architectures that it concerns."""
    ids_by_flag: dict[str, dict[str, None]] = {}
    for row in rows:
        for measurement in row.measurements.values():
            for flag in measurement.flags:
                ids_by_flag.setdefault(flag, {})[row.architecture.id] = None
    return [(flag, _some(list(ids))) for flag, ids in ids_by_flag.items()]


def _conditions(rows: Iterable[Evaluation]) -> list[tuple[str, str]]:
    """What held while measuring, over all measurements: a value, a range of numbers, or some of many values."""
    values_by_name: dict[str, list[Any]] = {}
    targets: dict[str, None] = {}
    for row in rows:
        for measurement in row.measurements.values():
            targets[measurement.target] = None
            for name, value in _flattened(measurement.conditions):
                values_by_name.setdefault(name, []).append(value)
    conditions = [(name.replace("_", " "), _summary(values)) for name, values in values_by_name.items()]
    return [*([("target", _some(list(targets)))] if targets else []), *conditions]


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value


def _summary(values: Sequence[Any]) -> str:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        return f"{low:.6g}" if low == high else f"{low:.4g} to {high:.4g}"
    return _some(list({_text(value): None for value in values}))


def _some(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:MOST_SHOWN])
    return shown if len(texts) <= MOST_SHOWN else f"{shown} and {len(texts) - MOST_SHOWN} more"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return "–" if value is None else str(value)


@dataclass(frozen=True)
class _FunnelStep:
    title: str
    count: int
    finished_percent: float
    stopped_percent: float
    failed_percent: float
    remark: str


def _funnel(rows: Sequence[Evaluation]) -> list[_FunnelStep]:
    counts = funnel_of(rows)
    most = max((count.reached for count in counts), default=0) or 1
    steps = []
    for count in counts:
        remarks = [f"{count.finished} finished"] if count.finished != count.reached else []
        remarks += [f"{count.stopped_early} stopped early"] if count.stopped_early else []
        if count.failed:
            kinds = ", ".join(f"{kind} {number}" for kind, number in count.failures.items())
            remarks.append(f"{count.failed} failed ({kinds})")
        steps.append(
            _FunnelStep(
                title=STAGE_TITLES[count.stage],
                count=count.reached,
                finished_percent=100 * count.finished / most,
                stopped_percent=100 * count.stopped_early / most,
                failed_percent=100 * count.failed / most,
                remark=", ".join(remarks),
            )
        )
    return steps


def _notes(notes: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Free notes as titled lists; seconds become durations."""
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    plain = [
        (str(name), _note_text(str(name), value)) for name, value in notes.items() if not isinstance(value, Mapping)
    ]
    if plain:
        groups.append(("Run", plain))
    for name, value in notes.items():
        if isinstance(value, Mapping):
            title = str(name).replace("_", " ")
            is_time = "second" in str(name)
            items = [(str(k), _note_text("seconds" if is_time else str(k), v)) for k, v in _flattened(value)]
            groups.append(("Time by stage" if title == "seconds" else title[:1].upper() + title[1:], items))
    return groups


def _unbroken(text: str) -> str:
    """``text`` with numbers held to their units and signs, so that no line ends between them."""
    return re.sub(r"(?<=\d) (?=(?:[kMG]?B|[kMG]|ms|MiB|mJ|%)(?:\W|$))|(?<=[≤≥<>]) ", "\u00a0", text)


def _note_text(name: str, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return duration_text(float(value)) if is_number and "second" in name else _text(value)


# Embedding


def _inert_json(value: Any) -> Markup:
    """JSON that may stand within a script element: nothing in it can end the element or begin another."""
    text = json.dumps(value, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 escaped just above


@cache
def _plotly_script() -> str:
    """Plotly's script with the line ends that a browser makes of it, on which the hash depends."""
    script: str = get_plotlyjs()
    return script.replace("\r\n", "\n")


@cache
def _script_hash(script: str) -> str:
    """The hash by which a content security policy names an inline script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
