"""The predictor report in words, and its form for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from nas.prediction.next_measurements import Suggestion
from nas.prediction.trust_report import Case, TrustReport
from nas.reports.cells import Cell, Column, architecture_cell
from nas.reports.console import print_pairs
from nas.results.text_tables import aligned
from nas.space.architecture import Architecture, choices_within
from nas.values.held_out import HeldOutError, correlation_text, per_cent, reach_text, width_text
from nas.values.metric import Metric
from nas.values.objective import limit_text

WORST_PRINTED, NEXT_PRINTED = 3, 5
"""The architectures that the terminal lists, with as many choices as fit on a line; the page has more, and whole."""


R = TypeVar("R")


class Figure(NamedTuple):
    """One figure about held-out predictions, for people."""

    label: str
    value: str
    remark: str


def figures_of(held_out: HeldOutError) -> list[Figure]:
    """Return the figures of merit, each with an explanation."""
    return [
        Figure("samples", str(held_out.samples), "measured architectures, each held out once"),
        Figure("mean error (MAPE)", per_cent(held_out.mape), "of the measured value"),
        Figure("Spearman", correlation_text(held_out.spearman), "rank correlation; 1 means the right order"),
        Figure(
            "Kendall", correlation_text(held_out.kendall), "share of pairs in the right order minus share of the others"
        ),
        Figure("within ±5 %", per_cent(held_out.within_5_percent), "of the predictions"),
        Figure("within ±10 %", per_cent(held_out.within_10_percent), "of the predictions"),
        Figure(
            "width of the bounds",
            width_text(held_out.width, held_out.samples),
            "median of (upper − lower bound) / mean",
        ),
        Figure(
            "coverage",
            per_cent(held_out.coverage),
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
    return f"{what}: predictions are off by {per_cent(report.held_out.mape)} on average."


def sentences_of(report: TrustReport) -> list[str]:
    """Return the verdict with its reasons; for a predictor that is not good enough, also what to do."""
    if report.doubts:
        return [*report.doubts, report.advice]
    held_out = report.held_out
    if not report.limits:
        return [
            f"No limit was asked for. On {held_out.samples} held-out architectures, predictions are off by "
            f"{per_cent(held_out.mape)} on average, and their 90 % bounds "
            f"{reach_text(held_out.width / 2, held_out.samples)}."
        ]
    limits = " and ".join(limit_text(limit) for limit in report.limits)
    return [
        f"Good enough for {limits}: on {held_out.samples} held-out architectures, predictions are off by "
        f"{per_cent(held_out.mape)} on average, and near the limit their 90 % bounds "
        f"{reach_text(report.half_width, held_out.samples)}."
    ]


def worst_columns(metric: Metric) -> tuple[Column[Case], ...]:
    """Return the columns of the table of the largest errors."""
    return (
        Column("Architecture", lambda case: _id_cell(case.architecture)),
        Column("Choices", lambda case: architecture_cell(case.architecture), on_page_alone=True),
        Column("Measured", lambda case: Cell(metric.format(case.measured), sort=case.measured), is_numeric=True),
        Column(
            "Predicted",
            lambda case: _predicted_cell(metric, case.mean, case.lower, case.upper),
            is_numeric=True,
            small="90 % bounds",
        ),
        Column(
            "Off by",
            lambda case: Cell(f"{100 * case.relative_error:+.1f} %", sort=abs(case.relative_error)),
            is_numeric=True,
        ),
        Column("Within its bounds", lambda case: Cell("yes" if case.is_within else "no"), on_page_alone=True),
    )


def next_columns(metric: Metric) -> tuple[Column[Suggestion], ...]:
    """Return the columns of the table of what to measure next."""
    return (
        Column("Architecture", lambda each: _id_cell(each.architecture)),
        Column("Choices", lambda each: architecture_cell(each.architecture), on_page_alone=True),
        Column(
            "Predicted",
            lambda each: _predicted_cell(metric, each.predicted.mean, each.predicted.lower, each.predicted.upper),
            is_numeric=True,
            small="90 % bounds",
        ),
        Column("Why", lambda each: Cell(each.reason, sort=each.reason)),
    )


CURVE_COLUMNS: tuple[Column[HeldOutError], ...] = (
    Column("Samples", lambda each: Cell(str(each.samples))),
    Column("Mean error", lambda each: Cell(per_cent(each.mape))),
    Column("Spearman", lambda each: Cell(correlation_text(each.spearman))),
    Column("Within ±10 %", lambda each: Cell(per_cent(each.within_10_percent))),
    Column("Width of bounds", lambda each: Cell(width_text(each.width, each.samples))),
)
"""The columns of the learning curve in a terminal; a page draws it."""


def _id_cell(architecture: Architecture) -> Cell:
    return Cell(architecture.id, sort=architecture.id, kind="id")


def _predicted_cell(metric: Metric, mean: float, lower: float, upper: float) -> Cell:
    return Cell(metric.format(mean), bounds_text(metric, lower, upper), mean)


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
        _print_rows(console, "Learning curve", report.curve, CURVE_COLUMNS)
        _print_rows(console, "Largest errors", report.cases[:WORST_PRINTED], worst_columns(report.metric))
        if report.suggestions:
            suggestions = report.suggestions[:NEXT_PRINTED]
            _print_rows(console, "What to measure next", suggestions, next_columns(report.metric))
        console.print()
        for sentence in sentences_of(report):
            console.print(Text(sentence, style="yellow" if report.doubts else "green"))
        console.print()


def bounds_text(metric: Metric, lower: float, upper: float) -> str:
    """Return both bounds for people, or "none" if one is not finite."""
    return metric.format_range(lower, upper) if math.isfinite(lower) and math.isfinite(upper) else "none"


def _print_rows(console: Console, title: str, rows: Sequence[R], columns: Sequence[Column[R]]) -> None:
    """Print cells in columns, and below each row its architecture on one line, if it is about one."""
    texts = []
    for column in columns:
        if not column.on_page_alone:
            cells = [column.cell(row) for row in rows]
            texts.append([column.header, *(cell.text for cell in cells)])
            texts += [[column.small, *(cell.detail for cell in cells)]] if column.small else []
    header, *lines = aligned(texts)
    console.print()
    console.print(Text(f"  {title}"))
    console.print(Text(f"  {header}", style="bright_black"))
    for row, line in zip(rows, lines, strict=True):
        console.print(Text(f"  {line}"))
        architecture: Architecture | None = getattr(row, "architecture", None)
        if architecture is not None:
            told = choices_within(architecture, console.width - 6, length=cell_len)
            console.print(Text(f"    {told}", style="bright_black"))
