"""The predictor report as one HTML page that opens offline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.prediction.trust_report import Case, TrustReport
from nas.reports.cells import PageTable
from nas.reports.predictor_text import bounds_text, figures_of, headline_of, next_columns, sentences_of, worst_columns
from nas.reports.web_page import render_page, write_page
from nas.space.architecture import choices_within
from nas.values.held_out import per_cent
from nas.values.metric import Metric
from nas.values.objective import limit_text

WORST_SHOWN = 12
BAND = 0.1
MOST_TOLD = 120
"""The most characters of choices that a point tells."""
FARTHEST_BOUND = 4.0
"""Bounds may end outside the plot if they are farther from all points than this factor."""


@dataclass(frozen=True)
class Plot:
    """A plot for the element of this id. ``spec`` has its axes, marks and rules, as ``templates/charts.js`` says."""

    id: str
    title: str
    caption: str
    spec: dict[str, Any]


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
        {"plots": {plot.id: plot.spec for part in parts for plot in part.plots}},
        ["page/static.js"],
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
        sentences=[*sentences_of(report), *report.grounds],
        tiles=[(each.label, each.value, each.remark) for each in figures],
        explanation=(
            "In cross-validation, each measured architecture was predicted by a predictor that was not fitted to it. "
            "Predictions in the shaded band are off by at most 10 %. Bars are 90 % bounds."
        ),
        plots=[_check_plot(report), *_curve_plots(report)],
        worst=PageTable.of(report.cases[:WORST_SHOWN], worst_columns(report.metric)),
        next=PageTable.of(report.suggestions, next_columns(report.metric)),
    )


# Plots


def _check_plot(report: TrustReport) -> Plot:
    metric = report.metric
    unit = f", {metric.unit}" if metric.unit else ""
    points = [value for case in report.cases for value in (case.measured, case.mean)]
    values = [*points, *(bound for case in report.cases for bound in _bounds(case))]
    low = max(min(values), min(points) / FARTHEST_BOUND) / 1.1
    high = min(max(values), max(points) * FARTHEST_BOUND) * 1.1
    ends = [low, high]
    held_out = {
        "kind": "points",
        "name": f"held out ({len(report.cases)})",
        "role": "measured",
        "shape": "disc",
        "x": [case.measured for case in report.cases],
        "y": [case.mean for case in report.cases],
        "yLow": [_bounds(case)[0] for case in report.cases],
        "yHigh": [_bounds(case)[1] for case in report.cases],
        "texts": [_told(case, metric) for case in report.cases],
    }
    band = {"low": [value / (1 + BAND) for value in ends], "high": [value * (1 + BAND) for value in ends]}
    spec = {
        "label": f"Predicted against measured {metric.title.lower()}",
        "x": {"title": f"Measured {metric.title.lower()}{unit}", "log": True, "range": ends},
        "y": {"title": f"Predicted {metric.title.lower()}{unit}", "log": True, "range": ends},
        "marks": [
            {"kind": "band", "name": "±10 %", "role": "stopped", "x": ends, **band},
            {"kind": "line", "name": "predicted = measured", "role": "identity", "dash": True, "x": ends, "y": ends},
            held_out,
        ],
        "rules": [
            {"axis": "x", "value": limit.value, "text": limit_text(limit)}
            for limit in report.limits
            if low <= limit.value <= high
        ],
    }
    inside = sum(case.is_within for case in report.cases)
    caption = (
        f"{inside} of {len(report.cases)} measured values lie within their predicted 90 % bounds. "
        "Both axes are logarithmic."
    )
    return Plot(f"check-{metric.name}", f"Predicted against measured {metric.title.lower()}", caption, spec)


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
        "Relative to the value, %",
    )
    rank = _curve_plot(
        report,
        "rank",
        "Rank correlation by number of samples",
        "Spearman's correlation between held-out predictions and measured values. 1 means that the order is right.",
        [("Spearman", "winner", [each.spearman for each in curve])],
        "Spearman",
    )
    return [off, rank]


def _curve_plot(
    report: TrustReport,
    key: str,
    title: str,
    caption: str,
    lines: Sequence[tuple[str, str, Sequence[float]]],
    up: str,
) -> Plot:
    sizes = [each.samples for each in report.curve]
    marks: list[dict[str, Any]] = []
    highest = 0.0
    for name, role, values in lines:
        points = [(x, y) for x, y in zip(sizes, values, strict=True) if math.isfinite(y)]
        if not points:
            continue
        xs, ys = [x for x, _ in points], [y for _, y in points]
        highest = max(highest, *ys)
        texts = [[name, f"{y:.3g} with {x} measured architectures"] for x, y in points]
        marks.append({"kind": "line", "name": name, "role": role, "x": xs, "y": ys})
        marks.append({"kind": "points", "role": role, "shape": "disc", "x": xs, "y": ys, "texts": texts, "size": 5})
    y_axis: dict[str, Any] = {"title": up}
    if key == "error" and marks:
        y_axis["range"] = [0, 1.08 * highest or 1]
    across = {"title": "Measured architectures", "log": True, "ticks": sizes}
    spec = {"label": title, "x": across, "y": y_axis, "marks": marks}
    return Plot(f"check-{key}-{report.metric.name}", title, caption, spec)


def _bounds(case: Case) -> tuple[float, float]:
    """Return the bounds for a logarithmic axis: the mean replaces one that is not finite or not positive."""
    lower = case.lower if 0 < case.lower < math.inf else case.mean
    return lower, case.upper if math.isfinite(case.upper) else case.mean


def _told(case: Case, metric: Metric) -> list[str]:
    """Return the lines that a point tells about itself."""
    return [
        case.architecture.id,
        f"measured {metric.format(case.measured)}",
        f"predicted {metric.format(case.mean)} ({bounds_text(metric, case.lower, case.upper)}), "
        f"off by {per_cent(case.relative_error)}",
        choices_within(case.architecture, MOST_TOLD),
    ]
