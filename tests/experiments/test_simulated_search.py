"""A search with a hundred made-up workers: crashes, lost nodes, stragglers, late and double reports, and kills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nas
from experiments import simulated_search
from experiments.rival_drivers import DRIVERS
from experiments.simulated_search import MadeUpTable, recipe_of, search
from experiments.virtual_cluster import Faults, VirtualCluster
from nas.storage.journal import read_rows
from nas.values.evaluation import Evaluation

TRIALS, WORKERS = 2_000, 100
MANY = Faults(crashes=0.05, stragglers=0.02, twice=0.02, loss_s=20.0)


@pytest.mark.slow
def test_each_evaluation_is_kept_once_whatever_is_lost(tmp_path: Path) -> None:
    """The driver is killed ten times, and nodes are lost. The journal has each candidate once, and none is missing."""
    cluster = VirtualCluster(WORKERS, np.random.default_rng(1), faults=MANY, waits_for_driver=False)
    kills_s = list(np.linspace(20, 200, 10))
    told = search(recipe_of(TRIALS, "random", rounds=3), cluster, tmp_path, kills_s)
    rows = read_rows(tmp_path / "run", Evaluation)
    assert rows == told.rows
    assert len(rows) == len({row.architecture for row in rows}) == TRIALS
    assert cluster.spent.crashes >= 5
    assert cluster.spent.lost_workers >= 20
    assert cluster.spent.repeated >= 10
    assert len(told.resumed_s) == len(kills_s)
    failed = [row for row in rows if row.failure is not None]
    assert {row.failure.kind for row in failed if row.failure is not None} <= {"worker"}
    assert len(failed) < TRIALS / 100
    stopped = [row for row in rows if row.details.get("stopped_early")]
    assert TRIALS / 5 < len(stopped) < TRIALS
    for row in rows:
        curve = row.details["curve"]
        assert len(curve) == row.details["epochs"]
        assert row.failure is not None or curve[-1] == row.values["error"]


def test_reports_without_a_number_fail_their_candidates_alone(tmp_path: Path) -> None:
    """A NaN in the third epoch is a failed row with its reason."""

    def fails(architecture: nas.Architecture) -> bool:
        return int(architecture.id[0], 16) == 0

    cluster = VirtualCluster(20, np.random.default_rng(2), waits_for_driver=False)
    told = search(recipe_of(150, "random"), cluster, tmp_path, table=MadeUpTable(fails=fails))
    reasons = [row.failure.reason for row in told.rows if row.failure is not None and row.failure.kind == "report"]
    assert 1 <= len(reasons) < 30
    assert all("a finite error" in reason and "nan" in reason for reason in reasons)
    assert {fails(row.architecture) for row in told.rows if row.failure is None} <= {False, True}
    assert len(told.rows) == 150


def test_the_experiment_prints_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    simulated_search.main(["--trials", "60", "--workers", "20", "--sampler", "random", "--kills", "2"])
    *_, line = capsys.readouterr().out.splitlines()
    evaluations, *figures = [cell.strip() for cell in line.strip("| ").split("|")]
    assert evaluations == "60"
    assert all(float(figure) >= 0 for figure in figures)
    assert len(figures) == 8
    assert figures[-1] == "0"


@pytest.mark.parametrize(
    "driver", ["optuna", "optuna-journal", "syne-tune", pytest.param("ray-tune", marks=pytest.mark.slow)]
)
def test_other_libraries_evaluate_as_many(driver: str) -> None:
    """Syne Tune notices the end some trainings too late."""
    if driver == "syne-tune":
        pytest.importorskip("syne_tune")
    found = DRIVERS[driver](MadeUpTable().work, 12, 4, 60.0)
    assert 12 <= found.evaluations <= (16 if driver == "syne-tune" else 12)
    assert found.driver_s > 0
    assert found.wall_s > 0 if driver == "ray-tune" else found.wall_s > 60


def test_a_row_of_another_library(capsys: pytest.CaptureFixture[str]) -> None:
    simulated_search.main(["--driver", "optuna", "--trials", "8", "--workers", "4"])
    *_, line = capsys.readouterr().out.splitlines()
    cells = [cell.strip() for cell in line.strip("| ").split("|")]
    assert cells[0] == "8"
    assert all(float(cell) >= 0 for cell in (*cells[1:4], cells[5]))
    assert (cells[4], *cells[6:]) == ("–",) * 4
