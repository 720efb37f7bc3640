"""``nas bundle export``: a winner in another form."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import typer

from nas.cli import options
from nas.cli.bundle import options as bundle_options
from nas.cli.output import json_alone, print_json
from nas.paths import RUNS


def export(
    winner: bundle_options.WinnerOrBundle,
    form: bundle_options.BundleFormat,
    precision: bundle_options.FormPrecision = None,
    batch: bundle_options.FormBatch = None,
    dynamic_batch: bundle_options.DynamicBatch = False,
    threads: bundle_options.FormThreads = None,
    run: bundle_options.RunOfWinner = None,
    runs: options.Runs = RUNS,
    out: bundle_options.NewBundle = None,
    samples: bundle_options.KeepSamples = True,
    space: options.SpaceAgain = None,
    trust: bundle_options.TrustBundle = False,
    within: options.Within = 0.01,
    max_rounds: options.MaxRounds = 15,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Export a winner in another form, compare it with torch on real inputs, and measure it.

    The form lies in a bundle of its own, beside the winner's unless --out names another folder.
    """
    from nas.bundles.exporting import export_bundle
    from nas.bundles.measuring import Effort
    from nas.reports.progress_display import choose_progress

    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress:
        exported = export_bundle(
            winner,
            form,
            precision=precision,
            batch=batch,
            dynamic_batch=dynamic_batch,
            threads=threads,
            run=run,
            runs=Path(runs),
            out=out,
            samples=samples,
            space=space,
            trust=trust,
            effort=Effort(within, max_rounds, seed),
            progress=progress,
        )
    if as_json:
        print_json(exported.to_json())
    else:
        typer.echo(repr(exported))
