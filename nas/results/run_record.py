"""Everything that a report is made from, and how many architectures reached each stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nas.prediction.predictor import HeldOutError
from nas.results.front import Front, front_of, last_rows
from nas.values.evaluation import STAGES, Evaluation, Stage
from nas.values.objective import Limit, Objective


@dataclass(frozen=True)
class FitRecord:
    """How the predictor of one metric did in one round, on ``samples`` measured architectures.

    ``verdict`` says in a sentence each why it was not good enough for the limits; it is empty where it was.
    """

    round: int
    metric: str
    held_out: HeldOutError
    samples: int
    verdict: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """Everything that a report is made from.

    ``recipe_text`` is the resolved recipe as TOML. ``notes`` are free: versions, seconds by stage, the data
    set's name and sizes. A mapping within them becomes a list of its own. ``table`` is as in ``Front``. ``is_over``
    says that nothing is left to do, and ``ended_by`` what ended the run before that.
    """

    name: str
    recipe_text: str
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    target: str
    rows: tuple[Evaluation, ...]
    fits: tuple[FitRecord, ...]
    run_folder: Path
    notes: Mapping[str, Any] = field(default_factory=dict)
    gco2e_per_kwh: float | None = None
    table: str | None = None
    is_over: bool = False
    ended_by: str | None = None

    @property
    def front(self) -> Front:
        front = front_of(self.rows, self.objectives, self.limits, self.run_folder)
        return replace(front, gco2e_per_kwh=self.gco2e_per_kwh, table=self.table)

    @property
    def place(self) -> str:
        """Where winners were found, for people."""
        if self.table is None:
            return f"on {self.target}"
        device = self.target.partition(":")[2]
        return f"in the table {Path(self.table).name}{f', device {device}' if device else ''}"


@dataclass(frozen=True)
class StageCount:
    """How many distinct architectures got how far in one stage; ``failures`` counts them by kind."""

    stage: Stage
    reached: int
    finished: int
    stopped_early: int
    failures: Mapping[str, int]

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


def funnel_of(rows: Sequence[Evaluation]) -> tuple[StageCount, ...]:
    """How many architectures reached and finished each stage; the last row about one in a stage counts."""
    counts = []
    for stage in STAGES:
        last = last_rows(rows, stage).values()
        stopped = sum(not row.failed and not row.reached_full_fidelity for row in last)
        failures = Counter(row.failure.kind for row in last if row.failure is not None)
        finished = len(last) - stopped - failures.total()
        counts.append(StageCount(stage, len(last), finished, stopped, dict(failures.most_common())))
    return tuple(counts)
