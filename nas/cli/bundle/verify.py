"""``nas bundle verify``: the hashes, the models and the measurements of a bundle, checked."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import typer

from nas.cli import options
from nas.cli.bundle import options as bundle_options
from nas.cli.output import json_alone, print_json
from nas.paths import RUNS

UNSOUND = 1
"""The exit status if a check failed, or if no model could be checked."""


def verify(
    winner: bundle_options.WinnerOrBundle,
    run: bundle_options.RunOfWinner = None,
    runs: options.Runs = RUNS,
    measure: bundle_options.MeasureAgain = True,
    target: bundle_options.VerifiedTargets = None,
    space: options.SpaceAgain = None,
    trust: bundle_options.TrustBundle = False,
    least_agreement: bundle_options.LeastAgreement = None,
    within: options.Within = 0.01,
    max_rounds: options.MaxRounds = 15,
    seed: options.Seed = 0,
    sustained: bundle_options.SustainedAgain = False,
    as_json: options.AsJson = False,
) -> None:
    """Check the hashes of a bundle, compare its models with torch on real inputs, and measure it again.

    Each target of its run is checked, also those on other devices. One that cannot be reached is told.
    Its predict.py runs on those inputs too. Each missing or changed file is named. The exit status is 1 if a check
    failed, or if no model could be checked. What cannot be checked here is told.
    """
    from nas.bundles.measuring import Effort
    from nas.bundles.verifying import verify_bundle
    from nas.reports.progress_display import choose_progress

    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress:
        verified = verify_bundle(
            winner,
            measure=measure,
            targets=target,
            run=run,
            runs=Path(runs),
            space=space,
            trust=trust,
            least_agreement=least_agreement,
            effort=Effort(within, max_rounds, seed, sustained=sustained),
            progress=progress,
        )
    if as_json:
        print_json(verified.to_json())
    else:
        typer.echo(repr(verified))
    if not verified.is_sound:
        raise typer.Exit(UNSOUND)
