"""Markdown tables of the runs of searchers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.command_line import heading, line
from experiments.table_search.runs import SHARES


def summary(runs: Sequence[dict[str, Any]], evaluations: int, *, limited: bool) -> str:
    """Return Markdown tables of runs in their JSON form: one for each task and, if there are several, one for all.

    ``limited`` adds the columns about limits.
    """
    tasks = list(dict.fromkeys((run["accuracy"], *run["costs"]) for run in runs))
    parts = [(", ".join(task), [run for run in runs if (run["accuracy"], *run["costs"]) == task]) for task in tasks]
    if len(tasks) > 1:
        parts.append((f"All {len(tasks)} tasks", list(runs)))
    columns = _columns(runs, evaluations, limited=limited, with_prior=any(run["prior"] for run in runs))
    lines = [
        "Mean per cent of the table's hypervolume, ± its standard error; medians of evaluations to 95 and 99 per cent."
    ]
    for title, chosen in parts:
        lines += ["", title, "", *heading(["searcher", *columns])]
        for searcher in dict.fromkeys(run["searcher"] for run in chosen):
            its = [run for run in chosen if run["searcher"] == searcher]
            lines.append(line([searcher, *(shown(its) for shown in columns.values())]))
    return "\n".join(lines)


_Shown = Callable[[Sequence[dict[str, Any]]], str]


def _columns(runs: Sequence[dict[str, Any]], evaluations: int, *, limited: bool, with_prior: bool) -> dict[str, _Shown]:
    """Return the columns by their titles: each turns the runs of one searcher into a cell."""
    columns: dict[str, _Shown] = {
        f"after {count}": functools.partial(_mean, of="hypervolume_percent", at=count)
        for count in runs[0]["hypervolume_percent"]
    }
    columns |= {f"to {share} %": functools.partial(_median, share=str(share)) for share in SHARES}
    columns[f"reach {SHARES[-1]} %"] = lambda runs: _share(
        sum(run["evaluations_to"][str(SHARES[-1])] is not None for run in runs), len(runs)
    )
    columns["ended early"] = lambda runs: _share(sum(len(run["evaluated"]) < evaluations for run in runs), len(runs))
    columns["s a proposal"] = lambda runs: f"{_sum(runs, 'proposing_s') / max(_sum(runs, 'proposals'), 1):.2g}"
    columns["repeats of proposals"] = lambda runs: _share(_sum(runs, "repeats"), _sum(runs, "proposals"))
    columns["failures of proposals"] = lambda runs: _share(_sum(runs, "failures"), _sum(runs, "proposals"))
    columns["twins of evaluations"] = lambda runs: _share(_sum(runs, "twins"), _lengths(runs, "evaluated"))
    if limited:
        columns["asked"] = lambda runs: f"{_sum(runs, 'asked') / len(runs):.3g}"
        columns["evaluations over limits"] = lambda runs: _share(
            _sum(runs, "evaluations_over_limits"), _lengths(runs, "evaluated")
        )
        columns["winners over limits"] = lambda runs: _share(
            _sum(runs, "winners_over_limits"), _lengths(runs, "winners")
        )
        columns["hypervolume lost"] = lambda runs: f"{np.mean([run['hypervolume_lost_percent'] for run in runs]):.2f} %"
    if with_prior:
        columns["prior's Kendall"] = lambda runs: f"{_kendall(runs):.2f}"
    return columns


def _kendall(runs: Sequence[dict[str, Any]]) -> float:
    """Return the mean Kendall correlation of priors and accuracies over runs."""
    found = [each["kendall"] for run in runs for each in run["prior"].values()]
    return float(np.mean(found)) if found else math.nan


def _mean(runs: Sequence[dict[str, Any]], *, of: str, at: str) -> str:
    values = [run[of][at] for run in runs]
    error = f" ± {np.std(values, ddof=1) / math.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{error}"


def _median(runs: Sequence[dict[str, Any]], *, share: str) -> str:
    counts = [run["evaluations_to"][share] for run in runs]
    median = np.median([math.inf if count is None else count for count in counts])
    return f"{median:g}" if math.isfinite(median) else "never"


def _sum(runs: Sequence[dict[str, Any]], name: str) -> float:
    return float(sum(run[name] for run in runs))


def _lengths(runs: Sequence[dict[str, Any]], name: str) -> float:
    return float(sum(len(run[name]) for run in runs))


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
