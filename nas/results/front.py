"""The front of a run: its winners, and which of them no other one beats in every objective."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation, Stage
from nas.values.measurement import Interval
from nas.values.metric import Metric
from nas.values.objective import Limit, Objective
from nas.values.pareto import non_dominated

REPORT_NAME = "report.html"


@dataclass(frozen=True)
class Front:
    """All winners of a run, those on the front first and then by test error.

    ``on_front`` says for each winner whether no other one beats it in every objective, by test error and
    measured values. ``failed`` counts architectures that were chosen but failed on the way to a winner. ``table`` is
    that which all values were read from, where nothing was trained or measured.
    """

    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    winners: tuple[Winner, ...]
    on_front: tuple[bool, ...]
    run_folder: Path
    failed: int = 0
    gco2e_per_kwh: float | None = None
    table: str | None = None

    def __iter__(self) -> Iterator[Winner]:
        return iter(self.winners)

    def __len__(self) -> int:
        return len(self.winners)

    @property
    def best(self) -> Winner | None:
        """The winner with the lowest test error among those that meet the limits; None where none does."""
        meeting = [winner for winner in self.winners if winner.meets(self.limits)]
        return min(meeting, key=lambda winner: winner.test_error, default=None)

    @property
    def costs(self) -> tuple[Metric, ...]:
        """The metrics other than the error that were minimised or limited, in that order."""
        return cost_metrics(self.objectives, self.limits)

    def to_json(self) -> dict[str, Any]:
        """Plain data for programs."""
        best = self.best
        return {
            "run_folder": str(self.run_folder),
            "table": self.table,
            "objectives": [str(objective) for objective in self.objectives],
            "limits": [str(limit) for limit in self.limits],
            "best": None if best is None else best.architecture.id,
            "failed": self.failed,
            "winners": [
                {
                    **winner.to_json(),
                    "gco2e": None if self.gco2e_per_kwh is None else winner.gco2e(self.gco2e_per_kwh),
                    "on_front": on_front,
                    "meets_limits": winner.meets(self.limits),
                    "broken_limits": [str(limit) for limit in winner.broken(self.limits)],
                }
                for winner, on_front in zip(self.winners, self.on_front, strict=True)
            ],
        }


def front_of(
    rows: Sequence[Evaluation], objectives: Sequence[Objective], limits: Sequence[Limit], run_folder: Path
) -> Front:
    """The front of the winners among ``rows``; the last row about an architecture counts."""
    last = last_rows(rows, "winner")
    winners = [_winner(row) for row in last.values() if not row.failed]
    names = [objective.metric.name for objective in objectives] or ["error"]
    on_front = _on_front(winners, names)
    order = sorted(
        range(len(winners)),
        key=lambda i: (not on_front[i], winners[i].test_error, _costs(winners[i], names), winners[i].architecture.id),
    )
    failed = {architecture for architecture, row in last_rows(rows, "retrain").items() if row.failed}
    failed |= {architecture for architecture, row in last.items() if row.failed}
    return Front(
        objectives=tuple(objectives),
        limits=tuple(limits),
        winners=tuple(winners[i] for i in order),
        on_front=tuple(on_front[i] for i in order),
        run_folder=run_folder,
        failed=len(failed - {winner.architecture for winner in winners}),
    )


def cost_metrics(objectives: Iterable[Objective], limits: Iterable[Limit]) -> tuple[Metric, ...]:
    """The metrics other than the error among objectives and limits, each once, in that order."""
    metrics = [*(objective.metric for objective in objectives), *(limit.metric for limit in limits)]
    return tuple({metric.name: metric for metric in metrics if metric.name != "error"}.values())


def _winner(row: Evaluation) -> Winner:
    lower, upper = row.details["test_interval"]
    parity = row.details.get("parity")
    return Winner(
        architecture=row.architecture,
        test_error=float(row.details["test_error"]),
        test_interval=Interval(float(lower), float(upper)),
        predicted=row.predicted,
        measurements=row.measurements,
        values={name: value for name, value in row.values.items() if name != "error"},
        folder=str(row.details.get("folder", "")),
        parity=None if parity is None else float(parity),
        exported_test_error=row.details.get("exported_test_error"),
    )


def _on_front(winners: Sequence[Winner], names: Sequence[str]) -> list[bool]:
    """Whether each winner is non-dominated; one that lacks an objective's value is not a point."""
    complete = [i for i, winner in enumerate(winners) if all(winner.has(name) for name in names)]
    losses_NM = np.array([[winners[i].value(name) for name in names] for i in complete]).reshape(-1, len(names))
    kept = {i for i, keep in zip(complete, non_dominated(losses_NM), strict=True) if keep}
    return [i in kept for i in range(len(winners))]


def _costs(winner: Winner, names: Sequence[str]) -> tuple[float, ...]:
    return tuple(winner.value(name) if winner.has(name) else float("inf") for name in names if name != "error")


def last_rows(rows: Iterable[Evaluation], stage: Stage) -> dict[Architecture, Evaluation]:
    """The last row of a stage about each architecture: it is the one that counts."""
    return {row.architecture: row for row in rows if row.stage == stage}
