"""Where candidates' errors come from, and checks of predictions against measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation, PredictedValue
from nas.values.indexed_rows import IndexedRows
from nas.values.measurement import Measurement
from nas.values.metric import Metric

OUTSIDE = "unlike the predictor's samples"
"""The remark on a prediction for an architecture that is unlike all architectures that the predictor was fitted to."""
BY = {"supernet": "by shared weights", "zero-cost": "by a zero-cost score"}
"""The origin of an error that does not come from training, by the name that rows have for it."""


def ways_of(rows: Sequence[Evaluation]) -> list[str]:
    """Return the distinct origins of candidates' errors that do not come from training, in words."""
    return list(dict.fromkeys(BY[row.by] for row in rows if row.stage == "train" and row.by in BY))


def estimated_text(rows: Sequence[Evaluation], of: str = "") -> str:
    """Return a sentence about candidates, ``of`` a run, whose errors do not come from training; empty without any."""
    ways = " or ".join(ways_of(rows))
    return f"Candidates{of and f' of {of}'} were not trained: their errors were estimated {ways}." if ways else ""


@dataclass(frozen=True)
class PredictionCheck:
    """One architecture's predicted value beside its measured value; for a winner, its final measurement.

    ``came_before`` is True if the prediction was made before the architecture was first measured. Only such a
    prediction is a test, because predictors are fitted to all measurements.
    """

    architecture: Architecture
    predicted: PredictedValue
    measured: Measurement
    is_winner: bool
    came_before: bool

    @property
    def is_within_bounds(self) -> bool:
        return self.predicted.lower <= self.measured.median <= self.predicted.upper

    @property
    def is_within_10_percent(self) -> bool:
        return abs(self.predicted.mean - self.measured.median) <= 0.1 * abs(self.measured.median)


def prediction_checks(rows: Sequence[Evaluation] | IndexedRows, metric: Metric) -> list[PredictionCheck]:
    """Return one check for each architecture with a prediction of ``metric``, in the order of first measurements.

    Architectures that differ only in choices of training share one, with what records hold as their measurement.
    A check holds the prediction that was made before the first measurement. An architecture that was measured before
    any predictor was fitted has none: a winner then has the prediction of its final row, and a candidate has no check.
    """
    indexed = IndexedRows.of(rows)
    first: dict[Architecture, Evaluation] = {}
    winners: dict[Architecture, Evaluation] = {}
    for row in indexed.rows:
        if row.stage in ("measure", "winner") and not row.failed and metric.name in row.measurements:
            first.setdefault(indexed.part(row.architecture), row)
            if row.stage == "winner":
                winners[indexed.part(row.architecture)] = row
    checks = []
    for part, earliest in first.items():
        last = winners.get(part)
        is_winner, final = last is not None, last or earliest
        came_before = metric.name in earliest.predicted
        predicted = (earliest if came_before else final).predicted.get(metric.name)
        if predicted is not None:
            found = indexed.measurements_of(final.architecture)[metric.name]
            checks.append(PredictionCheck(final.architecture, predicted, found, is_winner, came_before))
    return checks
