"""Rows and runs that tests of a report's analysis make up, small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nas.results.run import Run
from nas.results.timeline import Timeline
from nas.space.architecture import Architecture, Option
from nas.values.evaluation import Evaluation, Failure, PredictedValue
from nas.values.measurement import Measurement
from nas.values.objective import Limit, Objective

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"
SPACE = {"name": "made-up", "choices": "c0ffee"}
DATA = {"name": "digits", "fingerprint": "f00d"}


def measured(architecture: Mapping[str, Option], number: int = 0, **values: float) -> Evaluation:
    """Return the row of a measuring, with one exact sample for each value."""
    found = {name: Measurement(name, TARGET, ((value,),)) for name, value in values.items()}
    return Evaluation("measure", Architecture(architecture), number, measurements=found)


def trained(
    architecture: Mapping[str, Option],
    error: float,
    number: int = 1,
    *,
    predicted: Mapping[str, float] | None = None,
    details: Mapping[str, Any] | None = None,
    **values: float,
) -> Evaluation:
    """Return the row of a training that ran to its end, unless ``details`` say otherwise."""
    guesses = {name: PredictedValue(mean, mean, mean, mean) for name, mean in (predicted or {}).items()}
    return Evaluation(
        "train", Architecture(architecture), number, {"error": error, **values}, guesses, details=dict(details or {})
    )


def failed(architecture: Mapping[str, Option], number: int = 1) -> Evaluation:
    """Return the row of a training that failed."""
    return Evaluation("train", Architecture(architecture), number, failure=Failure("nan", "the loss became NaN"))


def made_run(
    rows: Sequence[Evaluation],
    *,
    name: str = "made",
    objectives: Sequence[str] = ("error", "latency_ms"),
    limits: Sequence[str] = (),
    timeline: Timeline | None = None,
    **changes: Any,
) -> Run:
    """Return a run of these rows."""
    run = Run(
        name=name,
        recipe_text="",
        objectives=tuple(map(Objective.parse, objectives)),
        limits=tuple(map(Limit.parse, limits)),
        target=TARGET,
        rows=tuple(rows),
        fits=(),
        run_folder=Path("runs") / name,
        notes={"space": SPACE, "data set": DATA},
        timeline=timeline or Timeline(),
    )
    return replace(run, **changes)


def many_rows(count: int, seed: int = 0) -> list[Evaluation]:
    """Return the rows of a large search: measured and trained architectures of six choices, some stopped or failed."""
    rng = np.random.default_rng(seed)
    rows: list[Evaluation] = []
    for index in range(count // 2):
        choices = {f"stage{place}.width": int(8 * rng.integers(1, 9)) for place in range(4)}
        architecture = {**choices, "kernel": int(rng.integers(1, 4)) * 2 + 1, "number": index % 97}
        params = float(np.prod([value / 8 for value in choices.values()])) * 100
        latency = 0.01 * params**0.5 * float(rng.lognormal(0, 0.03))
        details = {"epochs": 5 if index % 7 == 3 else 20, "stopped_early": index % 7 == 3, "seconds": 2.0}
        rows.append(measured(architecture, 0 if index < 50 else 1, latency_ms=latency))
        error = 0.5 * params**-0.15 * float(rng.lognormal(0, 0.1))
        row = trained(architecture, min(error, 1.0), 1 + 3 * index // count, details=details, params=params)
        rows.append(failed(architecture) if index % 41 == 5 else row)
    return rows
