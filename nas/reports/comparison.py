"""The report on several runs: one page that compares those of one task, and shows all others side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.reports.analysis.runs import MOST_RUNS, labels_of
from nas.reports.analysis.sections import sections_of
from nas.reports.report import headline
from nas.reports.web_page import render_page, write_page
from nas.results.run import Run


def write_comparison(path: Path, runs: Sequence[Run]) -> None:
    """Write the report on several runs to ``path`` atomically: a reader sees either the old page or the new one."""
    write_page(path, render_comparison(runs))


def render_comparison(runs: Sequence[Run]) -> str:
    """Return the report on several runs as one HTML page that loads nothing; all recorded text is escaped.

    Raises:
        ValueError: none or more than 12 runs.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise ValueError(f"a report compares 1 to {MOST_RUNS} runs, but got {len(runs)}.")
    sections = sections_of(runs)
    labels = labels_of(runs)
    return render_page(
        "comparison.html.jinja",
        {"sections": sections},
        scripts=[f"sections/{name}.js" for name in sections],
        styles=["sections/sections.css"],
        title=", ".join(labels),
        sections=sections,
        headlines=[(label, headline(run)) for label, run in zip(labels, runs, strict=True)],
        folders=[str(run.run_folder) for run in runs],
    )
