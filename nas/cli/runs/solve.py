"""``nas solve``: the front of a finished run under other limits, or on another target."""

from __future__ import annotations

import shutil
import sys

import typer

from nas.cli import options
from nas.cli.output import json_alone, print_json
from nas.paths import RUNS

NO_POINTS = 1
"""The exit status if no candidate meets the limits."""


def solve(
    run: options.RunFolder,
    limit: options.SolvedLimits = None,
    objective: options.SolvedObjectives = None,
    target: options.SolvedTarget = None,
    measure: options.Measure = None,
    space: options.SpaceAgain = None,
    trust: options.Trust = False,
    fresh_measurements: options.FreshMeasurements = False,
    as_run: options.SolvedRun = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the front of a finished run under other limits, or on another target.

    Nothing is trained. On a new target a few candidates are measured and the others predicted. Every value says which
    it is. The exit status is 1 if no candidate meets the limits.
    """
    from nas.reports.progress_display import choose_progress
    from nas.results.run_folder import run_folder_of
    from nas.results.solved_views import solved_text
    from nas.searching.solving.solve import solve as solve_again

    run = run_folder_of(run, RUNS)
    with json_alone(as_json):
        solved = solve_again(
            run,
            limit,
            objectives=objective,
            target=target,
            measure=measure,
            space=space,
            trust=trust,
            fresh=fresh_measurements,
            as_run=as_run,
            progress=choose_progress(sys.stdout, as_json),
        )
    if as_json:
        print_json(solved.to_json())
    else:
        typer.echo(solved_text(solved, shutil.get_terminal_size((120, 24)).columns))
    if not solved.points:
        raise typer.Exit(NO_POINTS)
