"""What matters: the importance of each choice by metric, and how error and costs change along each choice."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.reports.analysis.architecture_values import Known, drawn_places
from nas.reports.analysis.choice_table import Column, choice_table
from nas.reports.analysis.effects import MOST_OPTIONS, effects
from nas.reports.analysis.importance import FEWEST, Importances, importance_rows, importances
from nas.reports.candidates import estimated_text
from nas.results.run import Run
from nas.values.metric import METRICS, Metric
from nas.values.pareto import FloatArray

MOST_METRICS = 6
MOST_ROWS = 2000
"""Of more architectures so many are drawn: what can be told becomes no clearer, and takes its time."""
USUAL = ("error", "latency_ms", "peak_memory_mib", "energy_mj", "model_bytes", "params", "macs")
LEAST_EXPLAINED = 0.2
"""Below it a model of the choices says too little to rank them."""


def matters_of(run: Run, known: Sequence[Known]) -> dict[str, Any]:
    """Return which choices matter for which metric, and how, as plain data. ``known`` tells of the run's architectures.

    Only measured, counted and trained values count: predictions would tell what a predictor believes.
    """
    shown = [_metric_of(run, metric, known) for metric in metrics_of(run, known)]
    return {"metrics": shown, "sentences": [] if shown else [_nothing_text(known)]}


def metrics_of(run: Run, known: Sequence[Known]) -> list[Metric]:
    """Return the metrics with values, those that were minimised or limited first."""
    named = [objective.metric.name for objective in run.objectives] + [limit.metric.name for limit in run.limits]
    names = dict.fromkeys((*named, *USUAL))
    counts = counts_of(known)
    with_values = [name for name in names if counts[name] >= FEWEST]
    return [METRICS[name] for name in with_values[:MOST_METRICS]]


def counts_of(known: Sequence[Known]) -> Counter[str]:
    """Return by metric how many architectures have a value of it that is not only predicted."""
    return Counter(itertools.chain.from_iterable(each.sure for each in known))


def is_logarithmic(metric: Metric, values: FloatArray) -> bool:
    """Return True for costs, of which ratios matter; errors are compared by differences."""
    return metric.source != "trained" and bool((values > 0).all())


def _metric_of(run: Run, metric: Metric, known: Sequence[Known]) -> dict[str, Any]:
    sure = [each for each in known if metric.name in each.sure]
    count = len(sure)
    sure = [sure[place] for place in drawn_places(count, MOST_ROWS).tolist()]
    values = np.array([each.values[metric.name] for each in sure])
    columns = choice_table([each.architecture for each in sure])
    is_log = is_logarithmic(metric, values)
    scaled = np.log(values) if is_log else values
    ranked = importances(columns, scaled)
    told = effects(columns, scaled)
    least = 0.0 if (values >= 0).all() else -np.inf
    return {
        **run.words.metric_json(metric),
        "log": is_log,
        "architectures": count,
        "drawn": len(sure),
        "explained": None if ranked is None else round(ranked.explained, 4),
        "reliable": ranked is not None and ranked.explained >= LEAST_EXPLAINED,
        "importances": [] if ranked is None else importance_rows(ranked, columns),
        "effects": {
            each.column.name: {
                "options": each.column.texts,
                "numeric": each.column.is_numeric,
                "count": each.column.counts.tolist(),
                "value": _rounded(_back(each.values, is_log, least)),
                "lower": _rounded(_back(each.lower, is_log, least)),
                "upper": _rounded(_back(each.upper, is_log, least)),
            }
            for each in told
        },
        "sentences": [*_sentences(run, metric, ranked, columns), *_estimated(run, metric)],
    }


def _back(values: FloatArray, is_log: bool, least: float) -> FloatArray:
    """Return values in the metric's own unit. An additive model may go below zero, where no error is."""
    found: FloatArray = np.exp(values) if is_log else np.maximum(values, least)
    return found


def _rounded(values: FloatArray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _sentences(run: Run, metric: Metric, ranked: Importances | None, columns: Sequence[Column]) -> list[str]:
    """Return which choices matter most for a metric, and how far that can be relied on."""
    title = run.words.loss_of(metric)
    if not columns:
        return [f"All architectures with a value of {title} have the same choices."]
    if ranked is None:
        return [f"The values of {title} are too few, or all equal, to tell which choice matters."]
    explained = f"{100 * max(0.0, ranked.explained):.0f} % of its variation"
    if ranked.explained < LEAST_EXPLAINED:
        return [
            f"No model of the choices explains {title}: on architectures that it never saw, one explains {explained}. "
            "More evaluations may change that; the ranking of choices says little until then."
        ]
    rows = importance_rows(ranked, columns)
    surely = [row for row in rows if row["lower"] > 0]
    if not surely:
        return [f"A model of the choices explains {explained} for {title}, but no single choice surely matters."]
    first, *others = (
        f"({100 * row['value']:.0f} %, 95 % interval {100 * row['lower']:.0f} to {100 * row['upper']:.0f} %)"
        for row in surely[:3]
    )
    following = " and ".join(f"{row['choice']} {told}" for row, told in zip(surely[1:3], others, strict=True))
    then = f", then {following}" if following else ""
    left = [column.name for column in columns if len(column.options) > MOST_OPTIONS]
    more = [f"Choices with more than {MOST_OPTIONS} options have no plot: {', '.join(left[:4])}."] if left else []
    told = f"For {title}, {surely[0]['choice']} matters most {first}{then}."
    return [f"{told} A model of the choices explains {explained}.", *more]


def _estimated(run: Run, metric: Metric) -> list[str]:
    told = estimated_text(run.rows) if metric.source == "trained" else ""
    return [told] if told else []


def _nothing_text(known: Sequence[Known]) -> str:
    most = max(counts_of(known).values(), default=0)
    return (
        f"The report ranks choices if at least {FEWEST} architectures have a value of a metric, but "
        f"{'none has' if not most else '1 has' if most == 1 else f'only {most} have'} one."
    )
