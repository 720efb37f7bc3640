"""The fronts of several runs of one task in one picture: the winners of each, or its candidates, in two metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.reports.analysis.architecture_values import Known
from nas.reports.wording import wording_of
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
    """Return winners or candidates of runs that learn one task, by ``cost`` and ``quality``, as plain data.

    Where all runs have winners, these are drawn: each has its error on the test split and its measurement, with 95 %
    intervals. Otherwise candidates are, with errors of the validation split and the best that is known of their costs.
    Errors of both splits do not compare.
    """
    winners = [_drawn_winners(run.front, quality, cost) for run in runs]
    by_test = all(winners)
    return {
        "split": wording_of(runs[0].table).winner_error_source if by_test else "",
        "cost": runs[0].words.metric_json(cost),
        "quality": runs[0].words.metric_json(quality),
        "runs": [
            {
                "run": label,
                "candidates": _candidates([] if by_test else list(of.values()), quality, cost),
                "winners": _winners(run.front, shown if by_test else [], quality, cost),
            }
            for run, label, of, shown in zip(runs, labels, known, winners, strict=True)
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


def _drawn_winners(front: Front, quality: Metric, cost: Metric) -> list[Winner]:
    """Return the winners with both values, without those that learned nothing: they would stretch the axis."""
    shown = [each for each in front if each.has(quality.name) and each.has(cost.name)]
    return [each for each in shown if not each.chance_mark] or shown


def _winners(front: Front, shown: Sequence[Winner], quality: Metric, cost: Metric) -> dict[str, Any]:
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
