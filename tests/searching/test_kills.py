"""After kill -9 of drivers and workers at random moments, runs in a table lose nothing and do nothing twice.

``NAS_TEST_SEED`` decides the moments, as far as a machine repeats them. The slow tests kill thirty times in all;
``NAS_TEST_KILLS`` and ``NAS_TEST_RAY_KILLS`` set other numbers.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import assert_nothing_twice, delete_rows, evaluations_of
from forked_commands import run_forked
from kills import DRIVER, WORKER, ForkedTableCommand, KilledRuns, kill_again_and_again
from spaces_here import take_small_here
from table_space import DEVICE, accuracy, final_accuracy, latency_ms, write_table

import nas
from nas.results.front import Front
from nas.results.run_folder import load_run
from nas.space.architecture import Architecture
from nas.storage.journal import JOURNAL, read_rows
from nas.storage.journal_rows import Fit, RoundEnded, Row, TurnedAway
from nas.values.evaluation import Evaluation

pytestmark = pytest.mark.usefixtures("small_spaces_here")  # for the runs that are resumed in this process

SEED = int(os.environ.get("NAS_TEST_SEED", "0"))
KILLS = int(os.environ.get("NAS_TEST_KILLS", "24"))
RAY_KILLS = int(os.environ.get("NAS_TEST_RAY_KILLS", "6"))
TRIALS = 12
INLINE = ("--executor", "inline")
RAY = ("--executor", "ray", "--set", "execution.workers=2")
ONE_A_ROUND = ("--set", f"rounds={TRIALS}")
"""With one training a round, a proposer knows only rows, so after any kill it makes the same proposals again."""


def table_run(tmp_path: Path) -> tuple[str, ...]:
    """Return the arguments of a short run in a made-up table. Each look-up takes 50 ms."""
    table = write_table(tmp_path / "table.csv.gz")
    settings = (
        *("predictor=quick_predictor:fit_quick", f"table.path={table}", "table.accuracy=val_acc"),
        *("table.test_accuracy=test_acc", f"table.device={DEVICE}", "table.input_shape=[1, 8, 8]"),
        *("table.training_s=60", "table.pause_s=0.05"),
        *("measuring.initial=8", "measuring.most_initial=8", "measuring.per_round=2", "retraining.winners=100"),
    )
    flags = ("--space", "table_space:Chain", "--evaluate", "table", "--trials", str(TRIALS))
    return (*flags, *(part for setting in settings for part in ("--set", setting)))


def decided(run: Path) -> dict[str, Sequence[Row]]:
    """Return the rows that a recipe and a seed decide. Costs and versions depend on the machine."""
    return {row.kind: read_rows(run, row) for row in (Evaluation, TurnedAway, Fit, RoundEnded)}


def front_json(front: Front) -> dict[str, Any]:
    return {**front.to_json(), "run_folder": ""}


def unpredicted(front: Front) -> dict[str, Any]:
    """Return a front without what was predicted of its winners.

    Of a run that is resumed when the rest was looked up, the predictor has learned of the rest too. A calm one has not.
    """
    found = front_json(front)
    return {**found, "winners": [{**winner, "predicted": {}} for winner in found["winners"]]}


def expected_front(run: Path) -> set[Architecture]:
    """Return the candidates with known values that no other one dominates, by the table's values."""
    failed = {row.architecture for stage in ("measure", "train") for row in evaluations_of(run, stage) if row.failed}
    measured = {row.architecture for row in evaluations_of(run, "measure")}
    known = {row.architecture for row in evaluations_of(run, "train")} & measured - failed
    points = {each: (-accuracy(each), latency_ms(each)) for each in known}
    return {
        each
        for each, (error, latency) in points.items()
        if not any(e <= error and c <= latency and (e, c) != (error, latency) for e, c in points.values())
    }


def undisturbed_end(run: Path, folder: Path) -> Front:
    """Remove the winners from a copy of the run, resume it undisturbed, and return its front."""
    shutil.copytree(run, folder)
    delete_rows(folder, "kind = 'evaluation' AND body LIKE '%\"stage\": \"winner\"%'")
    delete_rows(folder, "number IN (SELECT MAX(number) FROM rows WHERE kind = 'round')")
    assert not evaluations_of(folder, "winner")
    return nas.resume(folder)


def assert_all_is_well(killed: KilledRuns, folder: Path) -> None:
    """Check that each run has its exact budget, no row twice, and the front of its evaluations."""
    for run in killed.runs:
        trained = evaluations_of(run, "train")
        assert len(trained) == TRIALS
        assert_nothing_twice(run)
        failures = [row.failure.kind for row in trained if row.failure]
        assert set(failures) <= {"worker"}
        assert len(failures) <= killed.worker_kills[run] // 2  # a training that was lost once begins again
        for row in trained:
            assert row.failed or row.values["error"] == pytest.approx(1 - accuracy(row.architecture) / 100)
        winners = evaluations_of(run, "winner")
        assert {row.architecture for row in winners} == expected_front(run) != set()
        for row in winners:
            assert row.details["test_error"] == pytest.approx(1 - final_accuracy(row.architecture) / 100)
            assert row.measurements["latency_ms"].median == latency_ms(row.architecture)
        front = load_run(run).front
        assert unpredicted(front) == unpredicted(undisturbed_end(run, folder / f"again-{run.name}"))
        assert (run / "report.html").is_file()


def assert_as_undisturbed(killed: KilledRuns, flags: tuple[str, ...], folder: Path) -> None:
    """Check that the killed runs have the rows and the front of a run that nobody killed."""
    done = run_forked("search", *flags, "--name", "calm", "--runs", folder, prepare=take_small_here)
    assert done.returncode == 0, done.stderr
    calm = decided(folder / "calm")
    for run in killed.runs:
        assert decided(run) == calm
        assert front_json(load_run(run).front) == front_json(load_run(folder / "calm").front)


@pytest.mark.slow
@pytest.mark.parametrize("limits", [(), ("--limit", "latency_ms <= 1.3ms")], ids=["free", "limited"])
def test_a_run_ends_with_the_same_rows_wherever_it_was_cut(tmp_path: Path, limits: tuple[str, ...]) -> None:
    """Whichever row was the last on disk, a resumed run ends with the rows of an uninterrupted one.

    Every row is the last one in one of the two cases.
    """
    short = ("--set", "table.pause_s=0", "--set", "trials=5", "--set", "rounds=5")
    flags = (*table_run(tmp_path), *INLINE, *ONE_A_ROUND, *short, *limits)
    done = run_forked("search", *flags, "--name", "calm", "--runs", tmp_path, prepare=take_small_here)
    assert done.returncode == 0, done.stderr
    calm = decided(tmp_path / "calm")
    assert any(row.near_limits for row in read_rows(tmp_path / "calm", TurnedAway)) == bool(limits)
    connection = sqlite3.connect(tmp_path / "calm" / JOURNAL)
    # All rows of one append have one time.
    kinds = dict(connection.execute("SELECT MAX(number), kind FROM rows GROUP BY at ORDER BY at"))
    connection.close()
    assert set(kinds.values()) >= {"evaluation", "fit", "round", "cost"}
    for last in list(kinds)[bool(limits) :: 2]:  # the two cases take turns, as a resume takes seconds
        cut = tmp_path / f"cut{last}"
        shutil.copytree(tmp_path / "calm", cut)
        delete_rows(cut, "number > ?", last)
        nas.resume(cut)
        assert decided(cut) == calm, f"after {kinds[last]}, row {last}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_kills_change_nothing(tmp_path: Path) -> None:
    """Drivers are killed in all stages, and rows and front are those of a run that nobody killed."""
    flags = (*table_run(tmp_path), *INLINE, *ONE_A_ROUND)
    killed = kill_again_and_again(
        tmp_path, flags, KILLS, np.random.default_rng((SEED, 1)), span_s=1.0, command=ForkedTableCommand
    )
    print(killed)
    assert killed.kills == {DRIVER: KILLS}
    assert_as_undisturbed(killed, flags, tmp_path)
    assert_all_is_well(killed, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_of_drivers_and_workers_lose_nothing(tmp_path: Path) -> None:
    """With Ray, the training of a killed worker is repeated, and fails only if that is killed too."""
    flags = (*table_run(tmp_path), "--set", "table.pause_s=0.2", "--set", "rounds=3", *RAY)
    rng = np.random.default_rng((SEED, 2))
    killed = kill_again_and_again(
        tmp_path, flags, RAY_KILLS, rng, span_s=8.0, command=ForkedTableCommand, worker_share=0.5, patience_s=10
    )
    print(killed)
    assert killed.kills.total() == RAY_KILLS
    assert set(killed.kills) <= {DRIVER, WORKER}
    assert_all_is_well(killed, tmp_path)
