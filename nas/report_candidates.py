"""What the rows say about each trained architecture, and of each prediction that was put to the test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.architecture import Architecture
from nas.evaluation import Evaluation, PredictedValue
from nas.measurement import Measurement


@dataclass(frozen=True)
class Candidate:
    """A finished or stopped training, with what was measured and predicted of its architecture."""

    architecture: Architecture
    error: float
    round: int
    stopped: bool
    predicted: Mapping[str, PredictedValue]
    measurements: Mapping[str, Measurement]
    values: Mapping[str, float]


def candidates_of(rows: Sequence[Evaluation]) -> list[Candidate]:
    """One candidate for each architecture whose last training did not fail, in the order of training."""
    measured: dict[Architecture, dict[str, Measurement]] = {}
    for row in rows:
        if row.stage in ("measure", "train") and not row.failed:
            measured.setdefault(row.architecture, {}).update(row.measurements)
    trained = {row.architecture: row for row in rows if row.stage == "train"}
    return [
        Candidate(
            architecture=architecture,
            error=float(row.values["error"]),
            round=row.round,
            stopped=not row.reached_full_fidelity,
            predicted=row.predicted,
            measurements=measured.get(architecture, {}),
            values=row.values,
        )
        for architecture, row in trained.items()
        if not row.failed and math.isfinite(row.values.get("error", math.nan))
    ]
