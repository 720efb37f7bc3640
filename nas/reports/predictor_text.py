"""The predictor report in words, and its form for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from nas.prediction.trust_report import TrustReport
from nas.reports.console import print_pairs
from nas.results.winner import range_text
from nas.space.architecture import Architecture, choices_within
from nas.values.held_out import HeldOutError, reach_text, width_text
from nas.values.metric import Metric
from nas.values.objective import limit_text

WORST_PRINTED, NEXT_PRINTED = 3, 5
"""The architectures that the terminal lists, with as many choices as fit on a line; the page has more, and whole."""


class Figure(NamedTuple):
    """One figure about held-out predictions, for people."""

    label: str
    value: str
    remark: str


def figures_of(held_out: HeldOutError) -> list[Figure]:
    """Return the figures of merit, each with an explanation."""
    return [
        Figure("samples", str(held_out.samples), "measured architectures, each held out once"),
        Figure("mean error (MAPE)", share(held_out.mape), "of the measured value"),
        Figure("Spearman", _correlation(held_out.spearman), "rank correlation; 1 means the right order"),
        Figure(
            "Kendall", _correlation(held_out.kendall), "share of pairs in the right order minus share of the others"
        ),
        Figure("within ±5 %", share(held_out.within_5_percent), "of the predictions"),
        Figure("within ±10 %", share(held_out.within_10_percent), "of the predictions"),
        Figure(
            "width of the bounds",
            width_text(held_out.width, held_out.samples),
            "median of (upper − lower bound) / mean",
        ),
        Figure(
            "coverage",
            share(held_out.coverage),
            "of values within the 90 % bounds; by construction for built-in predictors",
        ),
    ]


def headline_of(report: TrustReport) -> str:
    """Return the verdict on the predictor in one sentence."""
    what = f"{report.metric.title} on {report.target}"
    limits = " and ".join(limit_text(limit) for limit in report.limits)
    if report.doubts:
        return f"{what}: the predictor is not good enough{f' for {limits}' if limits else ''}."
    if limits:
        return f"{what}: the predictor is good enough for {limits}."
    return f"{what}: predictions are off by {share(report.held_out.mape)} on average."


def sentences_of(report: TrustReport) -> list[str]:
    """Return the verdict with its reasons; for a predictor that is not good enough, also what to do."""
    if report.doubts:
        return [*report.doubts, report.advice]
    held_out = report.held_out
    if not report.limits:
        return [
            f"No limit was asked for. On {held_out.samples} held-out architectures, predictions are off by "
            f"{share(held_out.mape)} on average, and their 90 % bounds "
            f"{reach_text(held_out.width / 2, held_out.samples)}."
        ]
    limits = " and ".join(limit_text(limit) for limit in report.limits)
    return [
        f"Good enough for {limits}: on {held_out.samples} held-out architectures, predictions are off by "
        f"{share(held_out.mape)} on average, and near the limit their 90 % bounds "
        f"{reach_text(report.half_width, held_out.samples)}."
    ]


def share(value: float) -> str:
    """Return a share in per cent, such as ``5.6 %``, or a dash if it is not finite."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def print_predictor_report(reports: Sequence[TrustReport], console: Console) -> None:
    """Print each metric's figures, learning curve, largest errors, suggested measurements and verdict."""
    for report in reports:
        title = f"{report.metric.title} on {report.target}"
        console.print(Text(title, style="bold"))
        figures = figures_of(report.held_out)
        width = max(len(each.value) for each in figures)
        pairs = [(each.label, f"{each.value:<{width}}  {each.remark}") for each in figures]
        if report.measured > report.held_out.samples:
            pairs.insert(1, ("measured", f"{report.measured} architectures; the samples are a random part of them"))
        if report.sources:
            pairs.append(("sources", ", ".join(report.sources)))
        pairs.append(("predictor", report.method))
        print_pairs([*pairs, *(("rests on", sentence) for sentence in report.grounds)], console, indent=2)
        _print_rows(console, "Learning curve", *_curve_rows(report))
        _print_rows(console, "Largest errors", *_worst_rows(report))
        if report.suggestions:
            _print_rows(console, "What to measure next", *_next_rows(report))
        console.print()
        for sentence in sentences_of(report):
            console.print(Text(sentence, style="yellow" if report.doubts else "green"))
        console.print()


_Row = tuple[Sequence[str], Architecture | None]
"""The cells of one row, and the architecture that is printed below them, if there is one."""


def _curve_rows(report: TrustReport) -> tuple[Sequence[str], list[_Row]]:
    headers = ("Samples", "Mean error", "Spearman", "Within ±10 %", "Width of bounds")
    rows: list[_Row] = []
    for each in report.curve:
        figures = share(each.mape), _correlation(each.spearman), share(each.within_10_percent)
        rows.append(((str(each.samples), *figures, width_text(each.width, each.samples)), None))
    return headers, rows


def _worst_rows(report: TrustReport) -> tuple[Sequence[str], list[_Row]]:
    form = report.metric.format
    headers = ("Architecture", "Measured", "Predicted", "90 % bounds", "Off by")
    rows: list[_Row] = []
    for case in report.cases[:WORST_PRINTED]:
        bounds, off = bounds_text(report.metric, case.lower, case.upper), f"{100 * case.relative_error:+.1f} %"
        rows.append(((case.architecture.id, form(case.measured), form(case.mean), bounds, off), case.architecture))
    return headers, rows


def _next_rows(report: TrustReport) -> tuple[Sequence[str], list[_Row]]:
    headers = ("Architecture", "Predicted", "90 % bounds", "Why")
    rows: list[_Row] = []
    for each in report.suggestions[:NEXT_PRINTED]:
        predicted = each.predicted
        bounds = bounds_text(report.metric, predicted.lower, predicted.upper)
        cells = (each.architecture.id, report.metric.format(predicted.mean), bounds, each.reason)
        rows.append((cells, each.architecture))
    return headers, rows


def bounds_text(metric: Metric, lower: float, upper: float) -> str:
    """Return both bounds for people, or "none" if one is not finite."""
    return range_text(metric, lower, upper) if math.isfinite(lower) and math.isfinite(upper) else "none"


def _print_rows(console: Console, title: str, headers: Sequence[str], rows: Sequence[_Row]) -> None:
    """Print cells in columns, and below each row its architecture on one line."""
    console.print()
    console.print(Text(f"  {title}"))
    widths = [max(cell_len(cells[column]) for cells in (headers, *(cells for cells, _ in rows)))
              for column in range(len(headers))]  # fmt: skip

    def line(cells: Sequence[str], style: str) -> Text:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
        return Text("  " + "  ".join(padded).rstrip(), style=style)

    console.print(line(headers, "bright_black"))
    for cells, architecture in rows:
        console.print(line(cells, ""))
        if architecture is not None:
            told = choices_within(architecture, console.width - 6, length=cell_len)
            console.print(Text(f"    {told}", style="bright_black"))


def _correlation(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"
