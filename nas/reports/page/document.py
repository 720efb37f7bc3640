"""The document of a report's page, from which its scripts draw: the run, its metrics and choices, and all values."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.reports.analysis.choice_table import whole_table
from nas.reports.candidates import BY, estimated_text
from nas.reports.page.models import winners_json
from nas.reports.page.packing import packed_counts, packed_floats
from nas.reports.wording import wording_of
from nas.results.front import Front
from nas.results.front_views import judged_text
from nas.results.records import OUTCOMES, Record
from nas.results.run import Run
from nas.values.evaluation import STAGES, Evaluation
from nas.values.indexed_rows import choices_of_training
from nas.values.metric import METRICS, Metric
from nas.values.objective import limit_text

WAYS = ("", *BY.values())
"""The origins of errors that candidates have in the search; the first is training or a table."""
DRAM_TRAFFIC = "dram_traffic_bytes"
MOST_OPTIONS = 1000
"""A choice with more options that occur, such as the name of a table's row, is shown but not offered as a filter."""


def document_of(run: Run, page_folder: Path | None = None) -> dict[str, Any]:
    """Return plain data about a run, in which all texts are as recorded: the page sets them as text, never as markup.

    ``page_folder`` is the folder that the page lies in, from which links to bundles start; None is the run's own.
    """
    front, records = run.front, run.records
    places = {each.architecture: place for place, each in enumerate(records)}
    metrics = _metrics(records, front)
    return {
        "run": _run_json(run, front),
        "metrics": [{**front.words.metric_json(metric), "units": dict(metric.units)} for metric in metrics],
        "limits": [
            {"metric": limit.metric.name, "value": limit.value, "text": limit_text(limit)} for limit in front.limits
        ],
        "count": len(records),
        "ids": packed_counts([byte for each in records for byte in bytes.fromhex(each.architecture.id)]),
        "outcomes": packed_counts([OUTCOMES.index(each.outcome) for each in records]),
        "choices": _choices(records, choices_of_training(run.rows)),
        "columns": {metric.name: _columns(records, metric) for metric in metrics},
        "epochs": packed_floats([each.epochs for each in records]),
        "by": packed_counts([WAYS.index(_way(each)) for each in records]),
        "ways": WAYS,
        "doubts": _by_text({place: each.doubts for place, each in enumerate(records) if each.doubts}),
        "unlike": {
            str(place): names
            for place, each in enumerate(records)
            if (names := [name for name, guess in each.predicted.items() if not guess.known])
        },
        "winners": winners_json(front, places, page_folder),
        "rows": _rows(run.rows, places),
    }


def _run_json(run: Run, front: Front) -> dict[str, Any]:
    words, wording = front.words, wording_of(front.table)
    best = front.best_or_none
    captions = wording.front_caption, estimated_text(run.rows), judged_text(front), wording.bars_caption
    return {
        "name": run.name,
        "place": run.place,
        "table": front.table is not None,
        "over": run.is_over,
        "words": {
            "title": words.title,
            "error": words.error,
            "accuracy": words.accuracy,
            "share": words.is_share,
            "search": wording.search_error_source,
            "final": wording.winner_error_source,
            "source": wording.value_source,
            "caption": " ".join(filter(None, captions)),
        },
        "quality": front.quality.name,
        "objectives": [objective.metric.name for objective in front.objectives] or ["error"],
        "costs": [metric.name for metric in front.costs],
        "best": None if best is None else best.architecture.id,
        "outcomes": OUTCOMES,
        "shown_outcomes": ["looked up" if each == "trained" and front.table is not None else each for each in OUTCOMES],
        "stages": [wording.row_stages[stage] for stage in STAGES],
    }


def _metrics(records: Sequence[Record], front: Front) -> list[Metric]:
    """Return the metrics of which there are values: the quality, then the costs, then all others in their order."""
    names: set[str] = {"error", front.quality.name} | {metric.name for metric in front.costs}
    for each in records:
        names |= each.values.keys() | each.measurements.keys() | each.predicted.keys()
        names |= set() if each.winner is None else each.winner.scores.keys()
    # It is modelled from the caches of the machine that searched: nothing where models fit in them, or run elsewhere.
    if front.table is not None or not any(each.values.get(DRAM_TRAFFIC) for each in records):
        names.discard(DRAM_TRAFFIC)
    first = [front.quality, METRICS["error"], *front.costs]
    ordered = {metric.name: metric for metric in (*first, *METRICS.among(sorted(names)))}
    return [metric for name, metric in ordered.items() if name in names]


def _choices(records: Sequence[Record], of_training: Collection[str]) -> list[dict[str, Any]]:
    """Return each choice with the options that occur, in order, and each architecture's place among them plus 1."""
    return [
        {
            "name": column.name,
            "options": column.texts,
            "numeric": column.is_numeric,
            "values": [float(option) for option in column.options] if column.has_numbers else None,
            "training": column.name in of_training,
            "many": len(column.options) > MOST_OPTIONS,
            "of": packed_counts((column.codes + 1).tolist()),
        }
        for column in whole_table([each.architecture for each in records])
    ]


def _columns(records: Sequence[Record], metric: Metric) -> dict[str, Any]:
    """Return the columns of a metric: what was found with its interval, and what was predicted with its bounds.

    What was found is the value on the test split for winners, and in the search for others; ``search`` has the latter
    for winners too. ``raw`` has what a stopwatch showed, where that differs by a tenth.
    """
    name = metric.name
    columns: dict[str, Any] = {}
    if metric.source == "measured":
        found = [each.measurements.get(name) for each in records]
        columns["found"] = packed_floats([None if each is None else each.median for each in found])
        bounds = [None if each is None or each.interval.is_point else each.interval for each in found]
        columns["low"] = packed_floats([None if each is None else each.lower for each in bounds])
        columns["high"] = packed_floats([None if each is None else each.upper for each in bounds])
        columns["raw"] = packed_floats([None if each is None else each.raw_beside for each in found])
        guesses = [each.predicted.get(name) for each in records]
        for key in ("mean", "lower", "upper"):
            columns[key] = packed_floats([_bound(None if each is None else getattr(each, key)) for each in guesses])
    elif metric.source == "trained":
        searched = [None if each.training is None else _finite(each.training.values, name) for each in records]
        tested = [_tested(each, name) for each in records]
        wins = [each.winner is not None for each in records]
        triples = list(zip(wins, tested, searched, strict=True))
        # Values on different splits do not compare: a winner without a score on the test split has no value.
        columns["found"] = packed_floats([test[0] if test else None if won else other for won, test, other in triples])
        columns["low"] = packed_floats([None if one is None or one[1] == one[2] else one[1] for one in tested])
        columns["high"] = packed_floats([None if one is None or one[1] == one[2] else one[2] for one in tested])
        columns["search"] = packed_floats([other if won else None for won, _, other in triples])
    else:
        columns["found"] = packed_floats([_finite(each.values, name) for each in records])
    return {key: column for key, column in columns.items() if column is not None}


def _bound(value: float | None) -> float | None:
    """Return a bound; an infinite one stays, because it says that nothing is known."""
    return None if value is None or math.isnan(value) else value


def _way(record: Record) -> str:
    """Return the origin of its error in the search, in words; empty for a training and for a table."""
    return "" if record.training is None else BY.get(record.training.by, "")


def _finite(values: Mapping[str, float], name: str) -> float | None:
    """Return a value, or None where there is none that is finite."""
    found = values.get(name)
    return None if found is None or not math.isfinite(found) else float(found)


def _tested(record: Record, name: str) -> tuple[float, float, float] | None:
    if record.winner is None or not record.winner.has(name):
        return None
    found = record.winner.estimate(name)
    return found.value, found.interval.lower, found.interval.upper


def _by_text(found: Mapping[int, Sequence[str]]) -> dict[str, list[int]]:
    """Return by text the places that have it."""
    places: dict[str, list[int]] = {}
    for place, texts in found.items():
        for text in texts:
            places.setdefault(text, []).append(place)
    return places


def _rows(rows: Sequence[Evaluation], places: Mapping[Any, int]) -> dict[str, Any]:
    """Return a line for each evaluation: architecture, stage, round, error, epochs, seconds and how it ended."""
    failures: dict[tuple[str, str], int] = {}
    ended, by = [], []
    for row in rows:
        if row.failure is not None:
            key = (row.failure.kind, row.failure.reason)
            ended.append(2 + failures.setdefault(key, len(failures)))
        else:
            ended.append(0 if row.reached_full_fidelity else 1)
        by.append(WAYS.index(BY.get(row.by, "")))
    kept = [place for place, row in enumerate(rows) if row.details.get("kept")]
    return {
        "of": packed_counts([places[row.architecture] for row in rows]),
        "stage": packed_counts([STAGES.index(row.stage) for row in rows]),
        "round": packed_counts([max(0, row.round) for row in rows]),
        "ended": packed_counts(ended),
        "by": packed_counts(by),
        "kept": packed_counts(kept),
        "failures": [list(key) for key in failures],
        "error": packed_floats([_error(row) for row in rows]),
        "epochs": packed_floats([_number(row.details.get("epochs")) for row in rows]),
        "seconds": packed_floats([_number(row.details.get("seconds")) for row in rows]),
    }


def _error(row: Evaluation) -> float | None:
    if row.failed:
        return None
    return _number(row.details["test_error"]) if "test_error" in row.details else _finite(row.values, "error")


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None
