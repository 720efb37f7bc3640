"""What the rows say about each trained architecture, and of each prediction that was put to the test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation, PredictedValue
from nas.values.measurement import Measurement
from nas.values.metric import Metric

OUTSIDE = "outside what the predictor knows"
"""Said of an architecture that is unlike all that were measured."""
BY = {"supernet": "by shared weights", "zero-cost": "by a zero-cost score"}
"""What is said of an error that was not found by training."""


def ways_of(rows: Sequence[Evaluation]) -> list[str]:
    """How candidates came by their errors where it was not by training, in words."""
    return list(dict.fromkeys(BY[row.by] for row in rows if row.stage == "train" and row.by in BY))


@dataclass(frozen=True)
class Candidate:
    """A finished or stopped training, with what was measured and predicted of its architecture.

    ``by`` says in words how the error was found where it was not by training.
    """

    architecture: Architecture
    error: float
    round: int
    stopped: bool
    predicted: Mapping[str, PredictedValue]
    measurements: Mapping[str, Measurement]
    values: Mapping[str, float]
    by: str = ""


def candidates_of(rows: Sequence[Evaluation]) -> list[Candidate]:
    """One candidate for each architecture whose last training did not fail, in the order of training."""
    measured: dict[Architecture, dict[str, Measurement]] = {}
    for row in rows:
        if row.stage in ("measure", "train") and not row.failed:
            measured.setdefault(row.architecture, {}).update(row.measurements)
    trained = {row.architecture: row for row in rows if row.stage == "train"}
    return [
        Candidate(
            architecture=architecture,
            error=float(row.values["error"]),
            round=row.round,
            stopped=not row.reached_full_fidelity,
            predicted=row.predicted,
            measurements=measured.get(architecture, {}),
            values=row.values,
            by=BY.get(row.by, ""),
        )
        for architecture, row in trained.items()
        if not row.failed and math.isfinite(row.values.get("error", math.nan))
    ]


@dataclass(frozen=True)
class PredictionCheck:
    """What was predicted of one architecture, and what was measured; of a winner, at the end.

    ``came_before`` says whether the prediction was made before the architecture was first measured. Predictors
    are fitted to all that was measured, so that any other prediction puts nothing to the test.
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
        return abs(self.predicted.mean - self.measured.median) / self.measured.median <= 0.1


def prediction_checks(rows: Sequence[Evaluation], metric: Metric) -> list[PredictionCheck]:
    """One check for each architecture with a prediction of ``metric``, in the order of first measuring.

    The prediction is the one made before the first measuring. A winner for which there was none yet, as no
    predictor had been fitted, has the one beside its last measuring; other candidates have no check then.
    """
    first: dict[Architecture, Evaluation] = {}
    for row in rows:
        if row.stage in ("measure", "winner") and not row.failed and metric.name in row.measurements:
            first.setdefault(row.architecture, row)
    winners = {row.architecture: row for row in rows if row.stage == "winner"}
    checks = []
    for architecture, earliest in first.items():
        last = winners.get(architecture)
        is_winner = last is not None and not last.failed and metric.name in last.measurements
        final = last if last is not None and is_winner else earliest
        came_before = metric.name in earliest.predicted
        predicted = (earliest if came_before else final).predicted.get(metric.name)
        if predicted is not None:
            measured = final.measurements[metric.name]
            checks.append(PredictionCheck(architecture, predicted, measured, is_winner, came_before))
    return checks
