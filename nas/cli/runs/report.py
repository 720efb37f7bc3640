"""``nas report``: the HTML report of a run, written again, or one page about several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.output import check_page, tell_damages
from nas.cli.search import RUNS
from nas.errors import RecipeError

Folders = Annotated[list[Path], typer.Argument(metavar="RUN...", help="The folder of a run, finished or not.")]
Page = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The HTML page to write. [default: report.html in the run's folder, or comparison.html here for several]",
    ),
]
COMPARISON_NAME = "comparison.html"


def report(runs: Folders, out: Page = None) -> None:
    """Rewrite a run's HTML report, or write one that compares several runs, and print its path.

    The report is made from journals. A run may still be going on. What is damaged is left out and named, and the exit
    status is then 1.
    """
    from nas.reports.analysis.runs import MOST_RUNS
    from nas.reports.comparison import write_comparison
    from nas.reports.report import write_report
    from nas.results.front import REPORT_NAME
    from nas.results.run_folder import check_run_folder, read_run

    distinct = list({folder.resolve(): folder for folder in runs}.values())
    if len(distinct) > MOST_RUNS:
        raise RecipeError(f"a report compares at most {MOST_RUNS} runs, but got {len(distinct)}. Name fewer.")
    for folder in distinct:
        check_run_folder(folder, RUNS)
    page = out or (distinct[0] / REPORT_NAME if len(distinct) == 1 else Path(COMPARISON_NAME))
    check_page(page, "--out")
    found = [read_run(folder) for folder in distinct]
    if len(found) == 1:
        write_report(page, found[0])
    else:
        write_comparison(page, found)
    typer.echo(page)
    tell_damages(*found)
