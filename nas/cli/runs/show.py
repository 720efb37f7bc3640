"""``nas show``: the winners of a run, or all runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nas.cli import options
from nas.cli.output import INCOMPLETE, print_json, show_front, tell_damages
from nas.cli.runs import run_options
from nas.errors import NasError, RecipeError
from nas.paths import RUNS
from nas.storage.garbage import without_garbage_collection

if TYPE_CHECKING:
    from nas.results.run import Run


@without_garbage_collection()
def show(
    run: options.RunFolderOrNone = None,
    runs: options.Runs = RUNS,
    x: run_options.PlotX = None,
    y: run_options.PlotY = None,
    no_plot: run_options.NoPlot = False,
    as_json: options.AsJson = False,
) -> None:
    """Print a run's winners with a drawing of their front, or list all runs.

    --x and --y choose the metrics of the drawing. What is damaged is left out and named, and the exit status is then
    1.
    """
    if run is None:
        _show_all(runs, as_json)
        return
    from nas.results.run_folder import read_run, resume_text_of, run_folder_of

    run = run_folder_of(run, runs)
    found = read_run(run)
    unfinished = "Not finished."
    if not found.damages:
        unfinished += f" Unless it is still running, continue with: {resume_text_of(found)}"
    if as_json:
        print_json(_json(found))
    else:
        if not no_plot:
            _draw(found, x, y)
        show_front(found.front, as_json, None if found.is_over else found.ended_by or unfinished)
    tell_damages(found)


def _draw(run: Run, x: str | None, y: str | None) -> None:
    """Draw the front of a run, or its search where nothing but an error was minimised."""
    from rich.console import Console

    from nas.reports.drawing.scenes import terminal_scene
    from nas.reports.drawing.terminal import print_scene

    scene = terminal_scene(run, x, y)
    if scene is not None:
        print_scene(scene, Console(file=sys.stdout))
        typer.echo()


def _show_all(runs: Path, as_json: bool) -> None:
    """List the runs in a folder. One that cannot be read hides no other: it is named with the reason."""
    from nas.results.run_folder import read_run, run_folders

    if runs.exists() and not runs.is_dir():
        raise RecipeError(f"--runs must be a folder that holds run folders, but {runs} is no folder.")
    listed: list[Any] = []
    is_whole = True
    for folder in run_folders(runs):
        try:
            found = read_run(folder)
        except (NasError, OSError) as error:
            why = " ".join(str(error).split())
            typer.echo(f"warning: {folder} cannot be read: {why}", err=True)
            listed += [{"run_folder": str(folder), "error": why}] if as_json else []
            is_whole = False
            continue
        is_whole = is_whole and not found.damages
        listed.append(_json(found) if as_json else _line(found))
    if as_json:
        print_json(listed)
    elif not listed and is_whole:
        typer.echo(f"There are no runs in {runs}.")
    for line in () if as_json else listed:
        typer.echo(line)
    if not is_whole:
        raise typer.Exit(INCOMPLETE)


def _json(run: Run) -> dict[str, Any]:
    """Return a run's front and its damages as plain data."""
    return {**run.front.to_json(), **({"damages": list(run.damages)} if run.damages else {})}


def _line(run: Run) -> str:
    """Return a run in one line."""
    from nas.reports.report import headline

    state = "" if run.is_over or run.ended_by else " Not finished."
    damaged = " Damaged: see nas show with this folder." if run.damages else ""
    return f"{run.run_folder}: {headline(run)}{state}{damaged}"
