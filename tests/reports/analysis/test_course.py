"""How a search went: its hypervolume, rounds, what was turned away, and what cannot be said."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from made_rows import failed, made_run, measured, trained
from run_record_example import energy_record, example_record

from nas.reports.analysis.architecture_values import known_of
from nas.reports.analysis.course import course_of
from nas.results.run import Run
from nas.results.timeline import Timeline
from nas.storage.journal_rows import Cost, TurnedAway


def course(run: Run, reference: Any = None) -> dict[str, Any]:
    return course_of(run, known_of(run.records), reference)


ROWS = [
    measured({"n": 1}, latency_ms=3.0),
    trained({"n": 1}, 0.1, 1),
    failed({"n": 9}, 1),
    trained({"n": 2}, 0.2, 1, predicted={"latency_ms": 2.0}),
    trained({"n": 3}, 0.5, 2, details={"stopped_early": True, "epochs": 1}),
    trained({"n": 4}, 0.3, 2),
    measured({"n": 4}, latency_ms=1.0, number=2),
]
REFERENCE = np.array([0.4, 4.0])


def test_hypervolume_of_a_search_by_hand() -> None:
    """Boxes of 0.3 × 1, then 0.2 × 1 more, then 0.1 × 1 more: a half, five sixths and all of it."""
    found = course(made_run(ROWS), REFERENCE)["hypervolume"]
    assert found["volume"] == pytest.approx(0.6)
    assert found["n"] == [1, 3, 5]
    assert found["share"] == pytest.approx([3 / 6, 5 / 6, 1], abs=1e-6)
    assert found["reference_text"] == "error 40.00 %, latency 4 ms"
    assert "A cost of 1 of 5 evaluations is only predicted." in found["sentences"][2]


def test_time_counts_where_the_journal_tells_it() -> None:
    timeline = Timeline(seconds=(1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 14.0), rounds=((1, 6.0), (2, 15.0)))
    found = course(made_run(ROWS, timeline=timeline), REFERENCE)
    assert found["clock"] == "search"
    assert found["hypervolume"]["seconds"] == [2.0, 5.0, 13.0]
    assert found["hypervolume"]["random"]["seconds"] == [2.0, 3.0, 5.0, 8.0, 13.0]
    assert course(made_run(ROWS))["clock"] == ""


def test_a_table_counts_the_time_that_it_gives() -> None:
    rows = [trained({"n": n}, 0.1 * n, details={"seconds": 10.0}, params=9.0 - n) for n in range(1, 4)]
    found = course(made_run(rows, objectives=("error", "params"), table="bench.csv.gz"))
    assert found["clock"] == "simulated training"
    assert found["hypervolume"]["seconds"] == [10.0, 20.0, 30.0]


def test_the_time_that_a_table_gives_is_no_cost() -> None:
    """Nothing was trained, so that the run took the time of looking up alone."""
    timeline = Timeline(costs=(Cost(2.0, 0.0, None, "no counter"),))
    rows = [trained({"n": n}, 0.1 * n, details={"seconds": 1000.0}) for n in range(1, 4)]
    told = [course(made_run(rows, table=table, timeline=timeline))["cost"] for table in (None, "bench.csv.gz")]
    assert [each["training_s"] for each in told] == [3000, 0]
    assert ["Time of training, all workers added" in dict(each["facts"]) for each in told] == [True, False]


def test_random_search_is_an_estimate_and_says_what_biases_it() -> None:
    found = course(made_run(ROWS), REFERENCE)["hypervolume"]["random"]
    assert found["n"] == [1, 2, 3, 4, 5]
    assert all(
        low <= mean <= high for low, mean, high in zip(found["lower"], found["mean"], found["upper"], strict=True)
    )
    assert found["mean"] == sorted(found["mean"])
    assert not found["weighted"]
    told = " ".join(found["sentences"])
    assert "estimate" in told
    assert "would probably have had less" in told


def test_rounds_by_hand() -> None:
    away = (TurnedAway(1, {"latency_ms <= 5": 7}), TurnedAway(2, {"latency_ms <= 5": 2}))
    run = made_run(ROWS, limits=["latency_ms<=5ms"], timeline=Timeline(turned_away=away))
    found = course(run, REFERENCE)
    keys = ("round", "trained", "whole", "stopped", "failed", "measured", "turned_away", "best_text")
    assert [tuple(each[key] for key in keys) for each in found["rounds"]] == [
        (0, 0, 0, 0, 0, 1, 0, ""),
        (1, 3, 2, 0, 1, 0, 7, "10.00 %"),
        (2, 2, 1, 1, 0, 1, 2, "10.00 %"),
    ]
    assert [each["share"] for each in found["rounds"]] == pytest.approx([0, 5 / 6, 1], abs=1e-6)
    assert found["turned_away"]["reasons"] == [{"reason": "latency_ms <= 5ms", "count": 9, "share": 1.0}]
    assert found["failures"][0]["kind"] == "nan"


def test_only_what_meets_the_limits_counts() -> None:
    found = course(made_run(ROWS, limits=["latency_ms<=1.5ms"]))
    assert (found["evaluations"], found["within_limits"]) == (5, 1)
    assert found["hypervolume"]["n"] == [5]


@pytest.mark.parametrize(
    ("rows", "limits", "words"),
    [
        ([], [], "Nothing has been evaluated yet"),
        ([failed({"n": 1})], [], "None of 1 evaluations ran to its end"),
        (ROWS, ["latency_ms<=1us"], "None of 3 whole evaluations meets latency_ms <= 1us"),
        ([trained({"n": 1}, 0.1)], [], "None of 1 whole evaluations has a value of each objective"),
    ],
)
def test_what_cannot_be_said_is_said_in_a_sentence(rows: list[Any], limits: list[str], words: str) -> None:
    found = course(made_run(rows, limits=limits))
    assert not found["hypervolume"]["known"]
    assert words in found["hypervolume"]["sentences"][0]


@pytest.mark.parametrize("objectives", [("error",), ("error", "latency_ms", "params", "macs")])
def test_one_objective_and_four(objectives: tuple[str, ...]) -> None:
    rows = [
        trained({"n": n}, 0.05 * (9 - n), params=10.0 * n, macs=5.0 * n, predicted={"latency_ms": float(n)})
        for n in range(1, 9)
    ]
    found = course(made_run(rows, objectives=objectives))["hypervolume"]
    assert found["known"]
    assert found["share"][-1] == 1


@pytest.mark.parametrize("make", [example_record, energy_record])
def test_examples_are_plain_data(make: Any) -> None:
    assert json.loads(json.dumps(course(make()), allow_nan=False))["evaluations"] > 0
