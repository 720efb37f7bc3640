"""Candidates that share a training and differ in their precision."""

from __future__ import annotations

from typing import Any

import pytest
from made_up_beliefs import beliefs_of
from quick_runs import OneChoice

from nas.searching.evaluating.siblings import rows_of_training
from nas.searching.selection import judged
from nas.searching.winners.luck import tried
from nas.space.architecture import Architecture
from nas.space.parts.candidate import PRECISION
from nas.space.parts.device_parts import with_precisions
from nas.values.evaluation import BY_FOLDS, FITTED, Evaluation

BEFORE = {"error": 0.10, "log_loss": 0.5}
FOLDS = {"error": 0.20, "log_loss": 0.7, "standard_error": 0.01}


def rows(in_int8: dict[str, Any], **details: Any) -> list[Evaluation]:
    """Return the rows of a training in fp32 and in int8."""
    beliefs = beliefs_of(space=with_precisions(OneChoice(), ("fp32", "int8")))
    architecture = Architecture({"width": 4, PRECISION: "fp32"})
    row = Evaluation("train", architecture, values=BEFORE, details={"epochs": 1, **details})
    return rows_of_training(beliefs, row, {"by_precision": {"int8": in_int8}})


@pytest.mark.parametrize(("error", "by_folds"), [(0.13, 0.23), (0.10, 0.20), (0.0, 0.10)])
def test_folds_judge_a_simple_model_in_each_precision(error: float, by_folds: float) -> None:
    """In int8 it differs from its weights in fp32 by as much as on the validation items."""
    plain, in_int8 = rows({"error": error, "log_loss": 0.4}, **{FITTED: True, BY_FOLDS: FOLDS})
    assert plain.details[BY_FOLDS] == FOLDS
    assert in_int8.is_fitted
    assert in_int8.values["error"] == error
    assert in_int8.details[BY_FOLDS] == pytest.approx({"error": by_folds, "log_loss": 0.6, "standard_error": 0.01})


def test_no_error_by_folds_is_below_zero() -> None:
    _, in_int8 = rows({"error": 0.0}, **{FITTED: True, BY_FOLDS: {"error": 0.04, "standard_error": 0.01}})
    assert in_int8.details[BY_FOLDS] == {"error": 0.0, "standard_error": 0.01}


def test_the_front_and_the_best_winner_go_by_folds_in_both_precisions() -> None:
    """None of them counts as one that validation items alone have judged."""
    made = rows({"error": 0.13}, **{FITTED: True, BY_FOLDS: FOLDS})
    beliefs = beliefs_of(space=with_precisions(OneChoice(), ("fp32", "int8")), rows=made)
    assert [row.values["error"] for row in judged(beliefs)] == pytest.approx([0.20, 0.23])
    assert tried(beliefs) == 0


def test_a_tuned_model_is_fitted_in_no_precision() -> None:
    assert [row.is_fitted for row in rows({"error": 0.13})] == [False, False]
