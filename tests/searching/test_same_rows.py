"""A run is the run of its seed: interrupted after any row, it has the rows of one that was not."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import evaluations_of
from quick_runs import Stopping, resume, search

from nas.searching.proposer import Proposer
from nas.storage.writer_lock import WRITER
from nas.values.evaluation import Evaluation

pytestmark = pytest.mark.usefixtures("quick_export")

OTHERS = ("tpe", "nsga2", "local", "random")
KILLS = int(os.environ.get("NAS_KILLS", "1"))
ROUNDS: dict[str, Any] = {
    "trials": 21,
    "rounds": 3,
    "training": {"epochs": 3, "subset": 0.1},
    "early_stopping": {"check": 3, "least_correlation": -1, "margin": 0, "min_peers": 2, "neighbours": 6},
    "retraining": {"epochs": 1, "winners": 1},
}


def cut(run: Path, rows: int, to: Path) -> Path:
    """Copy a run as a kill after so many rows of its journal would have left it."""
    shutil.copytree(run, to)
    (to / "report.html").unlink()
    journal = sqlite3.connect(to / "journal.db")
    with journal:
        journal.execute("DELETE FROM rows WHERE number > ?", (rows,))
    journal.close()
    (to / WRITER).unlink()  # which notes the number of rows, so that lost ones are seen
    return to


def trainings_at(run: Path) -> list[int]:
    """Return the numbers of the journal's rows that are trainings."""
    journal = sqlite3.connect(run / "journal.db")
    found = journal.execute("SELECT number FROM rows WHERE kind = 'evaluation' AND body LIKE '%\"stage\": \"train\"%'")
    numbers = [number for (number,) in found]
    journal.close()
    return numbers


def told(run: Path) -> list[tuple[object, ...]]:
    """Return what rows tell of candidates, without times."""

    def of(row: Evaluation) -> tuple[object, ...]:
        details = {key: value for key, value in row.details.items() if key not in ("seconds", "folder")}
        return row.stage, row.architecture.id, row.round, dict(row.values), dict(row.predicted), details, row.failure

    return [of(row) for stage in ("measure", "train", "winner") for row in evaluations_of(run, stage)]


@pytest.mark.parametrize("sampler", ["gp", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_run_killed_within_a_round_has_the_same_rows(tmp_path: Path, sampler: str) -> None:
    """With each sampler, and killed again after it was resumed. NAS_KILLS sets the kills of each run."""
    search(tmp_path, sampler=sampler, objectives=["error", "macs"], **ROUNDS)
    calm = tmp_path / "run"
    numbers, rng = trainings_at(calm), np.random.default_rng(7)
    assert len(numbers) == 21
    for kill, place in enumerate(sorted(rng.choice(20, KILLS, replace=False).tolist())):
        killed = cut(calm, numbers[place], tmp_path / f"killed{kill}" / "run")
        resume(killed)
        assert told(killed) == told(calm)
        twice = cut(killed, trainings_at(killed)[min(19, place + 4)], tmp_path / f"twice{kill}" / "run")
        resume(twice)
        assert told(twice) == told(calm)


@pytest.mark.slow
def test_measured_costs_and_limits_do_not_change_that(tmp_path: Path) -> None:
    """What limits turned away is counted once, and what the space cannot build is a failed row in both."""
    changes = {**ROUNDS, "objectives": ["error", "latency_ms"], "limits": ["latency_ms <= 0.9ms"]}
    search(tmp_path, **changes)
    calm = tmp_path / "run"
    numbers = trainings_at(calm)
    killed = cut(calm, numbers[len(numbers) // 2], tmp_path / "killed" / "run")
    resume(killed)
    assert told(killed) == told(calm)
    turned_away = [
        sqlite3.connect(run / "journal.db").execute("SELECT body FROM rows WHERE kind = 'turned_away'").fetchall()
        for run in (calm, killed)
    ]
    assert turned_away[0] == turned_away[1]


@pytest.mark.slow
@pytest.mark.usefixtures("int8_profile")
def test_precisions_share_a_training_in_both(tmp_path: Path) -> None:
    """Rows of one training come together, and early stopping sees each once, as the sampler proposed it."""
    changes = {**ROUNDS, "trials": 12, "objectives": ["error", "macs"], "precisions": ["fp32", "int8"]}
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, progress=Stopping("retraining winners"), **changes)
    calm = tmp_path / "run"
    killed = cut(calm, trainings_at(calm)[9], tmp_path / "killed" / "run")
    with pytest.raises(KeyboardInterrupt):
        resume(killed, progress=Stopping("retraining winners"))
    assert told(killed) == told(calm)


def test_where_the_run_went_another_way_its_rows_count_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that this version would not have proposed are kept, nothing is trained twice, and the budget is exact."""
    search(tmp_path, sampler="random", objectives=["error", "macs"], **{**ROUNDS, "trials": 9})
    killed = cut(tmp_path / "run", trainings_at(tmp_path / "run")[4], tmp_path / "killed" / "run")
    monkeypatch.setattr(
        "nas.searching.trainings.Proposer", lambda *given, seed, **options: Proposer(*given, seed=seed + 1, **options)
    )
    before = told(killed)
    resume(killed)
    after = told(killed)
    assert [each for each in after if each in before] == before
    trained = [each[1] for each in after if each[0] == "train"]
    assert len(trained) == len(set(trained)) == 9
