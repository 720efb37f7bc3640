"""``nas serve``: all runs of a folder in a browser of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.paths import RUNS

Folder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="The folder that holds the run folders, or the folder of one run."),
]
Port = Annotated[
    int,
    typer.Option(min=0, max=65535, metavar="N", help="The port of this machine to listen on. 0 takes any free one."),
]


def serve(folder: Folder = RUNS, port: Port = 8321) -> None:
    """Show all runs of a folder in a browser, live while they run.

    Only this machine can open the pages. They change nothing, and a page that nobody looks at reads nothing.
    """
    from nas.serving.server import serve as serve_runs

    serve_runs(folder, port, typer.echo)
