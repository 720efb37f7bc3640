"""What the shell completes beside commands and options: the names of runs."""

from __future__ import annotations

from pathlib import Path

import typer

from nas.paths import RUNS


def run_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of runs, in the folder of --runs, that begin with what was typed, the newest one first."""
    from nas.results.run_folder import run_folders

    folder = Path(ctx.params.get("runs") or RUNS)
    return [each.name for each in reversed(run_folders(folder)) if each.name.startswith(incomplete)]
