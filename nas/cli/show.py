"""``nas show``: the winners of a run, or all runs."""

from __future__ import annotations

from pathlib import Path

import typer

from nas.cli import options
from nas.cli.output import print_json, show_front
from nas.cli.search import RUNS


def show(run: options.RunFolderOrNone = None, runs: options.Runs = RUNS, as_json: options.AsJson = False) -> None:
    """Print a run's winners, or list all runs."""
    if run is None:
        _show_all(runs, as_json)
        return
    from nas.results.run_folder import load_run, resume_command

    found = load_run(run)
    unfinished = f"Not finished. Unless it is still running, continue with: {resume_command(run)}"
    show_front(found.front, as_json, None if found.is_over else found.ended_by or unfinished)


def _show_all(runs: Path, as_json: bool) -> None:
    from nas.reports.report import headline
    from nas.results.run_folder import load_run, run_folders

    found = [load_run(folder) for folder in run_folders(runs)]
    if as_json:
        print_json([each.front.to_json() for each in found])
        return
    if not found:
        typer.echo(f"There are no runs in {runs}.")
    for each in found:
        state = "" if each.is_over or each.ended_by else " Not finished."
        typer.echo(f"{each.run_folder}: {headline(each)}{state}")
