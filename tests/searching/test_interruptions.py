"""Ctrl-C, a second driver and a full disk end the real command with what to do."""

from __future__ import annotations

import resource
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
)
from fault_runs import INLINE, RAY, faults, trainings_if_any
from forked_commands import run_forked

pytestmark = pytest.mark.usefixtures("onnx_profile")  # so that not every command looks for it


@pytest.mark.parametrize(
    "executor",
    [pytest.param(INLINE, id="inline"), pytest.param(RAY, id="ray")],
)
@pytest.mark.slow
def test_ctrl_c_ends_a_run_at_once_and_says_how_to_go_on(tmp_path: Path, executor: tuple[str, ...]) -> None:
    """The exit status is 130 within seconds, even in a long epoch, and the command in the message resumes the run."""
    run = tmp_path / "run"
    slow = ("--set", "space.seconds=0.2", "--set", "training.subset=1")
    command = RunningCommand(tmp_path, "search", *faults("slow", always=True), *SHORT, *UNMEASURED, *slow, *executor,
                             "--trials", "2", "--name", "run", "--runs", tmp_path)  # fmt: skip
    assert command.wait_until(lambda: bool(trainings_if_any(run)))
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
    resumed = run_forked("search", "--resume", run, *INLINE)  # other tests resume with Ray, which takes half a minute
    assert resumed.returncode == 0, resumed.stderr
    assert rows_of(run)[: len(before)] == before
    assert len(evaluations_of(run, "train")) == 2
    assert_nothing_twice(run)


@pytest.mark.slow
def test_a_second_driver_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """The second driver gets an error, and the first one goes on."""
    run = tmp_path / "run"
    flags = (*SHORT, *UNMEASURED, "--set", "space.seconds=4", *INLINE, "--trials", "2", "--name", "run")
    command = RunningCommand(tmp_path, "search", *faults("slow", always=True), *flags, "--runs", tmp_path)
    assert command.wait_until(lambda: bool(rows_of(run)))
    second = run_forked("search", "--resume", run)
    assert command.process.poll() is None, command.output
    command.kill()
    assert second.returncode == 2
    assert "another process is writing" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("kib", "trials"), [(36, 3), (48, 30)], ids=["at once", "later"])
def test_a_full_disk_stops_the_run_with_what_to_do(tmp_path: Path, kib: int, trials: int) -> None:
    """With a limit on file sizes, as on a full disk, there is one message, and the run goes on once there is room."""
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
    resumed = run_forked("search", "--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    assert rows_of(run)[: len(before)] == before
    assert len(evaluations_of(run, "train")) == trials
    assert_nothing_twice(run)
