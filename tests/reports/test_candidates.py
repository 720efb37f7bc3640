"""Checks of predictions: which prediction counts for an architecture, and its measurement."""

from __future__ import annotations

from dataclasses import replace

import pytest
from run_record_example import TARGET, architecture_at

from nas.reports.candidates import PredictionCheck, prediction_checks
from nas.space.architecture import Architecture
from nas.values.evaluation import FOR_ANY, Evaluation, Failure, PredictedValue, Stage
from nas.values.measurement import Measurement
from nas.values.metric import METRICS

LATENCY = METRICS["latency_ms"]


def row(
    stage: Stage, size: int, measured: float | None, predicted: float | None = None, **extra: Failure
) -> Evaluation:
    """Return a row with at most one measurement of one sample, and one prediction with bounds of ±20 %."""
    predictions = (
        {}
        if predicted is None
        else {"latency_ms": PredictedValue(predicted, *(share * predicted for share in (0.8, 1.2, 1.15)))}
    )
    measurements = {} if measured is None else {"latency_ms": Measurement("latency_ms", TARGET, ((measured,),))}
    return Evaluation(stage, architecture_at(size), predicted=predictions, measurements=measurements, **extra)


def summary(*rows: Evaluation) -> list[tuple[float, float, bool, bool]]:
    """Return for each check its predicted value, measured value, ``is_winner`` and ``came_before``."""
    checks = prediction_checks(rows, LATENCY)
    return [(c.predicted.mean, c.measured.median, c.is_winner, c.came_before) for c in checks]


def test_candidates_are_checked_once_if_they_were_predicted_first() -> None:
    """Without a predictor there is nothing to check, and later predictors were fitted to the measurement."""
    rows = (
        row("measure", 1, 1.0),
        row("measure", 2, 2.0, 2.1),
        row("measure", 2, 2.2, 2.2),
        row("train", 3, None, 3.0),
    )
    assert summary(*rows) == [(2.1, 2.2, False, True)]


def test_a_winner_is_checked_once_by_its_first_prediction_and_its_last_measurement() -> None:
    """Predictors are refitted to a candidate's own measurement, so that its winner row's prediction is no test."""
    first = row("measure", 1, 1.0, 1.3)
    assert summary(first, row("winner", 1, 1.1, 1.0), row("winner", 1, 1.2, 1.1)) == [(1.3, 1.2, True, True)]
    assert summary(row("winner", 1, 1.1, 1.0)) == [(1.0, 1.1, True, True)]


def test_a_winner_that_was_measured_before_any_predictor_is_marked() -> None:
    """Its prediction comes from a predictor that was fitted to its measurement."""
    assert summary(row("measure", 1, 1.0), row("winner", 1, 1.1, 1.05)) == [(1.05, 1.1, True, False)]


def test_networks_that_differ_only_in_training_are_checked_once() -> None:
    """The measurement of one is that of all: a later prediction for a winner that was trained otherwise is no test."""
    network, shared = architecture_at(1), {FOR_ANY: ["rate"]}
    first, second = (Architecture({**network, "rate": rate}) for rate in (0.1, 0.2))
    measured = replace(row("measure", 1, 1.0), architecture=first, details=shared)
    winner = replace(row("winner", 1, 1.1, 1.05), architecture=second)
    assert summary(measured, winner) == [(1.05, 1.1, True, False)]
    predicted = replace(row("measure", 1, 1.0, 1.3), architecture=first, details=shared)
    assert summary(predicted, winner) == [(1.3, 1.1, True, True)]


def test_failed_rows_are_left_out() -> None:
    """An architecture that failed as a winner counts as a candidate."""
    failure = Failure("timeout", "no answer in 60 s")
    rows = (
        row("measure", 2, None, failure=failure),
        row("measure", 1, 1.0, 1.3),
        row("winner", 1, None, failure=failure),
    )
    assert summary(*rows) == [(1.3, 1.0, False, True)]


@pytest.mark.parametrize(
    ("mean", "lower", "upper", "is_within_bounds", "is_within_10_percent"),
    [
        (2.19, 2.0, 2.4, True, True),
        (2.3, 1.9, 2.6, True, False),
        (1.9, 1.7, 1.99, False, True),
        (3, 2.5, 4, False, False),
    ],
)
def test_bounds_and_ten_percent(
    mean: float, lower: float, upper: float, is_within_bounds: bool, is_within_10_percent: bool
) -> None:
    """Bounds are inclusive, and ten per cent refer to the measured 2 ms."""
    measured = Measurement("latency_ms", TARGET, ((2.0,),))
    check = PredictionCheck(architecture_at(1), PredictedValue(mean, lower, upper, upper), measured, False, True)
    assert (check.is_within_bounds, check.is_within_10_percent) == (is_within_bounds, is_within_10_percent)
