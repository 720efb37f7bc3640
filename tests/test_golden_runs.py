"""The same recipe and seed give the rows that version 0.5.0 wrote, for every sampler, also after an interruption.

The searches look everything up in a small table, so that no row depends on this machine. ``tests/golden`` keeps what
version 0.5.0 found. Whoever changes what a search does on purpose writes that file anew, and says so.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from table_space import DEVICE, Chain, write_table

import nas
from nas.storage.journal import JournalReader
from nas.storage.journal_rows import Fit, TurnedAway
from nas.values.metric import METRICS

GOLDEN = json.loads((Path(__file__).parent / "golden" / "table_runs_of_0_5_0.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-6
"""Processors differ in the last digits of sums and products."""


class Interruption(nas.NullProgress):
    """Stops a run, as Ctrl-C does, at the given step."""

    def __init__(self, step: int) -> None:
        self._left = step

    def advance(self, count: int = 1, best: str | None = None) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


MODELLED = {name for name, metric in METRICS.items() if metric.source == "modelled"}
"""Metrics that depend on the caches of the machine on which a test runs."""
HERE = nas.Instruments(looks_apart=False)
"""The space of these tests needs no process of its own."""


def recipe(table: Path, sampler: str) -> dict[str, Any]:
    return {
        "name": "run",
        "evaluate": "table",
        "sampler": sampler,
        "trials": 20,
        "rounds": 2,
        "limits": ["latency_ms <= 1.2ms"],
        "predictor": "quick_predictor:fit_quick",
        "measuring": {"initial": 8, "per_round": 3},
        "retraining": {"winners": 3},
        "execution": {"executor": "inline"},
        "table": {
            "path": str(table),
            "accuracy": "val_acc",
            "test_accuracy": "test_acc",
            "device": DEVICE,
            "training_s": 450.0,
            "input_shape": [1, 8, 8],
        },
    }


def rows_of(run: Path) -> dict[str, Any]:
    """What the golden file keeps of a run's journal, but for what an interruption changes: the order of kinds."""
    with JournalReader(run) as journal:
        evaluations = [
            {
                "stage": row.stage,
                "id": row.architecture.id,
                "round": row.round,
                "values": {name: value for name, value in row.values.items() if name not in MODELLED},
                "predicted": {n: [p.mean, p.lower, p.upper, p.limit, p.known] for n, p in row.predicted.items()},
                "measured": {name: m.rounds[0][0] for name, m in row.measurements.items()},
            }
            for row in journal.rows(nas.Evaluation)
        ]
        turned_away = sum((Counter(row.counts) for row in journal.rows(TurnedAway)), Counter[str]())
        return {
            "evaluation": evaluations,
            "fit": [row.to_json() for row in journal.rows(Fit)],
            "turned_away": dict(turned_away),
        }


def assert_like(found: Any, expected: Any) -> None:
    """Equal, numbers within the tolerance."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_like(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_like(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
    else:
        assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "step"), [*((name, None) for name in GOLDEN), ("gp", 3), ("gp", 12), ("random", 21)]
)
def test_a_recipe_and_a_seed_give_the_rows_of_version_0_5_0(tmp_path: Path, sampler: str, step: int | None) -> None:
    """Evaluations, fits and what limits turned away; with ``step``, interrupted there before a round and resumed."""
    wanted = recipe(write_table(tmp_path / "t.csv.gz"), sampler)
    if step is None:
        nas.search(wanted, space=Chain, runs=tmp_path, progress=None, instruments=HERE)
    else:
        with pytest.raises(KeyboardInterrupt):
            nas.search(wanted, space=Chain, runs=tmp_path, progress=Interruption(step), instruments=HERE)
        nas.resume(tmp_path / "run", space=Chain, progress=None, instruments=HERE)
    found = rows_of(tmp_path / "run")
    for kind in ("evaluation", "fit"):
        assert_like(found[kind], [_without_modelled(row) for name, row in GOLDEN[sampler]["rows"] if name == kind])
    if step is None:
        assert found["turned_away"] == GOLDEN[sampler]["turned_away"]


def _without_modelled(row: dict[str, Any]) -> dict[str, Any]:
    values = row.get("values")
    return row if values is None else {**row, "values": {n: v for n, v in values.items() if n not in MODELLED}}
