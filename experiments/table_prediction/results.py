"""Writes the results of a comparison of predictors: Markdown tables, and an NPZ file of every prediction."""

from __future__ import annotations

import functools
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from experiments.command_line import heading, line
from experiments.table_prediction.figures import FIGURES, QUANTILES, SHARES, TIMES
from experiments.table_prediction.fits import Outcome

PREDICTED = ("mean", "lower", "upper", "limit")


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Return Markdown tables of the rows of ``Outcome.to_json``: means, three figures by target, and broken limits."""
    groups = list(dict.fromkeys((row["samples"], row["method"]) for row in rows))
    targets = list(dict.fromkeys(row["target"] for row in rows))

    def figures(name: str, group: tuple[int, str], target: str | None = None) -> list[float]:
        return [
            row[name]
            for row in rows
            if (row["samples"], row["method"]) == group and target in (None, row["target"]) and row[name] is not None
        ]

    titles = ["samples", "method", *FIGURES, "geometric mean of Spearman"]
    lines = [f"Means over {len(targets)} targets and their seeds; medians of {' and '.join(TIMES)}.", ""]
    lines += heading([title.replace("_", " ") if title not in TIMES else title for title in titles])
    for group in groups:
        cells = [_shown(name, figures(name, group)) for name in FIGURES]
        by_target = [_mean(figures("spearman", group, target)) for target in targets]
        lines.append(line([*group, *cells, f"{_geometric_mean(by_target):.3f}"]))
    for name in ("spearman", "within_10_percent", "coverage"):
        lines += ["", f"{name.replace('_', ' ')} by target", "", *heading(["samples", "method", *targets])]
        lines += [
            line([*group, *(_shown(name, figures(name, group, target)) for target in targets)]) for group in groups
        ]
    shares = [f"{100 * quantile:.0f} %" for quantile in QUANTILES]
    lines += ["", "broken limits by the share of architectures that meet them, over all targets and seeds", ""]
    lines += heading(["samples", "method", *shares])
    for group in groups:
        limits = [row["limits"] for row in rows if (row["samples"], row["method"]) == group]
        lines.append(line([*group, *(_broken(each) for each in zip(*limits, strict=True))]))
    return "\n".join(lines)


def _broken(limits: Sequence[dict[str, Any]]) -> str:
    """Return the share of all architectures let through that exceed their limit."""
    through = sum(limit["let_through"] for limit in limits)
    return f"{100 * sum(limit['broken'] for limit in limits) / through:.1f} %" if through else "–"


def _shown(name: str, values: Sequence[float]) -> str:
    if not values:
        return "–"
    if name in TIMES:
        return f"{np.median(values):.3g}" if name == "fit_s" else f"{np.median(values):,.0f}"
    return f"{100 * _mean(values):.1f} %" if name in SHARES else f"{_mean(values):.3f}"


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean, or NaN if a value is not above 0."""
    return math.exp(_mean([math.log(value) for value in values])) if all(value > 0 for value in values) else math.nan


@contextmanager
def predictions_file(path: Path | None) -> Iterator[Callable[[Outcome], None]]:
    """Open an uncompressed NPZ file and yield the function that adds the arrays of an outcome.

    The file appears at ``path`` only if no error occurs. The arrays are written one by one in the format of
    ``numpy.savez``, because together they take much memory.
    """
    if path is None:
        yield lambda outcome: None
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            yield functools.partial(_add_arrays, archive)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _add_arrays(archive: zipfile.ZipFile, outcome: Outcome) -> None:
    key = f"{outcome.target}/{outcome.samples}/{outcome.seed}/{outcome.method}"
    arrays = {"sampled": outcome.sampled, "queried": outcome.queried}
    arrays |= {name: getattr(outcome.prediction, name) for name in PREDICTED}
    for name, array in arrays.items():
        with archive.open(f"{key}/{name}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, array, allow_pickle=False)
