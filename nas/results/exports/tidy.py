"""A run as a tidy table: one row an architecture, one column a value, with the unit of each column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas.results.records import Record
from nas.values.metric import METRICS, TRAINED, Metric, bare_name, target_in
from nas.values.objective import Limit

if TYPE_CHECKING:
    from nas.results.run import Run

CHOICE = "choice."
Cell = bool | int | float | str | None


@dataclass(frozen=True)
class Column:
    """A column of the table. ``unit`` is empty for texts and numbers without one; shares are fractions of 1."""

    name: str
    unit: str
    meaning: str


FIRST = (
    Column("id", "", "the architecture's id"),
    Column("number", "", "its place in the order in which the run met architectures, from 1"),
    Column("round", "", "the round in which the search evaluated it"),
    Column("stage", "", "the last stage that it reached: measure, check, train, retrain or winner"),
    Column("on_front", "", "for winners: within the limits, none is as good in all objectives and surely ahead in one"),
    Column("meets_limits", "", "all limits hold by upper bounds; empty where a value is unknown"),
    Column("same_as", "", "the winners from which no objective tells it apart"),
    Column("barely_ahead_of", "", "winners that its own lead is too small to tell from"),
)
LAST = (
    Column("evaluated_by", "", "how its error was found: train, supernet, zero-cost or table"),
    Column("epochs", "", "epochs of its training in the search"),
    Column("training_s", "s", "seconds of its training in the search; of a table, simulated ones"),
    Column("stopped_early", "", "the training was stopped before its end, so that its errors are not comparable"),
    Column("failure_kind", "", "the kind of its failure"),
    Column("failure", "", "the reason of its failure"),
    Column("doubts", "", "doubts about its measurements"),
    Column("bundle", "", "the folder of its bundle, relative to the run's folder"),
)


def table_of(run: Run, records: Sequence[Record]) -> tuple[list[Column], list[dict[str, Cell]]]:
    """Return the columns of a table, and a row for each record; a cell that is not known is None.

    The columns depend on what the run has: a choice, a metric or a failure that no row has gets none.
    """
    rows = [row_of(record, run.limits) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    known = {column.name: column for column in (*FIRST, *LAST)}
    first, last = [c.name for c in FIRST], [c.name for c in LAST]
    between = sorted((name for name in names if name not in known), key=_order)
    columns = [known.get(name) or _column(name, run) for name in (*first, *between, *last)]
    return columns, [{column.name: row.get(column.name) for column in columns} for row in rows]


def row_of(record: Record, limits: Iterable[Limit]) -> dict[str, Cell]:
    """Return what is known of an architecture as one flat row; what is unknown is left out."""
    winner, standing, failure, details = record.winner, record.standing, record.failure, record.details
    by = record.evaluation.by if record.evaluation is not None and details else None
    row: dict[str, Cell] = {
        "id": record.architecture.id,
        "number": record.number,
        "round": record.round,
        "stage": record.stage,
        "on_front": None if standing is None else standing.on_front,
        "meets_limits": record.meets(limits),
        "same_as": " ".join(standing.same_as) if standing else None,
        "barely_ahead_of": " ".join(standing.barely_ahead_of) if standing else None,
        **{f"{CHOICE}{name}": option for name, option in record.architecture.items()},
        **_values(record),
        "evaluated_by": by,
        "epochs": None if by == "table" else details.get("epochs"),
        "training_s": (details.get("seconds") or None) if by == "table" else details.get("seconds"),
        "stopped_early": record.was_stopped if details else None,
        "failure_kind": failure.kind if failure else None,
        "failure": failure.reason if failure else None,
        "doubts": "; ".join(record.doubts) or None,
        "bundle": winner.folder or None if winner else None,
    }
    return {name: value for name, value in row.items() if value not in (None, "") and is_known(value)}


def is_known(value: object) -> bool:
    """Return False for a number that is not finite, such as the bound of a predictor of few samples."""
    return not isinstance(value, float) or math.isfinite(value)


def _values(record: Record) -> dict[str, Cell]:
    """Return trained, tested, measured, predicted and counted values, each kind under a name of its own."""
    found: dict[str, Cell] = {}
    for name, value in record.values.items():
        found[f"validation_{name}" if name in TRAINED else name] = value
    if record.winner is not None:
        for name in ("error", *record.winner.scores):
            tested = record.winner.estimate(name)
            found[f"test_{name}"] = tested.value
            if not tested.interval.is_point:
                found |= {
                    f"test_{name}_lower_95": tested.interval.lower,
                    f"test_{name}_upper_95": tested.interval.upper,
                }
    for name, measurement in record.measurements.items():
        found[name] = measurement.median
        if not measurement.interval.is_point:
            interval = measurement.interval
            found |= {f"{name}_lower_95": interval.lower, f"{name}_upper_95": interval.upper}
    for name, guess in record.foreseen.items():
        found[f"predicted_{name}"] = guess.mean
        found |= {f"predicted_{name}_lower_90": guess.lower, f"predicted_{name}_upper_90": guess.upper}
    return found


_KINDS = ("validation_", "test_", "predicted_")
_BOUNDS = {"_lower_95": "lower end of the 95 % interval of", "_upper_95": "upper end of the 95 % interval of"}
_BOUNDS |= {"_lower_90": "lower end of the 90 % bounds of", "_upper_90": "upper end of the 90 % bounds of"}


_WHERE = {
    "validation_": "on the validation split, in the search",
    "test_": "on the test split, of the retrained winner",
    "predicted_": "as predicted before it was measured",
}
_IN_TABLE = {
    "validation_": "from the table, in the column that the search sees",
    "test_": "from the table, in the column that scores winners",
    "predicted_": "as predicted before it was looked up",
    "measured": "from the table",
}
"""Where a value is from, by the start of its column's name, or by the source of its metric."""


def _parts(name: str) -> tuple[str, str, str]:
    """Return the kind, the metric and the bound in a column's name; any of them may be empty."""
    kind = next((kind for kind in _KINDS if name.startswith(kind)), "")
    rest = name.removeprefix(kind)
    bound = next((bound for bound in _BOUNDS if rest.endswith(bound)), "")
    metric = rest.removesuffix(bound)
    return (kind, metric, bound) if metric in METRICS else ("", name, "")


def _order(name: str) -> tuple[int, int, str, int, int]:
    """Return the place of a column: choices as they come, then values by metric and target, each with its bounds."""
    if name.startswith(CHOICE):
        return (0, 0, "", 0, 0)
    kind, metric, bound = _parts(name)
    names, bare = list(METRICS), bare_name(metric)
    group = 1 if bare in TRAINED else 2 if metric in METRICS and METRICS[metric].source == "measured" else 3
    place = names.index(bare) if metric in METRICS else len(names)
    return (group, place, target_in(metric), ("", *_KINDS).index(kind), ("", *_BOUNDS).index(bound))


def _column(name: str, run: Run) -> Column:
    words = run.words
    if name.startswith(CHOICE):
        return Column(name, "", "the option of this choice; empty where the choice is inactive")
    kind, metric, bound = _parts(name)
    if metric not in METRICS:
        return Column(name, "", "a value that a later version recorded")
    known = METRICS[metric]
    is_share, title = words.is_share_of(known), words.loss_of(known)
    places = _WHERE if run.table is None else _IN_TABLE
    where = places.get(kind) or places.get(known.source, known.source)
    start = f"{_BOUNDS[bound]} " if bound else ""
    return Column(name, "fraction" if is_share else known.unit, f"{start}{title}, {where}")


def document_of(run: Run, records: Sequence[Record]) -> dict[str, Any]:
    """Return a run as one JSON document: about the run, and each architecture with its intervals."""
    return {
        "run": run.name,
        "target": run.target,
        "table": run.table,
        "finished": run.is_over,
        "ended_by": run.ended_by,
        "damages": list(run.damages),
        "objectives": [str(objective) for objective in run.objectives],
        "limits": [str(limit) for limit in run.limits],
        "units": {name: "fraction" if m.is_share else m.unit for name, m in _metrics_of(records).items()},
        "recipe": run.recipe_text,
        "architectures": [_entry(record, run.limits) for record in records],
    }


def _metrics_of(records: Sequence[Record]) -> dict[str, Metric]:
    """Return all metrics by name: the bare ones, and those of further targets that a record has."""
    named = {name for each in records for name in (*each.measurements, *each.predicted) if target_in(name)}
    named |= {name for each in records if each.winner is not None for name in each.winner.scores if target_in(name)}
    return {metric.name: metric for metric in METRICS.among([*METRICS, *sorted(named)])}


def _entry(record: Record, limits: Iterable[Limit]) -> dict[str, Any]:
    winner, failure = record.winner, record.failure
    row = row_of(record, limits)
    told = {column.name: row.get(column.name) for column in (*FIRST, *LAST)}
    return {
        **told,
        "architecture": dict(record.architecture),
        "validation": {name: value for name, value in record.values.items() if name in TRAINED},
        "test": {} if winner is None else {n: _estimate(winner, n) for n in ("error", *winner.scores)},
        "measured": {name: each.summary() for name, each in record.measurements.items()},
        "predicted": {
            name: {
                "mean": _finite(p.mean),
                "bounds_90": [_finite(p.lower), _finite(p.upper)],
                "limit_95": _finite(p.limit),
                "known": p.known,
            }
            for name, p in record.foreseen.items()
        },
        "counted": _of_source(record.values, "counted"),
        "modelled": _of_source(record.values, "modelled"),
        "curve": list(record.details.get("curve", ())),
        "failure": None if failure is None else {"kind": failure.kind, "reason": failure.reason},
    }


def _estimate(winner: Any, name: str) -> dict[str, Any]:
    found = winner.estimate(name)
    return {"value": found.value, "interval_95": None if found.interval.is_point else found.interval.to_json()}


def _finite(value: float) -> float | None:
    """Return a number that JSON has; None for infinity."""
    return value if math.isfinite(value) else None


def _of_source(values: Mapping[str, float], source: str) -> dict[str, float]:
    return {name: value for name, value in values.items() if name in METRICS and METRICS[name].source == source}
