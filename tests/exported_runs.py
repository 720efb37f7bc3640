"""Runs that are hard to export or to draw: empty, cut short, with one objective or four, with hostile names."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from awkward_fronts import winner
from run_record_example import example_record

from nas.results.run import Run
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation, PredictedValue
from nas.values.objective import Limit, Objective

HOSTILE = '<script>alert("1")</script>,$x^2$\u202e'


@functools.cache
def _recorded() -> Run:
    """Return a run of 36 candidates and four winners. It is made once: its rows keep their medians and intervals."""
    return replace(example_record(), is_over=True)


def whole(folder: Path) -> Run:
    """Return a finished run in ``folder``."""
    return replace(_recorded(), run_folder=folder)


def awkward_runs(folder: Path) -> dict[str, Run]:
    """Return runs of every kind that an export and a plot must cope with."""
    return {name: replace(run, run_folder=folder) for name, run in _awkward().items()}


@functools.cache
def _awkward() -> dict[str, Run]:
    base = _recorded()
    names = [{"op": HOSTILE, "width": width} for width in (1, 2)]
    return {
        "empty": replace(base, rows=(), fits=(), is_over=False),
        "unfinished": replace(base, rows=base.rows[:20], is_over=False),
        "damaged": replace(base, damages=("row 14 is not what was written",)),
        "one objective": replace(base, objectives=(Objective.parse("error"),), limits=()),
        "four objectives": replace(
            base, objectives=tuple(map(Objective.parse, ("error", "latency_ms", "params", "macs")))
        ),
        "nothing feasible": replace(base, limits=(Limit.parse("latency_ms <= 1ns"),)),
        "measured alone": replace(base, rows=tuple(row for row in base.rows if row.stage == "measure")),
        "a thousand winners": replace(
            base, rows=tuple(winner({"width": n}, n % 300, 0.1 + n / 100) for n in range(1000))
        ),
        "hostile names": replace(
            base, name=HOSTILE, rows=tuple(winner(each, 3 * n, 0.5 + n) for n, each in enumerate(names))
        ),
        "a choice of several types": replace(
            base, rows=tuple(winner({"size": size}, 3, 0.5) for size in (3, "auto", True, 0.5))
        ),
        "no winner": replace(base, rows=tuple(row for row in base.rows if row.stage in ("measure", "train"))),
        "no choices": replace(base, rows=(winner({}, 4, 0.5),)),
        "infinite prediction": replace(base, rows=(_unsure(), *base.rows)),
    }


def _unsure() -> Evaluation:
    """Return a candidate whose predictor knew nothing: one of few samples gives infinite bounds."""
    guess = {"latency_ms": PredictedValue(0.3, 0.0, float("inf"), float("inf"), known=False)}
    details = {"epochs": 1, "stopped_early": False, "seconds": 1.0}
    return Evaluation("train", Architecture({"width": 99}), 0, {"error": 0.5}, guess, details=details)
