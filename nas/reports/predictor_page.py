"""The predictor report as one HTML page that opens offline."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.prediction.trust_report import Case, TrustReport
from nas.reports.cells import Cell, PageTable
from nas.reports.figures import Plot, hover_text
from nas.reports.predictor_text import bounds_text, figures_of, headline_of, sentences_of, share
from nas.reports.web_page import render_page, write_page
from nas.space.architecture import Architecture
from nas.values.metric import Metric
from nas.values.objective import limit_text

WORST_SHOWN = 12
BAND = 0.1
FARTHEST_BOUND = 4.0
"""Bounds may end outside the plot if they are farther from all points than this factor."""


@dataclass(frozen=True)
class _Part:
    """The page's section about one metric."""

    id: str
    title: str
    is_good: bool
    sentences: list[str]
    tiles: list[tuple[str, str, str]]
    explanation: str
    plots: list[Plot]
    worst: PageTable
    next: PageTable


def write_predictor_page(path: Path, reports: Sequence[TrustReport], subject: str, facts: Mapping[str, str]) -> None:
    """Write the page that ``render_predictor_page`` returns to ``path``."""
    write_page(path, render_predictor_page(reports, subject, facts))


def render_predictor_page(reports: Sequence[TrustReport], subject: str, facts: Mapping[str, str]) -> str:
    """Return the page of ``reports``, one for each metric.

    ``subject`` names the source of the measurements; ``facts`` say how the page was made.
    """
    parts = [_part(report) for report in reports]
    told = dict(facts)
    for report in reports:
        title, used = report.metric.title.lower(), report.held_out.samples
        if report.sources:
            told[f"sources of {title}"] = ", ".join(report.sources)
        if report.measured > used:
            told[f"measured {title}"] = f"{report.measured} architectures; {used} of them, drawn at random, were used"
    return render_page(
        "predictor_report.html.jinja",
        {plot.id: plot.figure for part in parts for plot in part.plots},
        subject=subject,
        headline=" ".join(headline_of(report) for report in reports),
        parts=parts,
        facts=list(told.items()),
    )


def _part(report: TrustReport) -> _Part:
    figures = figures_of(report.held_out)
    return _Part(
        id=f"of-{report.metric.name}",
        title=f"{report.metric.title} on {report.target}",
        is_good=not report.doubts,
        sentences=sentences_of(report),
        tiles=[(each.label, each.value, each.remark) for each in figures],
        explanation=(
            "In cross-validation, each measured architecture was predicted by a predictor that was not fitted to it. "
            "Predictions in the shaded band are off by at most 10 %. Bars are 90 % bounds."
        ),
        plots=[_check_plot(report), *_curve_plots(report)],
        worst=_worst_table(report),
        next=_next_table(report),
    )


# Tables


def _worst_table(report: TrustReport) -> PageTable:
    headers = ("Architecture", "Choices", "Measured", "Predicted", "Off by", "Within its bounds")
    rows = tuple(
        (
            Cell(case.architecture.id, sort=case.architecture.id, kind="id"),
            _choices(case.architecture),
            Cell(report.metric.format(case.measured), sort=case.measured),
            Cell(report.metric.format(case.mean), bounds_text(report.metric, case.lower, case.upper), case.mean),
            Cell(f"{100 * case.relative_error:+.1f} %", sort=abs(case.relative_error)),
            Cell("yes" if case.lower <= case.measured <= case.upper else "no"),
        )
        for case in report.cases[:WORST_SHOWN]
    )
    return PageTable(headers, rows, frozenset({"Measured", "Predicted", "Off by"}))


def _next_table(report: TrustReport) -> PageTable:
    headers = ("Architecture", "Choices", "Predicted", "Why")
    rows = tuple(
        (
            Cell(each.architecture.id, sort=each.architecture.id, kind="id"),
            _choices(each.architecture),
            Cell(
                report.metric.format(each.predicted.mean),
                bounds_text(report.metric, each.predicted.lower, each.predicted.upper),
                each.predicted.mean,
            ),
            Cell(each.reason, sort=each.reason),
        )
        for each in report.suggestions
    )
    return PageTable(headers, rows, frozenset({"Predicted"}))


def _choices(architecture: Architecture) -> Cell:
    choices = tuple((name, str(option)) for name, option in architecture.items())
    return Cell(architecture.short, sort=architecture.short, kind="architecture", choices=choices)


# Plots


def _check_plot(report: TrustReport) -> Plot:
    metric = report.metric
    unit = f", {metric.unit}" if metric.unit else ""
    points = [value for case in report.cases for value in (case.measured, case.mean)]
    values = [*points, *(bound for case in report.cases for bound in _bounds(case))]
    low = max(min(values), min(points) / FARTHEST_BOUND) / 1.1
    high = min(max(values), max(points) * FARTHEST_BOUND) * 1.1
    axis = _log_axis(low, high)
    line = [low, high]
    data = [
        _line(line, [value / (1 + BAND) for value in line], "stopped", "", width=0),
        {**_line(line, [value * (1 + BAND) for value in line], "stopped", "±10 %", width=0), "fill": "tonexty"},
        _line(line, line, "identity", "predicted = measured", dash="dot"),
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"held out ({len(report.cases)})",
            "meta": {"role": "measured"},
            "x": [case.measured for case in report.cases],
            "y": [case.mean for case in report.cases],
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [max(0.0, _bounds(case)[1] - case.mean) for case in report.cases],
                "arrayminus": [max(0.0, case.mean - _bounds(case)[0]) for case in report.cases],
                "thickness": 1.3,
                "width": 3,
            },
            "hovertext": [_hover(case, metric) for case in report.cases],
            "hoverinfo": "text",
            "marker": {"symbol": "circle", "size": 7},
        },
    ]
    shown = [limit for limit in report.limits if low <= limit.value <= high]
    layout = {
        "xaxis": {"title": {"text": f"Measured {metric.title.lower()}{unit}"}, **axis},
        "yaxis": {"title": {"text": f"Predicted {metric.title.lower()}{unit}"}, **axis},
        "shapes": [
            {"type": "line", "x0": limit.value, "x1": limit.value, "yref": "paper", "y0": 0, "y1": 1,
             "line": {"width": 1.5, "dash": "dash"}}
            for limit in shown
        ],
        "annotations": [
            {"x": math.log10(limit.value), "yref": "paper", "y": 0, "yanchor": "bottom", "showarrow": False,
             "xanchor": "left" if limit.value < math.sqrt(low * high) else "right",
             "text": html.escape(f" {limit_text(limit)} ")}
            for limit in shown
        ],
    }  # fmt: skip
    inside = sum(case.lower <= case.measured <= case.upper for case in report.cases)
    caption = (
        f"{inside} of {len(report.cases)} measured values lie within their predicted 90 % bounds. "
        "Both axes are logarithmic."
    )
    title = f"Predicted against measured {metric.title.lower()}"
    return Plot(f"check-{metric.name}", title, caption, {"data": data, "layout": layout})


def _curve_plots(report: TrustReport) -> list[Plot]:
    curve = report.curve
    off = _curve_plot(
        report,
        "error",
        "Error by number of samples",
        "Predictors were fitted to growing parts of the measurements. The lines are their mean held-out error and half "
        "the median width of their 90 % bounds. A line that still falls says that more measurements help.",
        [
            ("mean error (MAPE)", "measured", [100 * each.mape for each in curve]),
            ("half width of the bounds", "predicted", [50 * each.width for each in curve]),
        ],
        {"title": {"text": "Relative to the value"}, "ticksuffix": " %", "rangemode": "tozero"},
    )
    rank = _curve_plot(
        report,
        "rank",
        "Rank correlation by number of samples",
        "Spearman's correlation between held-out predictions and measured values. 1 means that the order is right.",
        [("Spearman", "winner", [each.spearman for each in curve])],
        {"title": {"text": "Spearman"}},
    )
    return [off, rank]


def _curve_plot(
    report: TrustReport,
    key: str,
    title: str,
    caption: str,
    lines: Sequence[tuple[str, str, Sequence[float]]],
    yaxis: dict[str, Any],
) -> Plot:
    sizes = [each.samples for each in report.curve]
    data = []
    for name, role, values in lines:
        points = [(x, y) for x, y in zip(sizes, values, strict=True) if math.isfinite(y)]
        if points:
            xs, ys = zip(*points, strict=True)
            data.append(
                {
                    **_line(list(xs), list(ys), role, name),
                    "mode": "lines+markers",
                    "marker": {"symbol": "circle", "size": 8},
                    "hoverinfo": "x+y",
                }
            )
    axis = {"type": "log", "tickvals": sizes, "ticktext": [str(size) for size in sizes]}
    layout = {"xaxis": {"title": {"text": "Measured architectures"}, **axis}, "yaxis": yaxis}
    return Plot(f"check-{key}-{report.metric.name}", title, caption, {"data": data, "layout": layout})


def _line(
    x: Sequence[float], y: Sequence[float], role: str, name: str, *, width: float = 2, dash: str = "solid"
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "showlegend": bool(name),
        "meta": {"role": role},
        "x": list(x),
        "y": list(y),
        "line": {"width": width, "dash": dash},
        "hoverinfo": "skip",
    }


def _log_axis(low: float, high: float) -> dict[str, Any]:
    """Return a logarithmic axis with ticks at round numbers; plotly's own are too close or too far apart."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps: tuple[float, ...] = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    for ratio, coarser in ((5, (1, 1.5, 2, 3, 5, 7)), (20, (1, 2, 5)), (1e4, (1,))):
        steps = coarser if high / low > ratio else steps
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [f"{tick:.3g}" for tick in ticks],
    }


def _bounds(case: Case) -> tuple[float, float]:
    """Return the bounds for a logarithmic axis: the mean replaces one that is not finite or not positive."""
    lower = case.lower if 0 < case.lower < math.inf else case.mean
    return lower, case.upper if math.isfinite(case.upper) else case.mean


def _hover(case: Case, metric: Metric) -> str:
    return hover_text(
        case.architecture,
        f"measured {metric.format(case.measured)}",
        f"predicted {metric.format(case.mean)} ({bounds_text(metric, case.lower, case.upper)}), "
        f"off by {share(case.relative_error)}",
    )
