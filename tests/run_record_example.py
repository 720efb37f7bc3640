"""A realistic run for tests of the front, the report and the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nas.results.run import Run
from nas.results.search_cost import total_cost
from nas.space.architecture import Architecture
from nas.storage.journal_rows import Cost, Fit
from nas.values.evaluation import Evaluation, Failure, PredictedValue
from nas.values.held_out import HeldOutError
from nas.values.layer_times import LayerTime, LayerTimes
from nas.values.measurement import Measurement
from nas.values.objective import Limit, Objective

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"
NOT_GOOD_ENOUGH = "The latency predictor is not good enough for latency ≤ 0.5 ms: its bounds are wide."
COSTS = ("latency_ms", "params", "macs", "modelled_energy_mj")
RECIPE = """\
name = "digits"
target = "onnxruntime-cpu:fp32:threads=1"
objectives = ["error", "latency_ms"]
limits = ["latency_ms <= 0.5ms"]

[search]
trainings = 36
rounds = 3
"""


LAYERS = LayerTimes.of([LayerTime(f"/stage{k}/Conv", "Conv", 0.01 * (k % 7 + 1)) for k in range(45)]).shortened()
LAYER_DETAILS = (
    {"layer_times": LAYERS.to_json()},
    {"layer_times": LayerTimes.of([LayerTime("stem", "Conv", 0.06), LayerTime("head", "Gemm", 0.18)]).to_json()},
    {"layer_times": LayerTimes(reason="torch-cpu does not tell how long each operator takes.").to_json()},
    {},
)
"""The latency by layer of each winner: of many operators, of two, of none with a reason, and none as in old runs."""


def architecture_at(size: int, **extra: str | int) -> Architecture:
    """Return an architecture whose cost grows with ``size``."""
    stages = {f"stage{i}.{name}": value for i in range(1, 4) for name, value in _stage(size, i).items()}
    return Architecture({"width": 16 + 4 * size, "resolution": 32, **stages, **extra})


def _stage(size: int, index: int) -> dict[str, str | int]:
    return {
        "depth": 1 + (size + index) % 3,
        "kernel": (3, 5, 7)[(size * index) % 3],
        "op": ("mbconv", "fused")[size % 2],
    }


def measurement_of(name: str, value: float, rng: np.random.Generator, *, flags: Sequence[str] = ()) -> Measurement:
    """Return five rounds of ten samples around ``value``."""
    rounds = tuple(tuple(float(v) for v in value * rng.normal(1, 0.02) * rng.lognormal(0, 0.02, 10)) for _ in range(5))
    conditions = {
        "processor": "Example CPU @ 2.60 GHz",
        "threads": 1,
        "runtime": "onnxruntime 1.32.0",
        "executed_precision": "fp32",
        "batch": 1,
        "input_shape": [1, 1, 32, 32],
        "peak_macs_per_s": 8e11,
        "bandwidth_bytes_per_s": 6e9,
        "pressure": round(float(rng.uniform(0, 0.2)), 3),
        "versions": {"onnx": "1.21.0", "numpy": "2.3.1"},
        "executed_operators": {"Gemm": 1, "Conv": 6},
    }
    return Measurement(name, TARGET, rounds, conditions, tuple(flags))


def example_record(
    objectives: Sequence[str] = ("error", "latency_ms"),
    limits: Sequence[str] = ("latency_ms <= 0.5ms",),
    *,
    name: str = "digits",
    with_winners: bool = True,
) -> Run:
    """Return a run of three rounds with measured, predicted, stopped and failed candidates, and four winners."""
    rng = np.random.default_rng(7)
    rows: list[Evaluation] = []
    for number in range(36):
        rows += _candidate_rows(number, rng)
    if with_winners:
        for rank, size in enumerate((2, 5, 9, 12)):
            rows += _winner_rows(rank, size, rng)
    fits = tuple(
        Fit(
            r,
            "latency_ms",
            HeldOutError(
                samples=n,
                mape=0.09 - 0.02 * r,
                spearman=0.93 + 0.02 * r,
                kendall=0.81 + 0.03 * r,
                within_5_percent=0.4 + 0.1 * r,
                within_10_percent=0.7 + 0.1 * r,
                coverage=0.88 + 0.02 * r,
                width=0.4 - 0.1 * r,
            ),
            (NOT_GOOD_ENOUGH,) if r == 0 else (),
        )
        for r, n in enumerate((12, 18, 24))
    )
    notes = {
        "data set": "digits",
        "images": {"train": 1200, "validation": 300, "test": 297},
        "seconds": {"measure": 42.1, "train": 611.0, "retrain": 240.5, "winner": 31.0},
        "versions": {"nas": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
    }
    return Run(
        name=name,
        recipe_text=RECIPE,
        objectives=tuple(Objective.parse(text) for text in objectives),
        limits=tuple(Limit.parse(text) for text in limits),
        target=TARGET,
        rows=tuple(rows),
        fits=fits,
        run_folder=Path("runs/digits"),
        notes=notes,
    )


def energy_record() -> Run:
    """Return a run that minimised measured and modelled energy on an int8 target, with a carbon intensity.

    Deployment cost the winners half a per cent of accuracy. Some candidates were measured in an earlier run.
    """
    rng = np.random.default_rng(8)
    record = example_record(("error", "energy_mj", "modelled_energy_mj"), ("energy_mj <= 20mJ",))
    rows = []
    for number, row in enumerate(record.rows):
        if "latency_ms" not in row.measurements:
            rows.append(row)
            continue
        energy = measurement_of("energy_mj", 20 * row.measurements["latency_ms"].median, rng)
        meter = {"meter": "RAPL package-0", "idle_w": 5.1, "window_s": 2.02, "executed_precision": "int8"}
        energy = replace(energy, conditions={**energy.conditions, **meter})
        latency = row.measurements["latency_ms"]
        latency = replace(latency, conditions={**latency.conditions, "executed_precision": "int8"})
        details = {**row.details, **({"kept": True} if row.stage == "measure" and number < 20 else {})}
        if row.stage == "winner":
            details["exported_test_error"] = row.details["test_error"] - 0.005
        measurements = {**row.measurements, "latency_ms": latency, "energy_mj": energy}
        rows.append(replace(row, measurements=measurements, details=details))
    cost = total_cost([Cost(wall_s=924.0, device_s=61.0, joules=None, meter="only root may read it")], 390)
    return replace(record, rows=tuple(rows), gco2e_per_kwh=390, notes={**record.notes, "cost of the search": cost})


def _latency_ms(size: int) -> float:
    return 0.09 + 0.035 * size


def _values(size: int) -> dict[str, float]:
    return {"params": 4.1e4 * (1 + size), "macs": 2.2e6 * (1 + size) ** 1.3, "modelled_energy_mj": 0.02 + 0.011 * size}


def _prediction(size: int, rng: np.random.Generator) -> PredictedValue:
    mean = _latency_ms(size) * float(rng.normal(1, 0.04))
    return PredictedValue(mean, 0.9 * mean, 1.12 * mean, 1.1 * mean, known=size < 14)


def _candidate_rows(number: int, rng: np.random.Generator) -> list[Evaluation]:
    size = int(rng.integers(0, 16))
    architecture = architecture_at(size, head=number)
    round_number = number // 12
    rows = []
    if number % 3 != 1:
        flags = ("the machine stayed busy: pressure 0.31",) if number == 9 else ()
        measured = {"latency_ms": measurement_of("latency_ms", _latency_ms(size), rng, flags=flags)}
        failure = Failure("measure", "the session could not be created") if number == 6 else None
        rows.append(
            Evaluation("measure", architecture, round_number, measurements={} if failure else measured, failure=failure)
        )
        if failure:
            return rows
    if number % 11 == 10:
        failure = Failure("nan", "the loss became NaN in epoch 2")
        return [*rows, Evaluation("train", architecture, round_number, failure=failure)]
    stopped = number % 4 == 3
    error = 0.02 + 0.1 * math.exp(-size / 4) + float(rng.uniform(0, 0.02)) + (0.25 if stopped else 0)
    details = {"epochs": 4 if stopped else 20, "stopped_early": stopped, "seconds": 8.5, "curve": [0.5, error]}
    predicted = {"latency_ms": _prediction(size, rng)}
    rows.append(
        Evaluation("train", architecture, round_number, {"error": error, **_values(size)}, predicted, details=details)
    )
    return rows


def _winner_rows(rank: int, size: int, rng: np.random.Generator) -> list[Evaluation]:
    architecture = architecture_at(size)
    folder = f"winners/{architecture.id}"
    error = 0.015 + 0.09 * math.exp(-size / 4)
    retrain = Evaluation("retrain", architecture, 3, details={"epochs": 60, "seconds": 60.1, "folder": folder})
    if rank == 3:
        failed = Evaluation("retrain", architecture_at(14), 3, failure=Failure("timeout", "no epoch in 600 s"))
        rows = [failed, retrain]
    else:
        rows = [retrain]
    details = {
        "test_error": error,
        "test_interval": [0.7 * error, 1.4 * error],
        "parity": 2.4e-6,
        "folder": folder,
        **LAYER_DETAILS[rank],
    }
    measured = {
        "latency_ms": measurement_of("latency_ms", _latency_ms(size), rng),
        "model_bytes": Measurement("model_bytes", TARGET, ((1.7e5 * (1 + size),),)),
    }
    predicted = {"latency_ms": _prediction(size, rng)}
    rows.append(Evaluation("winner", architecture, 3, _values(size), predicted, measured, details))
    return rows
