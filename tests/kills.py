"""Kills runs at random moments and resumes them, many times."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from commands import RunningCommand, rows_of
from forked_commands import ForkedCommand
from spaces_here import take_small_here

DRIVER, WORKER = "driver", "worker"
WITHIN_WORKER_S = 1.0
"""Seconds after which a worker is killed at the latest, because workers live for a short time."""


Command = Callable[..., RunningCommand]


class ForkedTableCommand(ForkedCommand):
    """The command, forked, where no further process looks at the small spaces of the tests."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        super().__init__(folder, *arguments, prepare=take_small_here)


@dataclass
class KilledRuns:
    """The runs, which all ended well, and the kills by kind of process, by stage, and of workers by run."""

    runs: list[Path] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    worker_kills: Counter[Path] = field(default_factory=Counter)

    def __str__(self) -> str:
        return f"{len(self.runs)} runs; killed: {dict(self.kills)}; during: {dict(self.stages)}"


def kill_again_and_again(
    folder: Path,
    arguments: tuple[str | Path, ...],
    kills: int,
    rng: np.random.Generator,
    *,
    span_s: float,
    command: Command = RunningCommand,
    worker_share: float = 0.0,
    patience_s: float = 30,
) -> KilledRuns:
    """Start runs and kill them ``kills`` times in all, each time at a random moment within ``span_s`` seconds.

    After its driver is killed, a run is resumed until it ends; then another run begins. The last run ends undisturbed.
    ``worker_share`` of the kills hit a worker. A kill counts only if it hits a living process.

    Raises:
        AssertionError: a row that was on disk before a kill has changed; a run failed; or a process outlived its driver
            by ``patience_s`` seconds.
    """
    found = KilledRuns()
    commands: list[RunningCommand] = []
    acknowledged: list[tuple[Any, ...]] = []

    def begin() -> None:
        found.runs.append(folder / f"run{len(found.runs)}")
        flags = ("--name", found.runs[-1].name, "--runs", folder)
        commands.append(command(folder, "search", *arguments, *flags))

    begin()
    while True:
        running, run = commands[-1], found.runs[-1]
        victim = None
        if found.kills.total() < kills:
            victim = _strike(running, rng, span_s, worker_share)
        else:
            running.process.wait(timeout=200)
        rows = rows_of(run)
        assert rows[: len(acknowledged)] == acknowledged, "rows that were on disk have changed"
        acknowledged = rows
        if victim is None:
            if running.process.poll() is None:
                continue  # the worker to kill had already ended
            assert running.process.returncode == 0, running.output
            if found.kills.total() >= kills:
                break
            begin()
            acknowledged = []
            continue
        found.kills[victim] += 1
        found.stages[_stage(running)] += 1
        if victim == WORKER:
            found.worker_kills[run] += 1
        else:
            commands.append(command(folder, "search", "--resume", run))
    for each in commands:
        each.wait_for_the_others(patience_s)
    return found


def _strike(command: RunningCommand, rng: np.random.Generator, span_s: float, worker_share: float) -> str | None:
    """Kill a living process at a random moment and return its kind, or None if it had already ended."""
    if rng.random() < worker_share:
        if not command.wait_until(lambda: bool(_workers(command))):
            return None
        _wait(command, rng.uniform(0, WITHIN_WORKER_S))
        workers = _workers(command)
        if not workers or command.process.poll() is not None:
            return None
        try:
            os.kill(workers[int(rng.integers(len(workers)))], signal.SIGKILL)
        except ProcessLookupError:
            return None
        return WORKER
    command.wait_until(lambda: "run folder:" in command.output, seconds=120)
    _wait(command, rng.uniform(0, span_s))
    if command.process.poll() is not None:
        return None
    command.kill()
    return DRIVER if command.process.returncode == -signal.SIGKILL else None


def _wait(command: RunningCommand, seconds: float) -> None:
    """Wait for this time, or until the command ends."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and command.process.poll() is None:
        time.sleep(0.005)


def _workers(command: RunningCommand) -> list[int]:
    """Return the ids of the worker processes, which look candidates up in a table."""
    return [pid for pid, line in command.others().items() if line.startswith("ray::") and "Trainable" in line]


def _stage(command: RunningCommand) -> str:
    """Return the last stage that the command printed."""
    begun = [
        line.removesuffix(" to do.").rpartition(":")[0] for line in command.output.splitlines() if " to do." in line
    ]
    return begun[-1].rpartition(": ")[2] if begun else "beginning"
