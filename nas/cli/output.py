"""Printing what commands share: JSON, fronts and trust reports."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from nas.prediction.trust_report import TrustReport
    from nas.results.front import Front
    from nas.results.run import Run

INCOMPLETE = 1
"""The exit status if something that was asked for could not be shown."""


@contextlib.contextmanager
def json_alone(as_json: bool) -> Iterator[None]:
    """Keep standard output for the JSON that follows the context.

    Whatever is printed within it goes to standard error, also by programs that a space or a library starts. Without
    ``as_json`` nothing changes.
    """
    if not as_json:
        yield
        return
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # it is closed
        kept = None
    else:
        os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def print_json(value: Any) -> None:
    """Print plain data as indented JSON; a path becomes a text."""
    typer.echo(json.dumps(value, indent=2, default=str))


def show_front(front: Front, as_json: bool, state: str | None = None) -> None:
    """Print a front as JSON or for people; ``state`` tells people why the run is not finished."""
    if as_json:
        print_json(front.to_json())
        return
    from rich.console import Console

    from nas.reports.console import print_front
    from nas.results.front import REPORT_NAME

    print_front(front, Console(file=sys.stdout), has_report=(front.run_folder / REPORT_NAME).exists())
    if state:
        typer.echo(state)


def tell_damages(*runs: Run) -> None:
    """Print the damages of runs' folders on standard error. If there are any, end with the status ``INCOMPLETE``."""
    for damage in (damage for run in runs for damage in run.damages_in_short):
        typer.echo(f"warning: {damage}", err=True)
    if any(run.damages for run in runs):
        typer.echo("What is damaged was left out; everything else was read.", err=True)
        raise typer.Exit(INCOMPLETE)


def check_page(page: Path, option: str) -> None:
    """Check that an HTML page can be written there, before any work. Raises RecipeError."""
    from nas.storage.output_files import check_file

    check_file(page, option)


def show_trust(
    reports: Sequence[TrustReport],
    page: Path,
    subject: str,
    facts: Mapping[str, str],
    as_json: bool,
    table: Path | None = None,
    next_command: str | None = None,
) -> None:
    """Write the HTML page of trust reports and print them; ``table`` is a table that was written too.

    ``next_command`` measures the architectures that the reports name.
    """
    from nas.reports.predictor_page import write_predictor_page

    write_predictor_page(page, reports, subject, facts)
    if as_json:
        written = {"table": None if table is None else str(table), "report": str(page)}
        print_json({"metrics": [each.to_json() for each in reports], **written, "measure_command": next_command})
        return
    from rich.console import Console

    from nas.reports.predictor_text import print_predictor_report

    print_predictor_report(reports, Console(file=sys.stdout))
    if next_command is not None:
        typer.echo("To measure next, before you ask for this report again:")
        typer.echo(f"  {next_command}")
    if table is not None:
        typer.echo(f"Table: {table}")
    typer.echo(f"Report: {page}")
