"""What goes wrong in a run, with real processes: it becomes a row, or an end from which one can go on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import (
    SHORT,
    TESTS,
    UNMEASURED,
    RunningCommand,
    assert_nothing_twice,
    environment,
    evaluations_of,
    rows_of,
    run_nas,
)
from fault_spaces import Faulty

import nas
from nas.errors import RepeatedFailureError

pytestmark = pytest.mark.usefixtures("onnx_profile")  # found once, not by each command anew

SPACE = ("--space", "fault_spaces:Faulty")
INLINE = ("--executor", "inline")
RAY = ("--executor", "ray", "--set", "execution.workers=2")
ONE_WORKER = ("--executor", "ray", "--set", "execution.workers=1")


def faults(*names: str, always: bool = False) -> tuple[str, ...]:
    text = " ".join(names)
    return (*SPACE, "--set", f'space.faults="{text}"', "--set", f"space.always={str(always).lower()}")


def kinds_by_part(run: Path, *stages: str) -> dict[str, set[str]]:
    """For each part of the space how evaluations of it ended: the kinds of failure, or fine."""
    kinds: dict[str, set[str]] = {}
    for stage in stages:
        for row in evaluations_of(run, stage):
            kind = row.failure.kind if row.failure else "fine"
            kinds.setdefault(str(row.architecture["part"]), set()).add(kind)
    return kinds


# Architectures that fail


@pytest.mark.slow
def test_parts_that_cannot_be_built_become_rows_and_the_search_goes_on(tmp_path: Path) -> None:
    """A build that raises or gives another shape costs a row each; the budget is kept all the same."""
    done = run_nas("search", *faults("build", "shape"), *SHORT, *UNMEASURED, *INLINE, "--trials", "8", "--name", "run",
                   "--runs", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    kinds = kinds_by_part(tmp_path / "run", "measure", "train")
    assert kinds["build"] == {"build"}
    assert kinds["shape"] == {"build"}
    assert kinds["plain"] == {"fine"}
    assert len(evaluations_of(tmp_path / "run", "train")) == 8
    reasons = {row.failure.reason for row in evaluations_of(tmp_path / "run", "measure") if row.failure}
    assert "build raised RuntimeError: this part cannot be built" in reasons
    assert any("to (1, 10), but it gave (1, 9)" in reason for reason in reasons)
    assert_nothing_twice(tmp_path / "run")


@pytest.mark.slow
def test_local_search_passes_over_what_cannot_be_built(tmp_path: Path) -> None:
    """Neighbours of the front are among it, and their costs are asked for; what was drawn by chance costs a row."""
    done = run_nas("search", *faults("build", "shape"), *SHORT, *UNMEASURED, *INLINE, "--trials", "10", "--name", "run",
                   "--runs", tmp_path, "--set", "sampler=local")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = evaluations_of(tmp_path / "run", "train")
    assert len(rows) == 10
    assert sum(not row.failed for row in rows) > 5


@pytest.mark.slow
def test_parts_that_the_target_refuses_become_rows_and_others_take_their_place(tmp_path: Path) -> None:
    """What cannot be exported or run is a failed row; so many are measured as were asked for."""
    run = tmp_path / "run"
    done = run_nas("search", *faults("refused", "export"), *SHORT, *INLINE, "--trials", "3", "--name", "run", "--runs",
                   tmp_path, "--seed", "3")  # fmt: skip
    assert done.returncode == 0, done.stderr
    kinds = kinds_by_part(run, "measure")
    assert kinds["refused"] == {"measure"}
    assert kinds["export"] == {"export"}
    assert kinds["plain"] == {"fine"}
    first = [row for row in evaluations_of(run, "measure") if row.round == 0]
    assert sum(not row.failed for row in first) == 5
    refusals = [row.failure.reason for row in first if row.failure and row.failure.kind == "measure"]
    assert all("refused the model" in reason for reason in refusals)
    assert len(evaluations_of(run, "train")) == 3
    assert_nothing_twice(run)


def test_a_space_in_which_nothing_can_be_built_ends_after_ten_failures(tmp_path: Path) -> None:
    """Ten failures in a row end the run with what they have in common and exit status 1."""
    done = run_nas("search", *faults("build", always=True), *SHORT, *INLINE, "--trials", "20", "--name", "run",
                   "--runs", tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert "10 evaluations in a row failed" in done.stderr
    assert "10 of them say: build raised RuntimeError: this part cannot be built." in done.stderr
    assert "All of them have part=build." in done.stderr
    assert "Traceback" not in done.stderr
    assert len(evaluations_of(tmp_path / "run", "measure")) == 10


def test_a_space_in_which_nothing_can_be_trained_ends_after_ten_failures(tmp_path: Path) -> None:
    """The same in training: failed trainings are no reason to go on for ever."""
    done = run_nas("search", *faults("nan", always=True), *SHORT, *UNMEASURED, *INLINE, "--trials", "20", "--name",
                   "run", "--runs", tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert "the training loss must be finite, but was nan" in done.stderr
    assert len(evaluations_of(tmp_path / "run", "train")) == 10
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("fault", "says"),
    [("refused", "ONNX Runtime cannot run the exported model: "), ("export", "torch.onnx.export raised ")],
)
def test_winners_that_all_fail_become_rows_and_end_the_run_after_ten(
    fault: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With objectives that nothing is measured for, only winners are exported."""
    monkeypatch.setattr("nas.searching.knowledge.FAILURES_IN_A_ROW", 3)
    recipe = {
        "name": "run",
        "data": "digits",
        "objectives": ["error", "macs"],
        "trials": 6,
        "rounds": 1,
        "training": {"epochs": 1, "subset": 0.1},
        "early_stopping": {"enabled": False},
        "retraining": {"epochs": 1, "winners": 2},
        "execution": {"executor": "inline"},
    }
    with pytest.raises(RepeatedFailureError, match="3 retrained winners in a row failed, so") as ended:
        nas.search(recipe, space=Faulty(fault, always=True), runs=tmp_path)
    assert says in str(ended.value)
    rows = evaluations_of(tmp_path / "run", "winner")
    assert len(rows) == 3
    assert all(row.failure is not None and row.failure.kind == "export" for row in rows)
    assert len(evaluations_of(tmp_path / "run", "retrain")) in (3, 4)


@pytest.mark.slow
def test_failures_of_training_become_rows_inline(tmp_path: Path) -> None:
    """NaN, an exception and a training beyond its time limit: each a row with its reason, the budget exact."""
    run = tmp_path / "run"
    done = run_nas("search", *faults("nan", "raise", "slow"), *SHORT, *UNMEASURED, *INLINE, "--trials", "10",
                   "--set", "space.seconds=2.5", "--set", "training.time_limit_s=2", "--name", "run", "--runs",
                   tmp_path, "--set", 'sampler="random"', "--seed", "18")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = evaluations_of(run, "train")
    assert len(rows) == 10
    assert kinds_by_part(run, "train") == {
        "plain": {"fine"},
        "nan": {"nan"},
        "raise": {"exception"},
        "slow": {"timeout"},
    }
    reasons = {str(row.architecture["part"]): row.failure.reason for row in rows if row.failure}
    assert reasons["raise"] == "training raised RuntimeError: this part cannot be trained"
    assert "at most 2 s" in reasons["slow"]
    assert_nothing_twice(run)


@pytest.mark.ray
@pytest.mark.slow
def test_failures_of_training_become_rows_with_ray(tmp_path: Path) -> None:
    """A process that ends itself, a hang that only ending the process can stop, NaN and an exception: all are rows."""
    run = tmp_path / "run"
    command = RunningCommand(tmp_path, "search", *faults("nan", "raise", "exit", "hang"), *SHORT, *UNMEASURED, *RAY,
                             "--trials", "10", "--set", "training.time_limit_s=3", "--name", "run", "--runs", tmp_path,
                             "--set", 'sampler="random"', "--seed", "23")  # fmt: skip
    assert command.process.wait(timeout=200) == 0, command.output
    rows = evaluations_of(run, "train")
    assert len(rows) == 10
    assert kinds_by_part(run, "train") == {
        "plain": {"fine"},
        "nan": {"nan"},
        "raise": {"exception"},
        "exit": {"worker"},
        "hang": {"timeout"},
    }
    hangs = [row.failure.reason for row in rows if row.architecture["part"] == "hang" and row.failure]
    assert all("at most 3 s, but hung; its process was ended" in reason for reason in hangs)
    assert_nothing_twice(run)
    command.wait_for_the_others()


@pytest.mark.ray
@pytest.mark.slow
def test_a_worker_killed_from_outside_costs_no_row(tmp_path: Path) -> None:
    """After SIGKILL of a training process, as when memory runs out, its training begins anew."""
    run = tmp_path / "run"
    command = RunningCommand(tmp_path, "search", *faults("slow", always=True), "--set", "space.seconds=0.3", *SHORT,
                             *UNMEASURED, *ONE_WORKER, "--trials", "4", "--set", "training.subset=1", "--set",
                             "training.time_limit_s=60", "--name", "run", "--runs", tmp_path)  # fmt: skip

    def workers() -> list[int]:
        return [
            process_id
            for process_id, line in command.others().items()
            if line.startswith("ray::") and "Trainable" in line
        ]

    assert command.wait_until(lambda: bool(evaluations_of_if_any(run)) and bool(workers()))
    time.sleep(1)
    (process_id,) = workers()
    os.kill(process_id, signal.SIGKILL)
    assert command.process.wait(timeout=120) == 0, command.output
    rows = evaluations_of(run, "train")
    assert len({row.architecture for row in rows}) == len(rows) == 4
    assert not any(row.failed for row in rows)
    assert all(len(row.details["curve"]) == row.details["epochs"] for row in rows)
    command.wait_for_the_others()


def evaluations_of_if_any(run: Path) -> list[str]:
    return [body for _, _, kind, body in rows_of(run) if kind == "evaluation" and '"stage": "train"' in body]


# Drivers that are killed


SLOW_RUN = (
    *faults("slow"),
    *("--set", "space.seconds=0.04", *SHORT, "--set", "training.subset=0.5", "--set", "rounds=2"),
    *("--set", "measuring.per_round=1", "--set", "retraining.winners=2", "--fresh-measurements"),
)
"""Without what other tests have measured, or there may be fewer models to measure, and other moments."""

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
"""Lines of the output, or numbers of trainings that have ended, after which the driver is killed."""


RAY_MOMENTS = ("1 trained", "2 trained", "round 2/2: training", *MOMENTS[-2:])


MOST_RUNS = 4
"""On a busy machine a run may pass a moment, or even end, before this process gets to see it; so another one starts."""


def kill_and_resume(
    tmp_path: Path, executor: tuple[str, ...], moments: tuple[str, ...], patience_s: float = 30
) -> None:
    started: list[RunningCommand] = []
    runs: list[Path] = []

    def start() -> RunningCommand:
        runs.append(tmp_path / f"run{len(runs)}")
        assert len(runs) <= MOST_RUNS, "\n".join(command.output for command in started)
        return RunningCommand(tmp_path, "search", *SLOW_RUN, *executor, "--trials", "6", "--name", runs[-1].name,
                              "--runs", tmp_path)  # fmt: skip

    started.append(start())
    acknowledged: list[tuple[object, ...]] = []
    for number, moment in enumerate(moments):
        while True:
            command = started[-1]
            if command.wait_until(lambda: has_come(moment, command, runs[-1])):  # noqa: B023 (called at once)
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
        started.append(RunningCommand(tmp_path, "search", "--resume", runs[-1]))
    started[-1].process.wait(timeout=120)
    assert_over(started[-1], runs[-1], acknowledged)
    for ended in started:
        ended.wait_for_the_others(patience_s)


def has_come(moment: str, command: RunningCommand, run: Path) -> bool:
    count, _, trained = moment.partition(" ")
    if trained == "trained":
        return len(evaluations_of_if_any(run)) >= int(count)
    return moment in command.output


def assert_over(command: RunningCommand, run: Path, acknowledged: list[tuple[object, ...]]) -> None:
    """The run has ended well: every row is as it was, the budget is exact, and nothing was done twice."""
    assert command.process.returncode == 0, command.output
    assert rows_of(run)[: len(acknowledged)] == acknowledged
    assert len(evaluations_of(run, "train")) == 6
    assert len(evaluations_of(run, "winner")) == len(evaluations_of(run, "retrain")) >= 1
    assert_nothing_twice(run)


@pytest.mark.slow
def test_a_killed_driver_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 at eight moments: every row stays, nothing is done twice, the budget is exact."""
    kill_and_resume(tmp_path, INLINE, MOMENTS)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_driver_goes_on_where_it_was_with_ray(tmp_path: Path) -> None:
    """The same with Ray, whose processes end with their driver: a minute later when it was killed as Ray started."""
    kill_and_resume(tmp_path, RAY, RAY_MOMENTS, patience_s=90)


# Ctrl-C


@pytest.mark.parametrize(
    "executor",
    [pytest.param(INLINE, id="inline"), pytest.param(RAY, id="ray", marks=pytest.mark.ray)],
)
@pytest.mark.slow
def test_ctrl_c_ends_a_run_at_once_and_says_how_to_go_on(tmp_path: Path, executor: tuple[str, ...]) -> None:
    """Exit status 130 within seconds, in the midst of a long epoch; the way on is in the message, and works."""
    run = tmp_path / "run"
    slow = ("--set", "space.seconds=0.2", "--set", "training.subset=1")
    command = RunningCommand(tmp_path, "search", *faults("slow", always=True), *SHORT, *UNMEASURED, *slow, *executor,
                             "--trials", "2", "--name", "run", "--runs", tmp_path)  # fmt: skip
    assert command.wait_until(lambda: bool(evaluations_of_if_any(run)))
    time.sleep(0.5)
    began = time.monotonic()
    command.interrupt()
    assert command.process.wait(timeout=30) == 130, command.output
    assert time.monotonic() - began < 10
    assert "Stopped. All finished work is kept." in command.output
    assert f"nas search --resume {run}" in command.output
    assert "Traceback" not in command.output
    assert "\x1b" not in command.output
    command.wait_for_the_others(10)
    before = rows_of(run)
    resumed = run_nas("search", "--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    assert rows_of(run)[: len(before)] == before
    assert len(evaluations_of(run, "train")) == 2
    assert_nothing_twice(run)


# Other drivers, full disks


@pytest.mark.slow
def test_a_second_driver_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """A run has one writer; the second one is told so, and the first is not disturbed."""
    run = tmp_path / "run"
    flags = (*SHORT, *UNMEASURED, "--set", "space.seconds=4", *INLINE, "--trials", "2", "--name", "run")
    command = RunningCommand(tmp_path, "search", *faults("slow", always=True), *flags, "--runs", tmp_path)
    assert command.wait_until(lambda: bool(rows_of(run)))
    second = run_nas("search", "--resume", run)
    assert command.process.poll() is None, command.output
    command.kill()
    assert second.returncode == 2
    assert "another process is writing" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("kib", "trials"), [(24, 3), (48, 30)], ids=["at once", "later"])
def test_a_full_disk_stops_the_run_with_what_to_do(tmp_path: Path, kib: int, trials: int) -> None:
    """No file may grow beyond a size, as on a full disk: one message, and the run goes on once there is room."""
    run = tmp_path / "run"
    arguments = [
        *faults(),
        *SHORT,
        *UNMEASURED,
        *INLINE,
        "--trials",
        str(trials),
        "--name",
        "run",
        "--runs",
        str(tmp_path),
    ]

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, resource.RLIM_INFINITY))

    full = subprocess.run(
        [sys.executable, "-m", "nas", "search", *arguments],
        cwd=TESTS, env=environment(), preexec_fn=fill_disk, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr
    assert "Free some space or mend the folder, then resume the run." in full.stderr
    assert f"nas search --resume {run}" in full.stderr or kib < 48
    before = rows_of(run)
    resumed = run_nas("search", "--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    assert rows_of(run)[: len(before)] == before
    assert len(evaluations_of(run, "train")) == trials
    assert_nothing_twice(run)
