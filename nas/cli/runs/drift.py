"""``nas drift``: the winners of a run, measured again."""

from __future__ import annotations

import sys
from contextlib import closing

import typer

from nas.cli import options
from nas.cli.bundle import options as bundle_options
from nas.cli.output import json_alone, print_json
from nas.paths import RUNS

BROKEN = 1
"""The exit status if a winner now breaks a limit that it met, or cannot be measured."""


def drift(
    run: options.RunFolder,
    target: bundle_options.DriftTarget = None,
    space: options.SpaceAgain = None,
    trust: bundle_options.TrustBundle = False,
    within: options.Within = 0.01,
    max_rounds: options.MaxRounds = 15,
    seed: options.Seed = 0,
    sustained: bundle_options.SustainedAgain = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure a run's winners again, and print which moved, by how much, and which now break a limit.

    They are measured together, on the run's target or on another. The run does not change. The exit status is 1 if a
    winner now breaks a limit that it met, or cannot be measured.
    """
    from nas.bundles.drifting import drift as measure_again
    from nas.bundles.measuring import Effort
    from nas.reports.progress_display import choose_progress
    from nas.results.run_folder import run_folder_of

    run = run_folder_of(run, RUNS)
    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress:
        found = measure_again(
            run,
            target=target,
            space=space,
            trust=trust,
            effort=Effort(within, max_rounds, seed, sustained=sustained),
            progress=progress,
        )
    if as_json:
        print_json(found.to_json())
    else:
        typer.echo(repr(found))
    if found.breaks or found.failed:
        raise typer.Exit(BROKEN)
