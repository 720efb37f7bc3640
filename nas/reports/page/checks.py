"""Predictions against measurements, as plots of a report's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.reports.candidates import PredictionCheck, prediction_checks
from nas.reports.wording import MEASURED, Wording
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation
from nas.values.indexed_rows import IndexedRows
from nas.values.metric import METRICS, Metric


def checks_of(
    rows: Sequence[Evaluation] | IndexedRows, places: Mapping[Architecture, int], words: Wording = MEASURED
) -> list[dict[str, Any]]:
    """Return a plot for each metric that was both predicted and measured, with its caption.

    ``places`` are those of the architectures in the page's document.
    """
    indexed = IndexedRows.of(rows)
    predicted = {name for row in indexed.rows for name in row.predicted}
    plots = [
        _check(metric, prediction_checks(indexed, metric), places, words) for metric in METRICS.among(sorted(predicted))
    ]
    return [plot for plot in plots if plot is not None]


def _check(
    metric: Metric, checks: Sequence[PredictionCheck], places: Mapping[Architecture, int], words: Wording
) -> dict[str, Any] | None:
    found = [check for check in checks if math.isfinite(check.predicted.mean)]
    if not found:
        return None
    candidates = [check for check in found if not check.is_winner]
    winners = [check for check in found if check.is_winner and check.came_before]
    seen = [check for check in found if not check.came_before]
    groups = (
        ("candidates", "measured", "disc", candidates),
        ("winners the predictor was fitted to", "winner", "hollow-diamond", seen),
        ("winners", "winner", "diamond", winners),
    )
    kind = "Measured" if words is MEASURED else "Looked-up"
    unit = "" if metric.unit in ("", "B", "mJ") else f", {metric.unit}"
    title = metric.title.lower()
    ends = [end for check in found for end in (*_ends(check), check.measured.interval.lower,
                                               check.measured.interval.upper)]  # fmt: skip
    return {
        "id": f"check-{metric.name}",
        "metric": metric.name,
        "title": f"{kind} against predicted {title}",
        "across": f"Predicted {title}{unit}",
        "up": f"{kind} {title}{unit}",
        "range": list(_padded(ends)),
        "caption": _caption(found, seen, words),
        "groups": [
            {"name": name, "role": role, "shape": shape, "points": _points(of, places)}
            for name, role, shape, of in groups
            if of
        ],
    }


def _points(checks: Sequence[PredictionCheck], places: Mapping[Architecture, int]) -> dict[str, list[Any]]:
    bounds = [_ends(check) for check in checks]
    return {
        "of": [places[check.architecture] for check in checks],
        "x": [check.predicted.mean for check in checks],
        "xLow": [low for low, _ in bounds],
        "xHigh": [high for _, high in bounds],
        "y": [check.measured.median for check in checks],
        "yLow": [check.measured.interval.lower for check in checks],
        "yHigh": [check.measured.interval.upper for check in checks],
    }


def _ends(check: PredictionCheck) -> tuple[float, float]:
    """Return the bounds that can be drawn. One that is not finite, as predictors of few samples give, is left out."""
    guess = check.predicted
    lower, upper = (bound if math.isfinite(bound) else guess.mean for bound in (guess.lower, guess.upper))
    return lower, upper


def _caption(found: Sequence[PredictionCheck], seen: Sequence[PredictionCheck], words: Wording) -> str:
    caption = words.check_caption
    counted = [check for check in found if check.came_before]
    if counted:
        within_bounds = sum(check.is_within_bounds for check in counted)
        within_10_percent = sum(check.is_within_10_percent for check in counted)
        caption += (
            f" Of {len(counted)} {'point' if len(counted) == 1 else 'points'} {words.predicted_before}, "
            f"{within_bounds} lie within the 90 % bounds and {within_10_percent} within ±10 % of {words.actual_value}."
        )
    if seen:
        which = "1 hollow point, a winner" if len(seen) == 1 else f"{len(seen)} hollow points, winners"
        caption += f" Not counted: {which} that the predictor had been fitted to."
    return caption


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of the values with a margin; a range that begins near zero begins at zero."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if 0 <= low < room else low - room), high + room
