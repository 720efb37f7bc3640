"""Candidates with their measured and predicted values, and checks of predictions against measurements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.error_words import ErrorWords
from nas.values.evaluation import FOR_ANY, Evaluation, PredictedValue
from nas.values.measurement import Measurement
from nas.values.metric import Metric
from nas.values.objective import Limit

OUTSIDE = "unlike the predictor's samples"
"""The remark on a prediction for an architecture that is unlike all architectures that the predictor was fitted to."""
BY = {"supernet": "by shared weights", "zero-cost": "by a zero-cost score"}
"""The origin of an error that does not come from training, by the name that rows have for it."""


def ways_of(rows: Sequence[Evaluation]) -> list[str]:
    """Return the distinct origins of candidates' errors that do not come from training, in words."""
    return list(dict.fromkeys(BY[row.by] for row in rows if row.stage == "train" and row.by in BY))


def choices_of_training(rows: Iterable[Evaluation]) -> frozenset[str]:
    """Return the names of the choices on which measurements do not depend."""
    return frozenset(name for row in rows for name in row.details.get(FOR_ANY, ()))


@dataclass(frozen=True)
class Candidate:
    """One architecture with an error, and with its measured and predicted values.

    ``by`` names the origin of an error that does not come from training; it is empty for a training.
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
    """Return one candidate for each architecture whose last training did not fail, in the order of training."""
    measured: dict[Architecture, dict[str, Measurement]] = {}
    shared = choices_of_training(rows)
    for row in rows:
        if row.stage in ("measure", "train") and not row.failed:
            measured.setdefault(row.architecture.without(shared), {}).update(row.measurements)
    trained = {row.architecture: row for row in rows if row.stage == "train"}
    return [
        Candidate(
            architecture=architecture,
            error=float(row.values["error"]),
            round=row.round,
            stopped=not row.reached_full_fidelity,
            predicted=row.predicted,
            measurements=measured.get(architecture.without(shared), {}),
            values=row.values,
            by=BY.get(row.by, ""),
        )
        for architecture, row in trained.items()
        if not row.failed and math.isfinite(row.values.get("error", math.nan))
    ]


@dataclass(frozen=True)
class QualityAxis:
    """The vertical axis of plots: the first trained objective, or else the error, in per cent where it is a share."""

    metric: Metric
    words: ErrorWords

    @property
    def title(self) -> str:
        """The title of the axis."""
        return self.words.error_title if self.is_error else self.metric.title

    @property
    def suffix(self) -> str:
        """The unit behind each number."""
        return " %" if self.is_share else f" {self.metric.unit}".rstrip()

    @property
    def is_share(self) -> bool:
        """True if values are shown as per cent."""
        return self.words.is_share if self.is_error else self.metric.is_share

    @property
    def is_error(self) -> bool:
        """True if it is the task's error, which has a name of its own."""
        return self.metric.name == "error"

    def scaled(self, value: float) -> float:
        """Return a value as the axis shows it."""
        return 100 * value if self.is_share else value

    def bounds(self, limits: Iterable[Limit]) -> list[float]:
        """Return the places of limits on the axis."""
        return [self.scaled(limit.value) for limit in limits]

    def value(self, candidate: Candidate) -> float:
        """Return a candidate's place on the axis; NaN if it has no value."""
        return self.scaled(candidate.error if self.is_error else candidate.values.get(self.metric.name, math.nan))

    def estimate(self, winner: Winner) -> tuple[float, tuple[float, float]]:
        """Return a winner's place on the axis, and the ends of its interval; NaN if it has no value."""
        if not winner.has(self.metric.name):
            return math.nan, (math.nan, math.nan)
        found = winner.estimate(self.metric.name)
        return self.scaled(found.value), (self.scaled(found.interval.lower), self.scaled(found.interval.upper))


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
        return abs(self.predicted.mean - self.measured.median) / self.measured.median <= 0.1


def prediction_checks(rows: Sequence[Evaluation], metric: Metric) -> list[PredictionCheck]:
    """Return one check for each architecture with a prediction of ``metric``, in the order of first measurements.

    Architectures that differ only in choices of training share one, with the measurement of the last winner.
    A check holds the prediction that was made before the first measurement. An architecture that was measured before
    any predictor was fitted has none: a winner then has the prediction of its final row, and a candidate has no check.
    """
    shared = choices_of_training(rows)
    first: dict[Architecture, Evaluation] = {}
    for row in rows:
        if row.stage in ("measure", "winner") and not row.failed and metric.name in row.measurements:
            first.setdefault(row.architecture.without(shared), row)
    winners = {
        row.architecture.without(shared): row
        for row in rows
        if row.stage == "winner" and not row.failed and metric.name in row.measurements
    }
    checks = []
    for part, earliest in first.items():
        last = winners.get(part)
        is_winner, final = last is not None, last or earliest
        came_before = metric.name in earliest.predicted
        predicted = (earliest if came_before else final).predicted.get(metric.name)
        if predicted is not None:
            measured = final.measurements[metric.name]
            checks.append(PredictionCheck(final.architecture, predicted, measured, is_winner, came_before))
    return checks
