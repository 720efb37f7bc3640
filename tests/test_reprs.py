"""Whatever is printed by default is at most a screen: 24 lines of 80 characters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_record_example import example_record

import nas

SCREEN = 24 * 80
LONG = nas.Architecture({f"block{number}.operator": "inverted residual " * 20 for number in range(100)})


def long_measurement() -> nas.Measurement:
    rounds = tuple(tuple(1.0 + 0.01 * number + 0.001 * sample for sample in range(200)) for number in range(15))
    conditions = {f"condition {number}": "x" * 100 for number in range(30)}
    return nas.Measurement("latency_ms", "onnxruntime-cpu:fp32:batch=1:threads=1", rounds, conditions, ("busy",) * 9)


def long_evaluation() -> nas.Evaluation:
    return nas.Evaluation(
        "train",
        LONG,
        values={"error": 0.1, "params": 1e6},
        measurements={"latency_ms": long_measurement()},
        predicted={"latency_ms": nas.PredictedValue(1.0, 0.9, 1.1, 1.1)},
        details={"curve": [0.1] * 1000},
        failure=nas.Failure("nan", "the loss became NaN " * 100),
    )


def long_run() -> nas.Run:
    record = example_record()
    winners = [row for row in record.rows if row.stage == "winner"]
    more = [replace(winners[0], architecture=nas.Architecture({**LONG, "n": n})) for n in range(300)]
    return replace(record, rows=(*record.rows, *more))


def long_table() -> nas.Table:
    architectures = tuple(nas.Architecture({"a": number}) for number in range(15_625))
    columns = {f"latency_ms_device{number}": np.arange(15_625.0) for number in range(40)}
    return nas.Table(Path("table.csv"), architectures, columns, {})


LARGE: dict[str, Callable[[], Any]] = {
    "architecture": lambda: LONG,
    "measurement": long_measurement,
    "evaluation": long_evaluation,
    "run": long_run,
    "front": lambda: long_run().front,
    "winner": lambda: long_run().front[4],
    "table": long_table,
    "recipe": lambda: nas.Recipe(limits=["latency_ms <= 1ms"], trials=12),
    "data": lambda: nas.load_data("digits"),
    "split": lambda: nas.load_data("digits").train,
    "prediction": lambda: nas.Prediction(*(np.linspace(1, 2, 900),) * 4, np.ones(900, dtype=bool)),
    "held out": lambda: nas.HeldOut(*(np.linspace(1, 2, 900),) * 4),
    "proposal": lambda: nas.Proposal(LONG, [(LONG, None)] * 400),  # type: ignore[list-item]
    "space": lambda: nas.load_space("mobilenet", input_shape=(1, 8, 8), classes=10),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE.keys())
def test_a_large_object_prints_on_a_screen(make: Callable[[], Any]) -> None:
    for text in (repr(made := make()), str(made)):
        assert len(text) <= SCREEN
        assert len(text.splitlines()) <= 24


def test_reprs_tell_what_matters() -> None:
    """A measurement its median and interval, a failed row its reason, a recipe what is not a default."""
    assert repr(long_measurement()).startswith("Measurement latency_ms 1.17 ms (")
    assert "15 sessions on onnxruntime-cpu:fp32:batch=1:threads=1, 9 doubts" in repr(long_measurement())
    assert "failed: nan, the loss became NaN" in repr(long_evaluation())
    assert "error 10.00 %" in repr(long_evaluation())
    recipe = repr(nas.Recipe(limits=["latency_ms <= 1ms"], trials=12, training={"epochs": 4}))
    assert recipe.startswith("Recipe(target='onnxruntime-cpu:fp32:batch=1:threads=1', limits=(")
    assert "trials=12" in recipe
    assert recipe.endswith("training=TrainingRecipe(epochs=4))")
    assert "execution" not in recipe
    assert "1×8×8, 10 classes" in repr(nas.load_data("digits"))
    assert repr(long_table()).startswith("Table table.csv: 15,625 architectures, columns latency_ms_device0, ")


def test_no_public_class_prints_an_array_or_a_collection_by_default() -> None:
    """A data class whose fields may be large has a ``repr`` of its own."""
    large = ("Array", "Mapping[", "Sequence[", "tuple[Evaluation", "tuple[Architecture", "dict[", "list[", "bytes")
    small = {
        "Beforehand",
        "Choice", "Deployed", "EarlyStopping", "Environment", "Failure", "Fit", "Given", "Layer", "Limit", "Metric",
        "Objective", "PredictedValue", "RungTrust", "Target", "Timing", "Told", "TrainingSettings", "Verdict",
    }  # fmt: skip
    for name in nas.__all__:
        found = getattr(nas, name)
        if isinstance(found, type) and dataclasses.is_dataclass(found) and name not in small:
            fields = [each for each in dataclasses.fields(found) if each.repr]
            has_large = any(part in str(each.type) for each in fields for part in large)
            assert not has_large or ("__repr__" in vars(found) and not hasattr(found.__repr__, "__wrapped__")), name
