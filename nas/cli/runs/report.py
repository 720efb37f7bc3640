"""``nas report``: the HTML report of a run, written again."""

from __future__ import annotations

import typer

from nas.cli import options
from nas.cli.output import tell_damages
from nas.cli.search import RUNS


def report(run: options.RunFolder) -> None:
    """Rewrite a run's HTML report, and print its path.

    The report is made from the run's journal. The run may still be going on. What is damaged is left out and named,
    and the exit status is then 1.
    """
    from nas.reports.report import write_report
    from nas.results.front import REPORT_NAME
    from nas.results.run_folder import check_run_folder, read_run

    check_run_folder(run, RUNS)
    found = read_run(run)
    write_report(run / REPORT_NAME, found)
    typer.echo(run / REPORT_NAME)
    tell_damages(found)
