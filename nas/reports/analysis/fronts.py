"""The fronts of several runs of one task in one picture: candidates and winners of each, in two metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.reports.analysis.architecture_values import Known
from nas.results.front import Front
from nas.results.run import Run
from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.metric import Metric
from nas.values.pareto import non_dominated

MOST_CANDIDATES = 300
"""Of more candidates of a run, its front is shown and others are drawn."""


def fronts_of(
    runs: Sequence[Run],
    labels: Sequence[str],
    known: Sequence[Mapping[Architecture, Known]],
    quality: Metric,
    cost: Metric,
) -> dict[str, Any]:
    """Return candidates and winners of runs that learn one task, by ``cost`` and ``quality``, as plain data.

    A candidate has its error on the validation split and the best that is known of its cost; a winner has its error on
    the test split and its measurement, with 95 % intervals.
    """
    return {
        "cost": runs[0].words.metric_json(cost),
        "quality": runs[0].words.metric_json(quality),
        "runs": [
            {
                "run": label,
                "candidates": _candidates(list(of.values()), quality, cost),
                "winners": _winners(run.front, quality, cost),
            }
            for run, label, of in zip(runs, labels, known, strict=True)
        ],
    }


def _candidates(known: Sequence[Known], quality: Metric, cost: Metric) -> dict[str, Any]:
    found = [each for each in known if {quality.name, cost.name} <= each.values.keys()]
    losses = np.array([[each.values[cost.name], each.values[quality.name]] for each in found]).reshape(-1, 2)
    shown = np.arange(len(found))
    if len(found) > MOST_CANDIDATES:
        drawn = np.random.default_rng(0).choice(shown, MOST_CANDIDATES, replace=False)
        shown = np.union1d(np.flatnonzero(non_dominated(losses)), drawn)
    places = shown.tolist()
    return {
        "id": [found[place].architecture.id for place in places],
        "x": [float(f"{value:.6g}") for value in losses[shown, 0]],
        "y": [float(f"{value:.6g}") for value in losses[shown, 1]],
        "predicted": [cost.name in found[place].predicted for place in places],
        "left_out": len(found) - len(places),
    }


def _winners(front: Front, quality: Metric, cost: Metric) -> dict[str, Any]:
    shown: list[Winner] = [each for each in front if each.has(quality.name) and each.has(cost.name)]
    costs = [each.estimate(cost.name) for each in shown]
    errors = [each.estimate(quality.name) for each in shown]
    return {
        "id": [each.architecture.id for each in shown],
        "x": [each.value for each in costs],
        "xLow": [each.interval.lower for each in costs],
        "xHigh": [each.interval.upper for each in costs],
        "y": [each.value for each in errors],
        "yLow": [each.interval.lower for each in errors],
        "yHigh": [each.interval.upper for each in errors],
        "meets": [each.meets(front.limits) for each in shown],
    }
