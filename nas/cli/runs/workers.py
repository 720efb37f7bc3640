"""``nas workers``: what the workers of a search do now, and how many there may be."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from nas.cli import options
from nas.cli.output import print_json
from nas.paths import RUNS


def workers(
    run: options.RunFolder,
    count: Annotated[
        int | None, typer.Argument(metavar="[COUNT]", help="Train at most this many at once from now on.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the nodes and trainings of a search that runs, or change how many run at once.

    With COUNT, trainings that run go on, and new ones begin as soon as there is room. The search takes it up within
    seconds, or when it trains next. A resumed run begins with execution.workers of its recipe again.
    """
    from nas.jobs.workers_now import allow_workers, read_workers
    from nas.results.run_folder import run_folder_of

    folder = run_folder_of(run, RUNS)
    if count is not None:
        allow_workers(folder, count)
        if not as_json:
            typer.echo(f"At most {count:,} at once from now on, as far as there is room. What runs goes on.")
    told = read_workers(folder)
    if as_json:
        asked = {} if count is None else {"asked": count}
        print_json({**asked, **(told or {"at_once": 0, "nodes": [], "trainings": []})})
    elif told is None:
        typer.echo(
            "No workers train for this run now: it is over, it has not come so far, or it trains in its own process, "
            "one after the other."
        )
    elif count is None:
        _print(told)


def _print(told: dict[str, Any]) -> None:
    """Print nodes and trainings for people."""
    from nas.progress import duration_text

    busy = "" if told["trainings"] else " The search measures, or makes winners."
    typer.echo(f"{len(told['trainings'])} of at most {told['at_once']} trainings at once.{busy}")
    for node in told["nodes"]:
        what = f"room for {node['at_once']}" if node["left_out"] is None else f"left out: {node['left_out']}"
        typer.echo(f"node {node['name']}: {what}")
    for each in told["trainings"]:
        epoch = "no epoch yet" if each["epoch"] is None else f"after epoch {each['epoch']}"
        since = duration_text(max(0.0, time.time() - each["began_at"]))
        where = f" on {each['node']}" if each["node"] else ""
        typer.echo(f"{each['job']}{where}: {epoch}, for {since}")
