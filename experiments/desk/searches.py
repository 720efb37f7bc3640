"""The cells of the desk table: the product's own command, the winner that it names as best, and the comparison."""

from __future__ import annotations

import datetime
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nas
from experiments.beside_winners import measured_in_turns
from experiments.desk.data_sets import DataSet
from experiments.desk.results import Cell, Key, Model, compared
from experiments.desk.simple_models import Simple, SimpleModels, errors_of
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import processor_name
from nas.hardware.runtimes.neighbours import moment
from nas.results.run import Run
from nas.results.winner import Winner
from nas.space.parts.own_inputs import wishes_of
from nas.space.search_space import load_space

LOOK_S = 3.0
"""For so long the desk looks how busy other programs keep the machine."""
NO_WINNERS = 1
"""The exit status of a search that found none."""
TOLERANCE = 0.005
"""The largest difference of a test error from what the product says of the same model."""


class SearchFailedError(Exception):
    """The command ended with an error."""


@dataclass(frozen=True)
class Found:
    """Our winner: its model file, its validation error, and its error on each test item."""

    winner: Winner
    model: Path
    validation: float
    errors: nas.FloatArray


def finished_cell(data: DataSet, key: Key, simple: SimpleModels, folder: Path) -> Cell:
    """Search for the cell's time, compare our winner with the best simple model, and return the cell.

    Raises:
        SearchFailedError: the command failed.
    """
    limit_ms = simple.limit_ms if key.limited else None
    busy_before = busy_cores()
    seconds = search(data, key, limit_ms, folder / "runs")
    busy_after = busy_cores()
    run = nas.load_run(folder / "runs" / key.name)
    task = data.load()
    found, best = tested_winner(run, task), simple.best(math.inf if limit_ms is None else limit_ms)
    behind, error, verdict = compared(
        None if found is None else found.errors, None if best is None else np.load(best.errors)
    )
    ours, theirs = measured_together(run, found, best, folder / "together" / key.name)
    return Cell(
        group=data.group,
        data=data.name,
        seed=key.seed,
        minutes=key.minutes,
        limit_ms=limit_ms,
        ours=ours,
        simple=theirs,
        pipeline_ms=None if best is None or best.model is None else best.pipeline_ms,
        behind=behind,
        standard_error=error,
        verdict=verdict,
        items=len(task.test),
        seconds=(seconds, simple.seconds),
        doubts=() if found is None else found.winner.doubts,
        busy_cores=None if busy_before is None or busy_after is None else max(busy_before, busy_after),
        date=datetime.date.today().isoformat(),
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        version=nas.__version__,
    )


def command_of(data: DataSet, key: Key, limit_ms: float | None, runs: Path) -> list[str]:
    """Return the command that a new user types. Kept measurements are ignored: a new user has none."""
    limit = [] if limit_ms is None else ["--limit", f"latency_ms<={limit_ms:.6g}ms"]
    own = ["--time", f"{60 * key.minutes:g}s", *limit, "--seed", str(key.seed)]
    where = ["--name", key.name, "--runs", str(runs), "--fresh-measurements"]
    return [sys.executable, "-m", "nas", "search", *data.arguments, *own, *where]


def search(data: DataSet, key: Key, limit_ms: float | None, runs: Path) -> float:
    """Run the command, whose output goes into a file beside the run, and return its seconds.

    Raises:
        SearchFailedError: it ended with an error.
    """
    shutil.rmtree(runs / key.name, ignore_errors=True)  # the rest of a start that was killed
    runs.mkdir(parents=True, exist_ok=True)
    log = runs / f"{key.name}.log"
    began = time.monotonic()
    with log.open("wb") as output:
        command = command_of(data, key, limit_ms, runs)
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode  # noqa: S603 ours
    if status not in (0, NO_WINNERS):
        raise SearchFailedError(f"{key.name}: the search ended with status {status}; {log} says why.")
    return time.monotonic() - began


def best_by_search(run: Run) -> Winner | None:
    """Return the best winner within the limits, by what the search knew. The test has no part in that.

    The product lets the test choose where winners were retrained for long. Here that would count the test twice, so
    the lowest error of the search decides then.
    """
    met = [winner for winner in run.front if winner.meets(run.limits)]
    if all(winner.searched for winner in met):
        return run.front.best_or_none
    errors = {record.architecture: record.values.get("error", math.inf) for record in run.records}
    return min(met, key=lambda winner: (errors[winner.architecture], winner.value("latency_ms")))


def tested_winner(run: Run, task: nas.Task) -> Found | None:
    """Return the best winner with its error on each test item; None if no winner is within the limits.

    Raises:
        ValueError: its test error is not what the run says.
    """
    winner = best_by_search(run)
    if winner is None:
        return None
    assert winner.bundle is not None
    model = winner.bundle / "model.onnx"
    space = load_space(run.recipe.space.name, run.recipe.space.options, task.signature)
    errors = errors_of(model, task.prepared_for(wishes_of(space, winner.architecture)))
    if abs(float(errors.mean()) - winner.test_error) > TOLERANCE:
        raise ValueError(f"the test error of {model} must be {winner.test_error:g}, but got {errors.mean():g}.")
    return Found(winner, model, winner.searched.get("error", math.nan), errors)


def measured_together(
    run: Run, found: Found | None, best: Simple | None, folder: Path
) -> tuple[Model | None, Model | None]:
    """Return both models with their latencies. If both have a model file, they are measured in turns."""
    ours_ms = math.nan if found is None else found.winner.value("latency_ms")
    theirs_ms = math.nan if best is None else best.latency_ms
    if found is not None and best is not None and best.model is not None:
        shutil.rmtree(folder, ignore_errors=True)
        first, second = measured_in_turns([found.model, best.model], run.recipe, BenchSettings(), folder)
        ours_ms, theirs_ms = first.median, second.median
    return (
        None if found is None else Model(found.winner.short, found.validation, float(found.errors.mean()), ours_ms),
        None if best is None else Model(best.name, best.validation, best.error, theirs_ms),
    )


def busy_cores() -> float | None:
    """Return how many cores are busy now, while this program waits; None where that is unknown."""
    before = moment()
    time.sleep(LOOK_S)
    after = moment()
    if not before.busy_s:
        return None
    busy_s = sum(after.busy_s[core] - seconds for core, seconds in before.busy_s.items() if core in after.busy_s)
    return round(busy_s / (after.at_s - before.at_s), 2)
