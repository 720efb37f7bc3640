"""``nas report``: the HTML report of a run, written again."""

from __future__ import annotations

import typer

from nas.cli import options


def report(run: options.RunFolder) -> None:
    """Rewrite a run's HTML report, and print its path.

    The report is made from the run's journal. The run may still be going on.
    """
    from nas.reports.report import write_report
    from nas.results.front import REPORT_NAME
    from nas.results.run_folder import load_run

    write_report(run / REPORT_NAME, load_run(run))
    typer.echo(run / REPORT_NAME)
