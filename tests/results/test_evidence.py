"""What the search knew of a winner is told only if it is about the model that is shipped."""

from __future__ import annotations

from typing import Any

import pytest

from nas.results.evidence import folds_of_winner, is_fitted_winner, searched_of
from nas.space.architecture import Architecture
from nas.values.evaluation import AS_TRAINED, BY_FOLDS, FITTED, TESTED_PER_VALIDATED, Evaluation, Failure

A = Architecture({"width": 4})
JUDGED = {"error": 0.25, "standard_error": 0.01}
WINNER = Evaluation("winner", A, details={TESTED_PER_VALIDATED: 1.0})


def trained(**details: Any) -> Evaluation:
    return Evaluation("train", A, 1, values={"error": 0.2}, details={"epochs": 2, **details})


def retrained(**details: Any) -> Evaluation:
    return Evaluation("retrain", A, details=details)


HEAD = trained(epochs=1, **{FITTED: True, BY_FOLDS: JUDGED})


def test_a_head_that_was_fitted_again_is_the_one_that_was_judged() -> None:
    rows = [HEAD, retrained(epochs=1, **{FITTED: True}), WINNER]
    assert is_fitted_winner(rows)
    assert searched_of(WINNER, rows) == {"error": 0.2}
    assert folds_of_winner(rows) == JUDGED


def test_a_head_that_was_tuned_later_is_another_model() -> None:
    """All of its network was tuned for twenty epochs, and folds judged the head alone."""
    rows = [HEAD, retrained(epochs=1, **{FITTED: True}), WINNER, retrained(epochs=20, retraining=1), WINNER]
    assert not is_fitted_winner(rows)
    assert searched_of(WINNER, rows) == {}
    assert folds_of_winner(rows) == {}


@pytest.mark.parametrize(
    ("retraining", "is_told"),
    [({"epochs": 4}, True), ({"epochs": 5}, False), ({"epochs": 5, "start": AS_TRAINED}, True), ({"epochs": 0}, False)],
)
def test_what_was_tuned_for_more_than_twice_as_long_is_another_model(retraining: dict[str, Any], is_told: bool) -> None:
    assert bool(searched_of(WINNER, [trained(), retrained(**retraining), WINNER])) is is_told


def test_a_retraining_that_failed_changes_nothing() -> None:
    failed = Evaluation("retrain", A, failure=Failure("memory", "none was left"))
    rows = [HEAD, retrained(epochs=1, **{FITTED: True}), WINNER, failed]
    assert is_fitted_winner(rows)
    assert searched_of(WINNER, rows) == {"error": 0.2}
