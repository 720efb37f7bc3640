"""The parts of tables: cells with small print and a sort key, and the columns of costs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nas.reports.candidates import OUTSIDE
from nas.reports.wording import Wording
from nas.results.winner import measured_range, range_text
from nas.space.architecture import Architecture
from nas.values.evaluation import PredictedValue
from nas.values.measurement import Measurement
from nas.values.metric import METRICS, Metric


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: the value for people.
        detail: small print below the value.
        sort: the key that the column is sorted by; None sorts last.
        kind: the CSS class.
        choices: an architecture's choices, which unfold on a click.
    """

    text: str
    detail: str = ""
    sort: float | str | None = None
    kind: str = ""
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def sort_text(self) -> str:
        """The sort key as text; an empty key sorts last."""
        if self.sort is None or (isinstance(self.sort, float) and not math.isfinite(self.sort)):
            return ""
        return f"{self.sort:.12g}" if isinstance(self.sort, float | int) else self.sort


@dataclass(frozen=True)
class PageTable:
    """Headers, rows with one cell per header, and the headers of columns that hold numbers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[str] = frozenset()


NOTHING = Cell("–")


EXACT = "exact"


def architecture_cell(architecture: Architecture, of_training: Collection[str] = ()) -> Cell:
    """Return a cell with the architecture's short form, which unfolds into its choices.

    ``of_training`` names the choices that affect training only.
    """
    choices = tuple(
        (f"{name} (training)" if name in of_training else name, str(option)) for name, option in architecture.items()
    )
    short = architecture.short
    return Cell(short, sort=short, kind="architecture", choices=choices)


def _measured_cell(metric: Metric, measurements: Mapping[str, Measurement]) -> Cell:
    if metric.name not in measurements:
        return NOTHING
    found = measurements[metric.name]
    detail = measured_range(metric, found)
    if found.interval.is_point:
        detail = EXACT if found.table is None else ""
    return Cell(metric.format(found.median), detail, found.median, "flagged" if found.flags else "")


def _predicted_cell(metric: Metric, predicted: Mapping[str, PredictedValue]) -> Cell:
    if metric.name not in predicted:
        return NOTHING
    guess = predicted[metric.name]
    bounds = range_text(metric, guess.lower, guess.upper)
    return Cell(metric.format(guess.mean), bounds if guess.known else f"{bounds}, {OUTSIDE}", guess.mean)


def _value_cell(metric: Metric, values: Mapping[str, float]) -> Cell:
    if metric.name not in values:
        return NOTHING
    return Cell(metric.format(values[metric.name]), sort=float(values[metric.name]))


def shown_costs(
    costs: Iterable[Metric],
    predicted: Iterable[Mapping[str, Any]],
    measured: Iterable[Mapping[str, Any]],
    values: Iterable[Mapping[str, Any]],
    words: Wording,
) -> Iterator[tuple[str, Metric, str]]:
    """Yield the header, metric and kind of each column: ``costs`` first, then all other metrics with values."""
    names_by_kind = {
        "predicted": {name for found in predicted for name in found},
        "measured": {name for found in measured for name in found},
        "value": {name for found in values for name in found},
    }
    first = {metric.name: metric for metric in costs}
    for metric in {**first, **METRICS}.values():
        if metric.name == "error" or (metric.source == "trained" and metric.name not in first):
            continue
        if metric.name in names_by_kind["predicted"]:
            yield f"{metric.title}, predicted", metric, "predicted"
        if metric.source == "measured" and (metric.name in names_by_kind["measured"] or metric.name in first):
            yield f"{metric.title}, {words.value_source}", metric, "measured"
        if metric.source != "measured" and (metric.name in names_by_kind["value"] or metric.name in first):
            yield (
                (metric.title if metric.source in metric.title else f"{metric.title} ({metric.source})"),
                metric,
                "value",
            )


def cost_cell(
    kind: str,
    metric: Metric,
    predicted: Mapping[str, PredictedValue],
    measurements: Mapping[str, Measurement],
    values: Mapping[str, float],
) -> Cell:
    """Return the cell of ``metric`` whose ``kind`` is predicted, measured or value, as in ``shown_costs``."""
    if kind == "predicted":
        return _predicted_cell(metric, predicted)
    return _measured_cell(metric, measurements) if kind == "measured" else _value_cell(metric, values)
