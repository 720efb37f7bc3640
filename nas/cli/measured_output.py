"""What was measured on request, for people and as JSON: values, doubts, comparisons, or the reason of a failure."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nas.cli.output import print_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from nas.hardware.file_measuring import MeasuredFile
    from nas.values.evaluation import Evaluation
    from nas.values.paired_comparison import Comparison

SOME_FAILED = 1
"""The exit status if something could not be measured."""


def print_files(found: Sequence[MeasuredFile], compared: Sequence[str], as_json: bool, with_key: bool) -> None:
    """Print measured files, and how they compare by the metrics ``compared``.

    As JSON it is a list of files, or ``with_key`` an object that has the comparisons too.
    """
    from rich.console import Console

    from nas.errors import CandidateError
    from nas.hardware.model_measuring import comparisons_of
    from nas.reports.console import print_measured

    comparisons = comparisons_of([(str(each.path), each.outcome) for each in found], compared)
    if as_json:
        models = [each.to_json() for each in found]
        told = [each.to_json() for each in comparisons]
        print_json({"models": models, "comparisons": told} if with_key else models)
    else:
        print_measured(found, Console(file=sys.stdout))
        _print_comparisons(comparisons)
    if any(isinstance(each.outcome, CandidateError) for each in found):
        raise typer.Exit(SOME_FAILED)


def print_architectures(
    rows: Sequence[Evaluation], out: Path | None, compared: Sequence[str], as_json: bool, target: str | None = None
) -> None:
    """Print measured architectures, how they compare, and the table that they were added to."""
    from rich.console import Console

    from nas.errors import CandidateError
    from nas.hardware.bench import Outcome
    from nas.hardware.model_measuring import comparisons_of

    outcomes: list[tuple[str, Outcome]] = [
        (row.architecture.id, dict(row.measurements) if row.failure is None else CandidateError("", "")) for row in rows
    ]
    comparisons = comparisons_of(outcomes, compared)
    if as_json:
        known: dict[str, Any] = {"architectures": [_measured_json(row) for row in rows]}
        known |= {"target": target} if target is not None else {}
        known |= {"comparisons": [each.to_json() for each in comparisons]} if compared else {}
        print_json({**known, "table": None if out is None else str(out)})
    else:
        _print_rows(rows, Console(file=sys.stdout))
        _print_comparisons(comparisons)
        if out is not None:
            typer.echo(f"Table: {out}")
    if any(row.failed for row in rows):
        raise typer.Exit(SOME_FAILED)


def print_table(out: Path, rows: Sequence[Evaluation], as_json: bool) -> None:
    """Print how many architectures a table got."""
    failed = sum(row.failed for row in rows)
    if as_json:
        print_json({"table": str(out), "measured": len(rows) - failed, "failed": failed})
    else:
        typer.echo(f"{out}: {len(rows) - failed} measured, {failed} failed")
    if failed:
        raise typer.Exit(SOME_FAILED)


def _print_comparisons(comparisons: Sequence[Comparison]) -> None:
    for each in comparisons:
        typer.echo(each.sentence)


def _print_rows(rows: Sequence[Evaluation], console: Console) -> None:
    """Print each architecture with what was measured of it. Its id is never cut."""
    from rich.text import Text

    from nas.reports.console import print_pairs
    from nas.space.architecture import choices_within

    for row in rows:
        console.print(Text(row.architecture.id, style="bold"))
        console.print(Text(f"  {choices_within(row.architecture, console.width - 2)}", style="bright_black"))
        print_pairs(_lines(row), console, indent=2)


def _lines(row: Evaluation) -> Iterator[tuple[str, Text]]:
    from rich.text import Text

    from nas.values.metric import METRICS

    if row.failure is not None:
        yield "failed", Text(row.failure.reason, style="red")
    for name, measurement in row.measurements.items():
        metric = METRICS[name]
        yield metric.title.lower(), Text(f"{metric.format(measurement.median)}  (95 %: {measurement.range_text})")
    for flag in dict.fromkeys(flag for measurement in row.measurements.values() for flag in measurement.flags):
        yield "doubt", Text(flag, style="yellow")


def _measured_json(row: Evaluation) -> dict[str, Any]:
    """Return a row as plain JSON data."""
    known: dict[str, Any] = {"id": row.architecture.id, "architecture": dict(row.architecture)}
    if row.failure is not None:
        return {**known, "failure": {"kind": row.failure.kind, "reason": row.failure.reason}}
    return {**known, "measured": {name: measurement.to_json() for name, measurement in row.measurements.items()}}
