"""The targets of one run side by side: the same architectures on each, by the comparison that runs get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nas.reports.analysis.architecture_values import Known
from nas.reports.analysis.devices import Side, comparison_of
from nas.results.run import Run
from nas.space.architecture import Architecture
from nas.values.metric import METRICS, bare_name, target_in
from nas.values.objective import quality_of
from nas.values.target import PRECISIONS, Target


def has_several_targets(run: Run) -> bool:
    """Return True if a run measured on further targets."""
    return any(target_in(name) for row in run.rows for name in row.measurements)


def comparisons_of_targets(run: Run, known: Mapping[Architecture, Known], label: str = "") -> list[dict[str, Any]]:
    """Return how each measured metric of a further target compares with that of the first target.

    Sizes are left out: they seldom depend on the target. ``known`` tells of the run's architectures. A
    ``label`` of the run stands before the targets, where there are several runs.
    """
    if not has_several_targets(run):
        return []
    before = f"{label}: " if label else ""
    named = METRICS.among(sorted({name for each in known.values() for name in each.values.keys() - each.predicted}))
    own = {metric.name for metric in named}
    return [
        comparison_of(
            Side(f"{before}{_first_target(run)}", known),
            Side(f"{before}{metric.on}", _on(metric.on, known)),
            METRICS[metric.bare],
            quality_of(run.objectives),
        )
        for metric in named
        if metric.on and metric.source == "measured" and metric.unit != "B" and metric.bare in own
    ]


def _first_target(run: Run) -> str:
    """Return the first target, as short as it can be written: that of metrics without a name before them.

    If precision was a choice, all precisions in which models were measured are named.
    """
    measured = {m.target: None for row in run.rows for name, m in row.measurements.items() if not target_in(name)}
    first, *others = map(Target.parse, measured)
    if not others:
        return first.short
    precisions = [precision for precision in PRECISIONS if precision in {each.precision for each in (first, *others)}]
    return f"{first.short.removesuffix(f':{first.precision}')} in {' or '.join(precisions)}"


def _on(target: str, known: Mapping[Architecture, Known]) -> dict[Architecture, Known]:
    """Return what is known on a further target, by bare names."""

    def bare(names: Mapping[str, float]) -> dict[str, float]:
        return {bare_name(name): value for name, value in names.items() if target_in(name) == target}

    return {
        architecture: replace(
            each,
            values=bare(each.values),
            predicted=frozenset(bare_name(name) for name in each.predicted if target_in(name) == target),
        )
        for architecture, each in known.items()
    }
