"""The comparison of fp32 alone with precision as a choice: its hypervolumes, and what it counts of winners."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.precision_study import Compared, candidate_points, recipe_of, relative_hypervolume, table_of
from nas.results.run import Run
from nas.space.architecture import Architecture
from nas.values.evaluation import TRAINED_AS, Evaluation, PredictedValue
from nas.values.measurement import Measurement


def test_hypervolumes_are_relative() -> None:
    """The same front is 100 %, and a point that adds to it is more; dominated points change nothing."""
    alone = [(0.1, 2.0), (0.2, 1.0)]
    assert relative_hypervolume(alone, alone) == 1
    assert relative_hypervolume([*alone, (0.3, 3.0)], alone) == 1
    # Below the reference (0.22, 2.2), two steps of 0.1 × 0.2 and 0.02 × 1.2 become one rectangle of 0.12 × 1.2.
    assert relative_hypervolume([*alone, (0.1, 1.0)], alone) == pytest.approx(0.144 / 0.044)


def test_candidates_have_their_best_known_latency() -> None:
    """A measured latency comes before a predicted one; a precision selects."""
    plain, small = ({"width": 2, "precision": name} for name in ("fp32", "int8"))
    guess = {"latency_ms": PredictedValue(3.0, 2.0, 4.0, 4.0)}
    rows = (
        Evaluation(
            "measure", Architecture(plain), measurements={"latency_ms": Measurement("latency_ms", "t", ((1.0,),))}
        ),
        Evaluation("train", Architecture(plain), values={"error": 0.1}, predicted=guess),
        Evaluation("train", Architecture(small), values={"error": 0.2}, predicted=guess, details={TRAINED_AS: "a"}),
    )
    run = Run("r", "", (), (), "t", rows, (), run_folder=Path("r"))
    assert candidate_points(run) == [(0.1, 1.0), (0.2, 3.0)]
    assert candidate_points(run, "int8") == [(0.2, 3.0)]


def test_both_searches_differ_in_their_precisions_alone() -> None:
    """So they have the same trainings to spend."""
    alone, chosen = (recipe_of("openvino-cpu", 1, 5, names, "mobilenet", "digits") for names in ((), ("fp32", "int8")))
    assert set(chosen.differences(alone)) == {"name", "precisions"}


def test_the_table_names_what_is_marked() -> None:
    *_, row = table_of([Compared("onnxruntime-cpu", 0, 8, 1.01, 1.02, 0.99, 3, 2, 2, 9.0, 8.0)])
    assert row == "| onnxruntime-cpu | 0 | 8 | 101.0 % | 102.0 % | 99.0 % | 3 | 2, 2 marked |"
