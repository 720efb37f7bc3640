"""What a run tells while it goes on: its trainings, its hypervolume, its device, and whether a process works on it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.hardware.machine import free_memory_bytes, usable_cores
from nas.jobs.workers_now import read_workers
from nas.progress import duration_text
from nas.reports.analysis.architecture_values import known_of, trainings_of
from nas.reports.analysis.course import limits_by_objective, objectives_of, points_of
from nas.reports.analysis.growth import growth, reference_point
from nas.reports.report import headline
from nas.results.run import Run
from nas.results.run_folder import resume_text_of
from nas.values.evaluation import Evaluation
from nas.values.metric import METRICS, readable

LAST_ROWS = 12
MOST_WORKERS = 100
RUNNING, FINISHED, ENDED, STOPPED, UNKNOWN = "running", "finished", "ended", "stopped", "not finished"


def state_of(run: Run, is_held: bool | None) -> tuple[str, str]:
    """Return the state of a run in a word and in a sentence. ``is_held`` tells if a process writes to it."""
    if is_held:
        return RUNNING, "A process works on it."
    if run.is_over:
        return FINISHED, "Everything is done."
    if run.ended_by:
        return ENDED, run.ended_by
    if is_held is None:
        return UNKNOWN, "Whether a process works on it cannot be told on this system."
    return STOPPED, f"No process that this machine can see works on it. Go on with: {resume_text_of(run)}"


def summary_of(run: Run, is_held: bool | None) -> dict[str, Any]:
    """Return what a page shows of a run while it goes on, as plain data."""
    state, sentence = state_of(run, is_held)
    trainings = trainings_of(run.rows)
    ends = Counter(training.end for training in trainings)
    recipe = run.recipe
    return {
        "state": state,
        "sentence": sentence,
        "headline": headline(run),
        "target": run.target,
        "evaluations": len(trainings),
        "planned": recipe.trials if recipe.search_time_s is None else None,
        "whole": ends["whole"],
        "stopped": ends["stopped"],
        "failed": ends["failed"],
        "measured": sum(row.stage == "measure" and not row.failed for row in run.rows),
        "winners": len(run.front),
        "round": max((row.round for row in run.rows), default=0),
        "rounds": recipe.rounds,
        "growth": growth_of(run),
        "device": device_of(run.rows),
        "latest": [latest_text(run, row) for row in reversed(run.rows[-LAST_ROWS:])],
        "last_at": run.timeline.last_at,
        "damages": list(run.damages_in_short),
    }


def workers_told(folder: Path) -> dict[str, Any] | None:
    """Return what the workers of a run do now, as a sentence and rows of texts; None if none train."""
    told = read_workers(folder)
    if told is None:
        return None
    now = time.time()
    left_out = [f"{node['name']} is left out: {node['left_out']}" for node in told["nodes"] if node["left_out"]]
    nodes = sum(node["left_out"] is None for node in told["nodes"])
    on = f", on {nodes} nodes" if nodes > 1 else ""
    return {
        "sentence": ". ".join(
            [f"{len(told['trainings'])} of at most {told['at_once']} trainings at once{on}", *left_out]
        )
        + ".",
        "rows": [
            [
                each["job"],
                each["node"],
                "" if each["epoch"] is None else str(each["epoch"]),
                duration_text(max(0.0, now - each["began_at"])),
            ]
            for each in told["trainings"][:MOST_WORKERS]
        ],
    }


def growth_of(run: Run) -> dict[str, Any]:
    """Return the hypervolume after each evaluation, as a share of what the run has now."""
    trainings, metrics = trainings_of(run.rows), objectives_of(run)
    points = points_of(trainings, known_of(run.records), metrics, run.limits)
    if not len(points.losses):
        return {"n": [], "share": [], "sentence": "No evaluation within the limits yet."}
    volumes = growth(points, reference_point(points.losses, limits_by_objective(run, metrics)))
    whole = float(volumes[-1]) or 1.0
    better = np.flatnonzero(np.diff(volumes, prepend=0.0) > 0)
    shown = np.unique(np.append(better, len(volumes) - 1))
    since = len(volumes) - 1 - int(better[-1]) if len(better) else len(volumes)
    return {
        "n": (shown + 1).tolist(),
        "share": [round(float(share), 5) for share in volumes[shown] / whole],
        "sentence": "The last evaluation made it larger."
        if since == 0
        else f"The last {since} evaluation{'s' * (since != 1)} did not make it larger.",
    }


def device_of(rows: Sequence[Evaluation]) -> list[tuple[str, str]]:
    """Return the state of the device as the last measurement tells it, as pairs of a title and a text."""
    measured = [row for row in rows if row.measurements]
    if not measured:
        return []
    of_time = [m for m in measured[-1].measurements.values() if m.conditions]
    last = of_time[0] if of_time else next(iter(measured[-1].measurements.values()))
    told: Mapping[str, Any] = last.conditions
    facts = [("Target", last.target)]
    facts += [("Processor", str(told["processor"]))] if told.get("processor") else []
    if isinstance(clock := told.get("clock_mhz"), int | float):
        facts.append(("Clock", f"{clock:.0f} MHz"))
    if isinstance(pressure := told.get("pressure"), int | float):
        facts.append(("Waiting for a core", f"{100 * pressure:.1f} % of the time"))
    if last.drifts:
        facts.append(("Speed", f"{100 * (last.drift - 1):+.1f} % of time against the target's reference"))
    recent = measured[-20:]
    flagged = sum(any(m.flags for m in row.measurements.values()) for row in recent)
    facts.append(("Doubts", f"{flagged} of the last {len(recent)} measurements" if flagged else "none of late"))
    return facts


def latest_text(run: Run, row: Evaluation) -> dict[str, str]:
    """Return what a row says, in short."""
    if row.failure is not None:
        text = f"failed: {row.failure.kind}"
    elif row.stage == "train":
        error = row.values.get("error")
        text = "" if error is None else f"{run.words.error} {run.words.error_text(error)}"
        text += "" if row.reached_full_fidelity else ", stopped early"
    elif row.stage == "winner":
        text = f"test {run.words.error} {run.words.error_text(float(row.details['test_error']))}"
    else:
        values = [(METRICS[n], m.median) for n, m in row.measurements.items() if n in METRICS]
        text = ", ".join(f"{metric.title.lower()} {metric.format(value)}" for metric, value in values[:2])
    return {"stage": row.stage, "id": row.architecture.id, "text": text}


def machine_now(pressure: Path = Path("/proc/pressure/cpu")) -> list[tuple[str, str]]:
    """Return how busy this machine is now, as pairs of a title and a text; what cannot be told is left out."""
    facts = [("Cores", str(usable_cores()))]
    if hasattr(os, "getloadavg"):
        facts.append(("Load of the last minute", f"{os.getloadavg()[0]:.2f}"))
    share = _pressure(pressure)
    facts += [] if share is None else [("Processes waited for a core", f"{share:.1f} % of the last 10 s")]
    free = free_memory_bytes()
    facts += [] if free is None else [("Free memory", readable(free, "B", smallest=""))]
    return facts


def _pressure(path: Path) -> float | None:
    """Return the percentage that Linux gives for the last ten seconds; None where it does not."""
    try:
        words = path.read_text().split()
    except OSError:  # another system, or a container that hides it
        return None
    found = [word.removeprefix("avg10=") for word in words if word.startswith("avg10=")]
    return float(found[0]) if found else None
