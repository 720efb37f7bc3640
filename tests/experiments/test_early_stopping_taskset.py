"""The script that stops trainings of TaskSet, on a made-up table."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from experiments.early_stopping_replay import RandomRule, Replay, replay
from experiments.early_stopping_taskset import NOT_FINITE, HyperbandRule, main, read_curves, scored

STEPS = 9


@pytest.fixture(name="table")
def made_up_table(tmp_path: Path) -> Path:
    """Two tasks with 40 trainings each, which end in the order in which they begin; one of a task is not finite."""
    path = tmp_path / "table.csv.gz"
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "setting", *(f"valid_loss_{step}" for step in range(STEPS + 1))])
        for task in ("first", "second"):
            for setting in range(40):
                last = 0.2 + 0.01 * ((7 * setting) % 40)
                writer.writerow([task, setting, 0.7, *(last + 0.5 / step for step in range(1, STEPS + 1))])
            writer.writerow([task, 40, 0.7, 0.7, *[""] * (STEPS - 1)])
    return path


def test_curves_begin_after_the_first_step(table: Path) -> None:
    """The loss of the untrained model is no step, and what is not finite counts as worse than guessing."""
    curves = read_curves(table)
    assert list(curves) == ["first", "second"]
    assert curves["first"][0].curve == pytest.approx([0.2 + 0.5 / step for step in range(1, STEPS + 1)])
    assert curves["second"][-1].curve == (0.7, *[NOT_FINITE] * (STEPS - 1))


def test_a_score_counts_all_steps_and_the_best_last_loss(table: Path) -> None:
    """Without stopping nothing is saved and lost; a rule that stops all ends without any loss."""
    trainings = read_curves(table)["first"]
    assert scored(trainings, RandomRule({}, 0), 0) == (1.0, 0.0)
    saved, above = scored(trainings, RandomRule({1: (1, 0)}, 0), 0)
    assert (saved, above) == pytest.approx((STEPS, NOT_FINITE / (0.2 + 0.5 / STEPS) - 1))


def test_hyperband_stops_some(table: Path) -> None:
    """Each training has its trial, and worse ones end early."""
    trainings = read_curves(table)["first"]
    found: Replay = replay(trainings, range(len(trainings)), 1, HyperbandRule(STEPS))
    assert found.epochs[0] == STEPS
    assert 1 <= min(found.epochs) < STEPS


def test_the_command_prints_a_line_for_each_rule(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where early losses rank trainings rightly, the rule of a search finds the best one in less steps."""
    assert main(["--table", str(table), "--seeds", "2"]) == 0
    _, _, ours, hyperband, *_ = capsys.readouterr().out.splitlines()
    name, saved, above, much, _ = (cell.strip() for cell in ours.strip("|").split("|"))
    assert (name, above, much) == ("early_stopping", "0.00 (at most 0.0)", "0 of 4")
    assert float(saved.split(" ")[0]) > 1.2
    assert hyperband.startswith("| Hyperband of Optuna | ")
