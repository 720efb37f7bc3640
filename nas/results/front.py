"""What a run came to: its winners, the front among them and the funnel, as pure functions of rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nas.hardware.energy.meters import grams_co2e
from nas.hardware.roofline import Throughput, throughput_of
from nas.prediction.predictor import HeldOutError
from nas.reports.wording import Wording, wording_of
from nas.space.architecture import Architecture
from nas.values.evaluation import STAGES, Evaluation, PredictedValue, Stage
from nas.values.measurement import Interval, Measurement
from nas.values.metric import METRICS, Metric
from nas.values.objective import Limit, Objective
from nas.values.pareto import non_dominated

REPORT_NAME = "report.html"
BYTES_PER_INPUT = 4
"""Models take fp32 images, whatever they run in."""


@dataclass(frozen=True)
class Winner:
    """A retrained, exported and measured model, scored once on the test split; or what a table says of one.

    ``test_interval`` is the 95 % interval of ``test_error``, a point where a table gives none. ``predicted`` holds, by
    metric, what predictors say that have not seen its measurements; ``values`` what was counted or modelled. ``parity``
    is the largest difference between the outputs of the trained and the exported model. ``exported_test_error`` is
    that of the model before the runtime deployed it, in fp32. ``folder`` is the bundle's, relative to the run folder;
    empty where there is none.
    """

    architecture: Architecture
    test_error: float
    test_interval: Interval
    predicted: Mapping[str, PredictedValue]
    measurements: Mapping[str, Measurement]
    values: Mapping[str, float]
    folder: str
    parity: float | None = None
    exported_test_error: float | None = None

    @property
    def throughput(self) -> Throughput | None:
        """Throughput and shares of the machine's peak, where the latency was measured."""
        latency, weights = self.measurements.get("latency_ms"), self.measurements.get("weight_bytes")
        if latency is None or latency.table is not None:  # which does not say for how many items it is
            return None
        shape = latency.conditions.get("input_shape")
        least_bytes = weights.median + BYTES_PER_INPUT * math.prod(shape) if weights is not None and shape else None
        return throughput_of(latency, self.values.get("macs"), least_bytes)

    @property
    def executed_precision(self) -> str | None:
        """What really ran when the latency was measured."""
        latency = self.measurements.get("latency_ms")
        return None if latency is None else latency.conditions.get("executed_precision")

    def gco2e(self, grams_per_kwh: float) -> float | None:
        """Grams of CO2 equivalent of one inference, where its energy was measured."""
        energy = self.measurements.get("energy_mj")
        return None if energy is None else grams_co2e(energy.median / 1000, grams_per_kwh)

    @property
    def short(self) -> str:
        return self.architecture.short

    def has(self, metric_name: str) -> bool:
        """Whether there is a value of the metric: predictions do not count as one."""
        if METRICS[metric_name].source == "measured":
            return metric_name in self.measurements
        return metric_name == "error" or metric_name in self.values

    def value(self, metric_name: str) -> float:
        """The test error, the median of what was measured, or what was counted or modelled.

        Raises:
            ValueError: the winner has no such value.
        """
        if not self.has(metric_name):
            raise ValueError(f"a winner's value must have been found, but {self.architecture.id} has no {metric_name}.")
        if metric_name == "error":
            return self.test_error
        if metric_name in self.measurements:
            return self.measurements[metric_name].median
        return self.values[metric_name]

    def upper(self, metric_name: str) -> float:
        """The value that limits are checked against: the interval's upper bound for what was measured."""
        if METRICS[metric_name].source == "measured" and metric_name in self.measurements:
            return self.measurements[metric_name].interval.upper
        return self.value(metric_name)

    def broken(self, limits: Iterable[Limit]) -> list[Limit]:
        """The limits that are not shown to hold; one whose metric was never found is among them."""
        return [
            limit
            for limit in limits
            if not (self.has(limit.metric.name) and limit.holds(self.upper(limit.metric.name)))
        ]

    def meets(self, limits: Iterable[Limit]) -> bool:
        """Whether every limit holds: by the measured upper bound, the counted value or the test error."""
        return not self.broken(limits)

    def to_json(self) -> dict[str, Any]:
        """Plain data; measured, predicted, counted and modelled values stand apart."""
        sources = {name: METRICS[name].source if name in METRICS else "" for name in self.values}
        return {
            "id": self.architecture.id,
            "architecture": dict(self.architecture),
            "test_error": self.test_error,
            "test_error_interval_95": None
            if self.test_interval.is_point
            else [self.test_interval.lower, self.test_interval.upper],
            "predicted": {
                name: {"mean": p.mean, "lower": p.lower, "upper": p.upper, "limit": p.limit, "known": p.known}
                for name, p in self.predicted.items()
            },
            "measured": {
                name: {
                    "median": m.median,
                    "interval_95": [m.interval.lower, m.interval.upper],
                    "p95": m.p95,
                    "target": m.target,
                    "flags": list(m.flags),
                }
                for name, m in self.measurements.items()
            },
            "counted": {name: value for name, value in self.values.items() if sources[name] == "counted"},
            "modelled": {name: value for name, value in self.values.items() if sources[name] == "modelled"},
            **self._throughput_json(),
            "executed_precision": self.executed_precision,
            "exported_test_error": self.exported_test_error,
            "parity": self.parity,
            "bundle": self.folder,
        }

    def _throughput_json(self) -> dict[str, Any]:
        found = self.throughput
        return {
            "throughput_per_s": None if found is None else found.items_per_s,
            "share_of_peak": None if found is None else found.share_of_peak,
            "share_of_roofline": None if found is None else found.share_of_roofline,
        }


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

    @property
    def words(self) -> Wording:
        """What to call what was found."""
        return wording_of(self.table)

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


def front_of(
    rows: Sequence[Evaluation], objectives: Sequence[Objective], limits: Sequence[Limit], run_folder: Path
) -> Front:
    """The front of the winners among ``rows``; the last row about an architecture counts."""
    last = _last_rows(rows, "winner")
    winners = [_winner(row) for row in last.values() if not row.failed]
    names = [objective.metric.name for objective in objectives] or ["error"]
    on_front = _on_front(winners, names)
    order = sorted(
        range(len(winners)),
        key=lambda i: (not on_front[i], winners[i].test_error, _costs(winners[i], names), winners[i].architecture.id),
    )
    failed = {architecture for architecture, row in _last_rows(rows, "retrain").items() if row.failed}
    failed |= {architecture for architecture, row in last.items() if row.failed}
    return Front(
        objectives=tuple(objectives),
        limits=tuple(limits),
        winners=tuple(winners[i] for i in order),
        on_front=tuple(on_front[i] for i in order),
        run_folder=run_folder,
        failed=len(failed - {winner.architecture for winner in winners}),
    )


def funnel_of(rows: Sequence[Evaluation]) -> tuple[StageCount, ...]:
    """How many architectures reached and finished each stage; the last row about one in a stage counts."""
    counts = []
    for stage in STAGES:
        last = _last_rows(rows, stage).values()
        stopped = sum(not row.failed and not row.reached_full_fidelity for row in last)
        failures = Counter(row.failure.kind for row in last if row.failure is not None)
        finished = len(last) - stopped - failures.total()
        counts.append(StageCount(stage, len(last), finished, stopped, dict(failures.most_common())))
    return tuple(counts)


def cost_metrics(objectives: Iterable[Objective], limits: Iterable[Limit]) -> tuple[Metric, ...]:
    """The metrics other than the error among objectives and limits, each once, in that order."""
    metrics = [*(objective.metric for objective in objectives), *(limit.metric for limit in limits)]
    return tuple({metric.name: metric for metric in metrics if metric.name != "error"}.values())


def accuracy_text(error: float) -> str:
    """The accuracy that belongs to an error, for people: ``98.30 %``."""
    return f"{100 * (1 - error):.2f} %"


def accuracy_range_text(interval: Interval) -> str:
    """The accuracies that belong to an interval of errors, for people: ``97.91–98.68 %``."""
    if interval.is_point:
        return "no interval"
    return f"{100 * (1 - interval.upper):.2f}–{100 * (1 - interval.lower):.2f} %"


def range_text(metric: Metric, lower: float, upper: float) -> str:
    """Both bounds for people, with the unit once where they share it: ``0.2088–0.2131 ms``."""
    low, high = metric.format(lower), metric.format(upper)
    low_number, _, low_unit = low.partition(" ")
    return f"{low_number if low_unit == high.partition(' ')[2] else low}–{high}"


def limit_text(limit: Limit) -> str:
    """The limit for people: ``latency ≤ 2 ms``, or ``accuracy ≥ 95 %`` for one on the error."""
    if limit.metric.name == "error":
        return f"accuracy ≥ {100 * (1 - limit.value):.6g} %"
    return f"{limit.metric.title.lower()} ≤ {limit.metric.format(limit.value)}"


def broken_text(winner: Winner, limit: Limit) -> str:
    """By what a limit is broken, for people: ``latency 2.31 ms > 2 ms``."""
    metric = limit.metric
    if not winner.has(metric.name):
        return f"{metric.title.lower()} unknown, limit {metric.format(limit.value)}"
    if metric.name == "error":
        return f"accuracy {accuracy_text(winner.test_error)} < {100 * (1 - limit.value):.6g} %"
    value = winner.value(metric.name)
    if limit.holds(value):
        upper, most = metric.format_apart(winner.upper(metric.name), limit.value)
        return f"{metric.title.lower()} {metric.format(value)}, but up to {upper} > {most}"
    shown, most = metric.format_apart(value, limit.value)
    return f"{metric.title.lower()} {shown} > {most}"


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


def _last_rows(rows: Iterable[Evaluation], stage: Stage) -> dict[Architecture, Evaluation]:
    return {row.architecture: row for row in rows if row.stage == stage}


def _on_front(winners: Sequence[Winner], names: Sequence[str]) -> list[bool]:
    """Whether each winner is non-dominated; one that lacks an objective's value is not a point."""
    complete = [i for i, winner in enumerate(winners) if all(winner.has(name) for name in names)]
    losses_NM = np.array([[winners[i].value(name) for name in names] for i in complete]).reshape(-1, len(names))
    kept = {i for i, keep in zip(complete, non_dominated(losses_NM), strict=True) if keep}
    return [i in kept for i in range(len(winners))]


def _costs(winner: Winner, names: Sequence[str]) -> tuple[float, ...]:
    return tuple(winner.value(name) if winner.has(name) else float("inf") for name in names if name != "error")
