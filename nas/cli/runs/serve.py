"""``nas serve``: all runs of a folder in a browser of this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from nas.cli import options
from nas.errors import JournalError, RecipeError
from nas.paths import RUNS

Folder = Annotated[
    Path | None,
    typer.Argument(metavar="FOLDER", help="The folder of one run alone; or the same folder as of --runs."),
]
Port = Annotated[
    int,
    typer.Option(min=0, max=65535, metavar="N", help="The port of this machine to listen on. 0 takes any free one."),
]


def serve(folder: Folder = None, runs: options.Runs = RUNS, port: Port = 8321) -> None:
    """Show all runs of a folder in a browser, live while they run.

    Only this machine can open the pages. They change nothing, and a page that nobody looks at reads nothing.
    """
    from nas.results.run_folder import run_folder_of
    from nas.serving.server import serve as serve_runs

    if folder is not None and runs != RUNS:
        raise RecipeError(f"nas serve takes one folder, but got {folder} and --runs {runs}. Leave one of them out.")
    if folder is not None and not folder.exists():
        with contextlib.suppress(JournalError):  # it may be the name of a run
            folder = run_folder_of(folder)
    serve_runs(folder or runs, port, typer.echo)
