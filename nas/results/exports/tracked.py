"""What trackers show of a run: its facts, and the numbers in each of its rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from nas.values.evaluation import Evaluation
from nas.values.metric import TRAINED

if TYPE_CHECKING:
    from nas.results.run import Run


@final
@dataclass(frozen=True)
class RunFacts:
    """The facts of a run that a tracker shows: its name, folder, target, objectives, limits and recipe."""

    name: str
    folder: Path
    target: str
    objectives: tuple[str, ...]
    limits: tuple[str, ...]
    recipe_text: str

    @classmethod
    def of(cls, run: Run) -> RunFacts:
        """Return the facts of a run that was read from its folder."""
        objectives, limits = tuple(map(str, run.objectives)), tuple(map(str, run.limits))
        return cls(run.name, run.run_folder, run.target, objectives, limits, run.recipe_text)


def values_in(row: Evaluation) -> dict[str, float]:
    """Return the numbers in a row under the names of the columns of tidy tables."""
    found: dict[str, float] = {}
    if row.stage == "winner" and not row.failed:
        found["test_error"] = float(row.details["test_error"])
        found |= {f"test_{name}": float(score[0]) for name, score in row.details.get("scores", {}).items()}
    elif row.stage in ("train", "check"):
        found |= {f"validation_{name}": value for name, value in row.values.items() if name in TRAINED}
        found |= {f"predicted_{name}": guess.mean for name, guess in row.predicted.items()}
    found |= {name: value for name, value in row.values.items() if name not in TRAINED}
    found |= {name: measurement.median for name, measurement in row.measurements.items()}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}
