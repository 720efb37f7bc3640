"""Architectures that were measured on request: each with its values, its doubts, or the reason of its failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from nas.reports.console import print_pairs
from nas.results.winner import range_text
from nas.space.architecture import choices_within
from nas.values.evaluation import Evaluation
from nas.values.metric import METRICS


def print_rows(rows: Sequence[Evaluation], console: Console) -> None:
    """Print each architecture with what was measured of it. Its id is never cut."""
    for row in rows:
        console.print(Text(row.architecture.id, style="bold"))
        console.print(Text(f"  {choices_within(row.architecture, console.width - 2)}", style="bright_black"))
        print_pairs(_lines(row), console, indent=2)


def _lines(row: Evaluation) -> Iterator[tuple[str, Text]]:
    if row.failure is not None:
        yield "failed", Text(row.failure.reason, style="red")
    for name, measurement in row.measurements.items():
        metric, interval = METRICS[name], measurement.interval
        bounds = range_text(metric, interval.lower, interval.upper)
        yield metric.title.lower(), Text(f"{metric.format(measurement.median)}  (95 %: {bounds})")
    for flag in dict.fromkeys(flag for measurement in row.measurements.values() for flag in measurement.flags):
        yield "doubt", Text(flag, style="yellow")


def measured_json(row: Evaluation) -> dict[str, Any]:
    """Return a row as plain JSON data."""
    known: dict[str, Any] = {"id": row.architecture.id, "architecture": dict(row.architecture)}
    if row.failure is not None:
        return {**known, "failure": {"kind": row.failure.kind, "reason": row.failure.reason}}
    return {**known, "measured": {name: measurement.to_json() for name, measurement in row.measurements.items()}}
