"""Real commands get signals at random moments: each one stops, says how to go on, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
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
from fault_runs import INLINE, RAY, faults
from forked_commands import ForkedCommand

from nas.jobs.watchdog import ENDED_EARLY
from nas.storage.scratch import PARENTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send"),
    pytest.mark.usefixtures("onnx_profile"),  # so that not every command looks for it
]
KINDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
SIGNALS = [number for number in KINDS if signal.getsignal(number) is not signal.SIG_IGN]
"""Those that commands do not ignore: what ``nohup`` starts ignores SIGHUP."""
SLOW_RUN = (*faults("slow", always=True), "--set", "space.seconds=0.1", *SHORT, *UNMEASURED, "--trials", "40")
"""It takes much longer than any of these tests waits."""
WITHIN_S = 10.0
"""A container that does not stop in this time is killed."""


@pytest.fixture(name="place")
def short_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of the commands: one with a short path, as Ray's sockets need."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as name:
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.delenv(PARENTS, raising=False)
        yield Path(name)


def left_in(place: Path) -> list[str]:
    """Return the files of commands in the temporary folder, but the lock that orders them."""
    return [str(path) for path in place.rglob("*") if path.parent != place and path.name != "lock"]


def assert_stopped(command: RunningCommand, number: signal.Signals, run: Path, began: float) -> None:
    """Check that a command has ended because of the signal, in time, and said how to go on."""
    assert command.process.wait(timeout=60) == 128 + number, command.output
    assert time.monotonic() - began < WITHIN_S, command.output
    assert "Traceback" not in command.output, command.output
    assert "Stopped. " in command.output
    if f"run folder: {run}" in command.output:
        assert f"Go on with: nas search --resume {run}" in command.output, command.output


def resume_again_and_again(
    folder: Path, place: Path, executor: tuple[str, ...], count: int, span_s: float, seed: int
) -> RunningCommand:
    """Start a run, stop it ``count`` times at random moments, and return the last command, which goes on."""
    rng = np.random.default_rng(seed)
    run = folder / "run"
    command = ForkedCommand(folder, "search", *SLOW_RUN, *executor, "--name", "run", "--runs", folder)
    for _ in range(count):
        time.sleep(rng.uniform(0.5, span_s))
        number = SIGNALS[int(rng.integers(len(SIGNALS)))]
        assert command.process.poll() is None, command.output
        before, began = rows_of(run), time.monotonic()
        if rng.random() < 0.5:
            command.process.send_signal(number)
        else:  # as a terminal or a process manager does
            os.killpg(command.process.pid, number)
        assert_stopped(command, number, run, began)
        command.wait_for_the_others(WITHIN_S)
        assert rows_of(run)[: len(before)] == before
        assert left_in(place) == []
        known = (run / "recipe.toml").exists()
        again = ("--resume", run) if known else (*SLOW_RUN, *executor, "--name", "run", "--runs", folder)
        command = ForkedCommand(folder, "search", *again)
    return command


def assert_goes_on(command: RunningCommand, run: Path) -> None:
    """Check that a run goes on, with nothing done twice and no failure that a signal has caused."""
    before = len(rows_of(run))
    assert command.wait_until(lambda: len(rows_of(run)) > before, seconds=120), command.output
    command.interrupt()
    assert command.process.wait(timeout=60) == 130, command.output
    assert_nothing_twice(run)
    assert [row.failure for row in evaluations_of(run, "train") if row.failure] == []
    command.wait_for_the_others(WITHIN_S)


@pytest.mark.timeout(600)
def test_one_signal_always_stops_a_run(tmp_path: Path, place: Path) -> None:
    """Twelve signals of four kinds, to the process or its group, each end the run with how to go on."""
    command = resume_again_and_again(tmp_path, place, INLINE, 12, 5.0, seed=14)
    assert_goes_on(command, tmp_path / "run")


@pytest.mark.timeout(600)
def test_one_signal_always_stops_a_run_with_ray(tmp_path: Path, place: Path) -> None:
    """The same with Ray, whose start takes signals badly. Its processes and files go too."""
    command = resume_again_and_again(tmp_path, place, RAY, 4, 9.0, seed=1)
    assert_goes_on(command, tmp_path / "run")


def test_a_second_signal_ends_at_once(tmp_path: Path, place: Path) -> None:
    """Even while the first one is being heeded, the command ends, with how to go on."""
    run = tmp_path / "run"
    command = RunningCommand(tmp_path, "search", *SLOW_RUN, *INLINE, "--name", "run", "--runs", tmp_path)
    assert command.wait_until(lambda: "training" in command.output)
    command.process.send_signal(signal.SIGSTOP)  # so that the first one cannot be over before the second one comes
    command.interrupt()
    time.sleep(0.3)
    command.process.send_signal(signal.SIGTERM)
    command.process.send_signal(signal.SIGCONT)
    assert command.process.wait(timeout=WITHIN_S) in (130, 143), command.output
    assert f"Go on with: nas search --resume {run}" in command.output, command.output
    command.wait_for_the_others(WITHIN_S)
    assert "Traceback" not in command.output


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("victim", ["the search", "raylet/raylet"])
def test_a_killed_process_leaves_nothing(tmp_path: Path, place: Path, victim: str) -> None:
    """Nothing is left after kill -9 of a search while Ray starts, or of a part of Ray. A message says how to go on."""
    run = tmp_path / "run"
    command = RunningCommand(tmp_path, "search", *SLOW_RUN, *RAY, "--name", "run", "--runs", tmp_path)
    name = "gcs_server" if victim == "the search" else victim
    found: list[int] = []

    def has_started() -> bool:
        others = command.others()
        found[:] = [process for process, line in others.items() if name in line]
        return bool(found) and (victim == "the search" or any("Trainable" in line for line in others.values()))

    assert command.wait_until(has_started, seconds=120)
    time.sleep(0.5)
    if victim == "the search":
        command.kill()
    else:
        os.kill(found[0], signal.SIGKILL)
        assert command.process.wait(timeout=60) in (1, 2), command.output
        assert "Traceback" not in command.output, command.output
    command.wait_for_the_others(WITHIN_S)
    assert left_in(place) == []
    assert ENDED_EARLY in command.output or victim != "the search"
    assert f"Go on with: nas search --resume {run}" in command.output


def test_the_first_moments_have_no_traceback(tmp_path: Path) -> None:
    """A signal while the command is being imported stops it without a page of Python's."""
    for step in range(12):
        process = subprocess.Popen(
            [sys.executable, "-m", "nas", "search", "--dry-run"],
            cwd=TESTS, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        time.sleep(0.03 * step)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode in (0, 1, 130, -signal.SIGINT)  # 0 is over before; 1 is in Python's own start
        assert "in run\n" not in error, error  # the whole name: Python's own start may pass through other functions
