"""Fronts of winners with what their searches knew of them: by validation items, and of simple models by folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from run_record_example import architecture_at

from nas.results.front import Front, front_of
from nas.values.comparison import Z95
from nas.values.evaluation import BY_FOLDS, FITTED, TESTED_PER_VALIDATED, Evaluation
from nas.values.measurement import Measurement
from nas.values.objective import Objective

HALF_WIDTH = 0.02 * Z95
"""The half-width of the interval of each test error, which is two standard errors of 0.02."""


def rows_of(number: int, test: float, searched: dict[str, float], epochs: int = 4, **details: Any) -> list[Evaluation]:
    """Return the rows of a winner: its training, and its test on as many items as validated it."""
    architecture = architecture_at(number)
    tested = {
        "test_error": test,
        "test_interval": [test - HALF_WIDTH, test + HALF_WIDTH],
        "folder": f"winners/{number}",
        TESTED_PER_VALIDATED: 1.0,
    }
    latency = Measurement("latency_ms", "cpu", ((1.0 + number,), (1.0 + number,)))
    return [
        Evaluation("train", architecture, values=searched, details={"epochs": 4, "subset": 0.5, **details}),
        Evaluation("retrain", architecture, details={"epochs": epochs, **details}),
        Evaluation("winner", architecture, measurements={"latency_ms": latency}, details=tested),
    ]


def front(*winners: list[Evaluation]) -> Front:
    return front_of([row for rows in winners for row in rows], (Objective.parse("error"),), (), Path("runs/x"))


def simple(number: int, test: float, validation: float, folds: float) -> list[Evaluation]:
    return rows_of(
        number, test, {"error": validation}, **{FITTED: True, BY_FOLDS: {"error": folds, "standard_error": 0.01}}
    )
