"""Several runs side by side: which of them can be compared, and what the comparison says."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.reports.analysis.architecture_values import Known, trainings_of
from nas.reports.analysis.course import objectives_of, points_of
from nas.reports.analysis.devices import Side, comparison_of
from nas.reports.analysis.fronts import fronts_of
from nas.reports.analysis.growth import growth, reference_point
from nas.reports.analysis.targets import comparisons_of_targets
from nas.reports.candidates import estimated_text
from nas.results.run import Run
from nas.space.architecture import Architecture
from nas.values.metric import METRICS, Metric
from nas.values.objective import quality_of
from nas.values.pareto import hypervolume

MOST_PAIRS = 6
"""The most pairs of runs of one group that are compared on a page."""
MOST_RUNS = 12
"""The most runs on a page."""
Knowledge = Mapping[Architecture, Known]


def labels_of(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run; runs of the same name get a number."""
    counts, seen = Counter(run.name for run in runs), Counter[str]()
    labels = []
    for run in runs:
        seen[run.name] += 1
        labels.append(run.name if counts[run.name] == 1 else f"{run.name} ({seen[run.name]})")
    return labels


def task_of(run: Run) -> tuple[str, ...]:
    """Return what identifies a run's task: its data, or the table that its errors come from, and its error."""
    data, table = run.notes.get("data set"), run.notes.get("table")
    if run.table is not None or isinstance(table, Mapping):
        facts = table if isinstance(table, Mapping) else {}
        return ("table", Path(run.table or "").name, str(facts.get("accuracy", "")), run.words.error)
    if isinstance(data, Mapping):
        return ("data", str(data.get("name", "")), str(data.get("fingerprint", "")), run.words.error)
    return ("data", str(data or ""), "", run.words.error)


def _task_in_any_size(run: Run, others: Sequence[Run]) -> tuple[str, ...]:
    """Return what identifies a run's task among others, where its items may have been brought to another size.

    Fingerprints differ then too. So the name, the numbers of items and the classes decide between sizes, and the
    fingerprint decides within one size.
    """
    data = run.notes.get("data set")
    if task_of(run)[0] != "data" or not isinstance(data, Mapping):
        return task_of(run)
    key = _key_of_any_size(run)
    alike = [other for other in others if _key_of_any_size(other) == key]
    prints: dict[str, set[str]] = {}
    for other in alike:
        prints.setdefault(_sizes_text(other), set()).add(task_of(other)[2])
    return key if all(len(each) == 1 for each in prints.values()) else task_of(run)


def _key_of_any_size(run: Run) -> tuple[str, ...]:
    kind, name, _, error = task_of(run)
    data = run.notes.get("data set")
    facts = data if isinstance(data, Mapping) else {}
    counts = [f"{key} {value}" for key, value in sorted(facts.items()) if type(value) is int]
    return (kind, name, error, *counts)


def _sizes_text(run: Run) -> str:
    """Return the shapes of a run's inputs, as in ``3×64×64``."""
    data = run.notes.get("data set")
    facts = data if isinstance(data, Mapping) else {}
    signature = facts.get("signature")
    inputs = signature.get("inputs", []) if isinstance(signature, Mapping) else []
    shapes = [each.get("shape", []) for each in inputs] or [facts.get("image shape", [])]
    return " and ".join("×".join(map(str, shape)) for shape in shapes)


def task_text(run: Run) -> str:
    """Return the name of a run's data or table for people."""
    return task_of(run)[1] or "data of an unknown name"


def space_of(run: Run) -> tuple[str, str]:
    """Return what identifies a run's space: its name and the hash of its choices."""
    space = run.notes.get("space")
    found = space if isinstance(space, Mapping) else {}
    return str(found.get("name", "")), str(found.get("choices", ""))


def groups_of(runs: Sequence[Run]) -> list[list[int]]:
    """Return the indices of runs that learn the same task with the same space, in groups, in the order of the runs."""
    groups: dict[tuple[tuple[str, ...], tuple[str, str]], list[int]] = {}
    for index, run in enumerate(runs):
        groups.setdefault((task_of(run), space_of(run)), []).append(index)
    return list(groups.values())


def runs_of(runs: Sequence[Run], labels: Sequence[str], known: Sequence[Knowledge]) -> dict[str, Any]:
    """Return how several runs compare, as plain data. ``known`` tells of each run's architectures.

    Runs of one task and one space are compared by the architectures that both know, and by their hypervolume where
    they share a target too. Others only stand side by side.
    """
    groups = groups_of(runs)
    return {
        "runs": [_row(run, label) for run, label in zip(runs, labels, strict=True)],
        "groups": [_group(runs, labels, known, members) for members in groups],
        "sentences": _apart_sentences(runs, labels, groups),
    }


def _row(run: Run, label: str) -> dict[str, Any]:
    front = run.front
    best = front.best_or_none
    cost = next((metric for metric in front.costs if best is not None and best.has(metric.name)), None)
    state = "finished" if run.is_over else f"ended: {run.ended_by}" if run.ended_by else "not finished"
    return {
        "run": label,
        "task": task_text(run),
        "space": space_of(run)[0] or "unknown",
        "target": run.target,
        "objectives": [metric.title for metric in objectives_of(run)],
        "evaluations": len(trainings_of(run.rows)),
        "winners": len(front),
        "best": None if best is None else best.architecture.id,
        "best_text": "" if best is None else f"{run.words.text(best.test_error)} {run.front.scored} {run.words.title}",
        "cost_text": "" if best is None or cost is None else cost.format(best.value(cost.name)),
        "state": state,
        "damages": list(run.damages_in_short),
    }


def _group(
    runs: Sequence[Run], labels: Sequence[str], known: Sequence[Knowledge], members: Sequence[int]
) -> dict[str, Any]:
    pairs = list(itertools.combinations(members, 2))
    compared = [
        comparison_of(Side(labels[a], known[a]), Side(labels[b], known[b]), metric, quality_of(runs[a].objectives))
        for a, b in pairs[:MOST_PAIRS]
        for metric in _costs(runs[a], runs[b])
    ]
    named = [(index, labels[index] if len(runs) > 1 else "") for index in members]
    compared += [each for index, of in named for each in comparisons_of_targets(runs[index], known[index], of)]
    left = len(pairs) - MOST_PAIRS
    return {
        "members": [labels[index] for index in members],
        "targets": [[labels[index], runs[index].target] for index in members],
        "task": task_text(runs[members[0]]),
        "space": space_of(runs[members[0]])[0],
        "fronts": [
            fronts_of(
                [runs[index] for index in members],
                [labels[index] for index in members],
                [known[index] for index in members],
                quality_of(runs[members[0]].objectives),
                cost,
            )
            for cost in (_costs_of(runs, members) if len(runs) > 1 else ())
        ],
        "comparisons": compared,
        "growth": _growth(runs, labels, known, members),
        "sentences": [
            *filter(None, (estimated_text(runs[index].rows, labels[index]) for index in members)),
            *([f"{left} more pairs of runs are not compared here: name fewer runs."] if left > 0 else []),
        ],
    }


def _costs_of(runs: Sequence[Run], members: Sequence[int]) -> list[Metric]:
    """Return the costs of any run of a group, each once."""
    costs = {metric.name: metric for index in members for metric in runs[index].front.costs}
    return list(costs.values()) or [METRICS["latency_ms"]]


def _costs(one: Run, other: Run) -> list[Metric]:
    """Return the measured costs that both runs minimised or limited, by default the latency."""
    names = [{metric.name for metric in run.front.costs} for run in (one, other)]
    shared = [metric for metric in METRICS.among(sorted(names[0] & names[1])) if metric.source == "measured"]
    return shared or [METRICS["latency_ms"]]


def _growth(
    runs: Sequence[Run], labels: Sequence[str], known: Sequence[Knowledge], members: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the hypervolume of each search up to one point, as a share of what all have together.

    Only searches for the same objectives on the same target share a picture; of several such sets each has its own.
    """
    sets: dict[tuple[object, ...], list[int]] = {}
    for index in members:
        key = (runs[index].target, *(metric.name for metric in objectives_of(runs[index])))
        sets.setdefault(key, []).append(index)
    return [_picture(runs, labels, known, chosen) for chosen in sets.values() if len(chosen) > 1]


def _picture(
    runs: Sequence[Run], labels: Sequence[str], known: Sequence[Knowledge], chosen: Sequence[int]
) -> dict[str, Any]:
    metrics = objectives_of(runs[chosen[0]])
    found = [points_of(trainings_of(runs[index].rows), known[index], metrics, runs[index].limits) for index in chosen]
    pooled = np.vstack([points.losses for points in found])
    if not len(pooled):
        return {"target": runs[chosen[0]].target, "curves": [], "sentences": ["No run has an evaluation to compare."]}
    reference = reference_point(pooled, [np.inf] * len(metrics))
    whole = hypervolume(pooled, reference) or 1.0
    curves = []
    for index, points in zip(chosen, found, strict=True):
        shares = growth(points, reference) / whole
        shown = np.unique(np.append(np.flatnonzero(np.diff(shares, prepend=0.0) > 0), max(0, len(shares) - 1)))
        shown = shown[shown < len(shares)]
        curves.append(
            {
                "run": labels[index],
                "n": (shown + 1).tolist(),
                "share": [round(float(each), 6) for each in shares[shown]],
                "evaluations": points.evaluations,
            }
        )
    ends = ", ".join(f"{each['run']} {100 * each['share'][-1]:.1f} %" for each in curves if each["share"])
    return {
        "target": runs[chosen[0]].target,
        "objectives": [metric.title for metric in metrics],
        "curves": curves,
        "sentences": [
            f"On {runs[chosen[0]].target}, of the hypervolume that all these runs have together: {ends}. One run of a "
            "search is one draw: repeat with other seeds before you prefer one."
        ],
    }


def _apart_sentences(runs: Sequence[Run], labels: Sequence[str], groups: Sequence[Sequence[int]]) -> list[str]:
    """Return why runs of different groups only stand side by side."""
    if len(groups) < 2:
        return []
    told = []
    firsts = [runs[members[0]] for members in groups]
    tasks = {_task_in_any_size(run, firsts) for run in firsts}
    names = "; ".join(
        f"{', '.join(labels[index] for index in members)}: {task_text(runs[members[0]])}, space "
        f"{space_of(runs[members[0]])[0] or 'unknown'}"
        for members in groups
    )
    if len(tasks) > 1:
        told.append(
            "These runs learn different tasks, so their errors cannot be compared and stand side by side only: "
            f"{names}."
        )
    elif len({space_of(run) for run in firsts}) == 1:
        sizes = "; ".join(
            f"{', '.join(labels[index] for index in members)}: {_sizes_text(runs[members[0]])}" for members in groups
        )
        told.append(
            "These runs learn the same items in other sizes, so that the same architecture is another network; their "
            f"fronts can be compared, architectures cannot: {sizes}."
        )
    else:
        told.append(
            f"These runs search different spaces, so that no architecture is in both; their fronts can be compared, "
            f"architectures cannot: {names}."
        )
    return told
