"""``nas report``: the HTML report of a run, written again, or one page about several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.completing import run_names
from nas.cli.output import check_page, tell_damages
from nas.errors import RecipeError
from nas.paths import RUNS
from nas.storage.garbage import without_garbage_collection

Folders = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="The folder of a run, finished or not.", autocompletion=run_names),
]
Page = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The HTML page to write. [default: report.html in the run's folder, or comparison.html here for several]",
    ),
]
COMPARISON_NAME = "comparison.html"


@without_garbage_collection()
def report(runs: Folders, out: Page = None) -> None:
    """Rewrite a run's HTML report, or write one that compares several runs, and print its path.

    The report is made from journals. A run may still be going on. What is damaged is left out and named, and the exit
    status is then 1.
    """
    from nas.reports.analysis.runs import MOST_RUNS
    from nas.reports.comparison import write_comparison
    from nas.reports.report import write_report
    from nas.results.front import REPORT_NAME
    from nas.results.run_folder import read_run, run_folder_of

    given = {folder.resolve(): folder for folder in runs}.values()
    if len(given) > MOST_RUNS:
        raise RecipeError(f"a report compares at most {MOST_RUNS} runs, but got {len(given)}. Name fewer.")
    found = (run_folder_of(folder, RUNS) for folder in given)
    distinct = list({folder.resolve(): folder for folder in found}.values())
    page = out or (distinct[0] / REPORT_NAME if len(distinct) == 1 else Path(COMPARISON_NAME))
    check_page(page, "--out")
    read = [read_run(folder) for folder in distinct]
    if len(read) == 1:
        write_report(page, read[0])
    else:
        write_comparison(page, read)
    typer.echo(page)
    tell_damages(*read)
