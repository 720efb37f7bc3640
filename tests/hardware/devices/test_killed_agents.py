"""Agents that are killed at random moments: nothing is lost, nothing counts twice, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import own_runtime
import pytest
from quick_profile import QUICK_PROFILE

from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices import board as boards
from nas.hardware.devices.board import Board
from nas.hardware.devices.registry import DeviceRecord
from nas.hardware.kept_profiles import profile_of
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.runtimes.runtime import Deployed
from nas.values.target import Target

MODELS, ROUNDS, KILLS = 8, 40, 12
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")]


def agents() -> list[int]:
    """Return the processes of agents that this process started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"first_steps" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def workers() -> list[int]:
    """Return the processes that run models of these tests, whoever started them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if b"nas.hardware.runtimes.worker" in words and b"nas-device" in words:
                found.append(int(folder.name))
    return found


def test_kills_of_the_agent_lose_nothing(acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "PAUSES_S", (0.01,) * (KILLS + 1))  # a model may be unlucky several times
    monkeypatch.setattr("nas.formats.export.export_model", own_runtime.write_unread)
    target = Target("own_runtime:OnBoard")
    record = DeviceRecord("pi", "local:", sys.executable, str(tmp_path / "there"), packages={"acting": ""})
    board = Board(record)
    profile_of(target, device=board, settings=QUICK_PROFILE)
    settings = BenchSettings(rounds=ROUNDS, max_rounds=ROUNDS, seconds_per_round=0.001, min_samples=1)
    bench = DeviceBench(target, settings, device=board)
    models = []
    for number in range(MODELS):
        (folder := tmp_path / str(number)).mkdir()
        (folder / "a.txt").write_text(f"clock {1 + number}")
        models.append(Deployed(folder / "a.txt", weight_bytes=1))
    ended, rng, killed = threading.Event(), random.Random(0), []

    def kill() -> None:
        while not ended.wait(rng.uniform(0.1, 0.8)) and len(killed) < KILLS:
            for number in agents():
                os.kill(number, signal.SIGKILL)
                killed.append(number)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        outcomes = bench.measure(models, ["latency_ms"], np.random.default_rng(0))
    finally:
        ended.set()
        killer.join()
        board.close()
    assert len(killed) > KILLS / 3
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome, dict), outcome
        assert len(outcome["latency_ms"].rounds) == ROUNDS
        assert {sample for samples in outcome["latency_ms"].rounds for sample in samples} == {1.0 + number}
    other = Board(record)
    assert other.ask("lock")[0]["held"]
    other.close()
    until = time.monotonic() + 15
    while agents() or workers():
        assert time.monotonic() < until, "processes are left"
        time.sleep(0.1)
