"""A driver that is killed, with real processes, is resumed from its rows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from commands import (
    SHORT,
    RunningCommand,
    assert_nothing_twice,
    evaluations_of,
    rows_of,
)
from fault_runs import INLINE, RAY, faults, trainings_if_any
from forked_commands import ForkedCommand
from spaces_here import take_faulty_here

pytestmark = pytest.mark.usefixtures("onnx_profile")  # so that not every command looks for it


SLOW_RUN = (
    *faults("slow"),
    *("--set", "space.seconds=0.04", *SHORT, "--set", "training.subset=0.5", "--set", "rounds=2"),
    *("--set", "measuring.per_round=1", "--set", "retraining.winners=2", "--fresh-measurements"),
)
"""Earlier measurements are not reused, because they would change the moments below."""

MOMENTS = (
    "exporting models: 5 to do",
    "measuring 5 models",
    "round 1/2: training",
    "1 trained",
    "round 2/2: training",
    "5 trained",
    "retraining winners",
    "measuring winners",
)
"""The driver is killed after these lines of output, or numbers of ended trainings."""


RAY_MOMENTS = ("1 trained", "round 2/2: training", "retraining winners")


MOST_RUNS = 4
"""On a busy machine a run may end before this process sees the moment. Then another run starts, up to this number."""


def kill_and_resume(
    tmp_path: Path, executor: tuple[str, ...], moments: tuple[str, ...], patience_s: float = 30
) -> None:
    started: list[RunningCommand] = []
    runs: list[Path] = []

    def start() -> RunningCommand:
        runs.append(tmp_path / f"run{len(runs)}")
        assert len(runs) <= MOST_RUNS, "\n".join(command.output for command in started)
        named = ("--trials", "6", "--name", runs[-1].name, "--runs", tmp_path)
        return ForkedCommand(tmp_path, "search", *SLOW_RUN, *executor, *named, prepare=take_faulty_here)

    started.append(start())
    acknowledged: list[tuple[object, ...]] = []
    for number, moment in enumerate(moments):
        while True:
            command = started[-1]
            if command.wait_until(lambda: has_come(moment, command, runs[-1])):  # noqa: B023 (the lambda is called at once)
                time.sleep(0.15 * (number % 3))
            if command.process.poll() is None:
                break
            assert_over(command, runs[-1], acknowledged)
            acknowledged = []
            started.append(start())
        command.kill()
        rows = rows_of(runs[-1])
        assert rows[: len(acknowledged)] == acknowledged, "rows that were on disk have changed"
        acknowledged = rows
        started.append(ForkedCommand(tmp_path, "search", "--resume", runs[-1], prepare=take_faulty_here))
    started[-1].process.wait(timeout=120)
    assert_over(started[-1], runs[-1], acknowledged)
    for ended in started:
        ended.wait_for_the_others(patience_s)


def has_come(moment: str, command: RunningCommand, run: Path) -> bool:
    count, _, trained = moment.partition(" ")
    if trained == "trained":
        return len(trainings_if_any(run)) >= int(count)
    return moment in command.output


def assert_over(command: RunningCommand, run: Path, acknowledged: list[tuple[object, ...]]) -> None:
    """Check that the run ended well, with unchanged rows, the exact budget and nothing done twice."""
    assert command.process.returncode == 0, command.output
    assert rows_of(run)[: len(acknowledged)] == acknowledged
    assert len(evaluations_of(run, "train")) == 6
    assert len(evaluations_of(run, "winner")) == len(evaluations_of(run, "retrain")) >= 1
    assert_nothing_twice(run)


@pytest.mark.slow
def test_a_killed_driver_goes_on_where_it_was(tmp_path: Path) -> None:
    """After kill -9 at eight moments every row stays, nothing is done twice, and the budget is exact."""
    kill_and_resume(tmp_path, INLINE, MOMENTS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_driver_goes_on_where_it_was_with_ray(tmp_path: Path) -> None:
    """Ray's processes end with their driver, within ten seconds, even if the kill comes while Ray starts."""
    kill_and_resume(tmp_path, RAY, RAY_MOMENTS, patience_s=10)
