"""A cluster that asks for a token, and one whose head is lost while candidates train there."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_nodes import BLOCKING, RAY, new_token, ray_node
from commands import environment, evaluations_of, path_with_the_tests, rows_of
from pausing_training import PAUSE

SEARCH = (
    *("search", "--data", "digits", "--space", "mobilenet", "--train", "pausing_training:train", "--trials", "4"),
    *("--objective", "error", "--objective", "macs", "--set", "rounds=1", "--set", "retraining.winners=1"),
    *("--set", "measuring.initial=5", "--set", "measuring.rounds=2", "--set", "measuring.max_rounds=2"),
    *("--set", "measuring.seconds_per_round=0.02", "--set", "name=r"),
)
TOLD_S = 15.0
"""How soon the user is told that the head is lost."""


@contextlib.contextmanager
def head(base: Path, variables: dict[str, str]) -> Iterator[str]:
    """Run the head of a Ray with two cores on the loopback address, and give its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    where = ("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={base / 'ray'}")
    command = (RAY, "start", "--head", *where, "--include-dashboard=false", *BLOCKING, "2")
    with ray_node(command, variables, base / "head.log"):
        yield f"127.0.0.1:{port}"


def servers_of(base: Path) -> list[int]:
    """Return the processes of the head that has its files in a folder: its store of what is where, and its raylet."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
            if str(base) in line and re.search(r"/(gcs_server|raylet)\0", line):
                found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="finds Ray's processes in /proc")
def test_a_token_that_is_asked_for_and_a_lost_head_are_told() -> None:
    """Nothing is done without a token. A lost head is told with advice that works as printed."""
    with tempfile.TemporaryDirectory(prefix="nas-") as base_name, contextlib.ExitStack() as running:
        base = Path(base_name)
        shared = environment(**new_token(), PYTHONPATH=path_with_the_tests(), **{PAUSE: "1.5"})
        address = running.enter_context(head(base, shared))
        command = [sys.executable, "-m", "nas", *SEARCH, "--ray-address", address]

        without = {name: value for name, value in shared.items() if "AUTH" not in name}
        refused = subprocess.run(command, cwd=base, env=without, capture_output=True, text=True, check=False)
        assert refused.returncode != 0
        (told,) = refused.stderr.splitlines()
        assert f"the Ray at {address} asks for a token" in told
        assert not (base / "runs").exists()

        with (base / "output").open("w") as output:
            search = subprocess.Popen(command, cwd=base, env=shared, stdout=output, stderr=output)
        run, until = base / "runs" / "r", time.monotonic() + 200
        while not any('"stage": "train"' in body for *_, body in rows_of(run)):
            assert search.poll() is None, (base / "output").read_text()
            assert time.monotonic() < until, (base / "output").read_text()
            time.sleep(0.1)
        for process in servers_of(base):
            os.kill(process, signal.SIGKILL)
        lost = time.monotonic()
        status = search.wait(120)
        took_s = time.monotonic() - lost
        told = (base / "output").read_text()
        assert status != 0
        assert f"the head of the cluster at {address} is lost" in told, told
        assert "Go on with: nas search --resume runs/r" in told
        assert ".cc:" not in told
        assert took_s < TOLD_S, told

        before = evaluations_of(run, "train")
        advised = ("search", "--resume", "runs/r", "--executor", "inline")
        done = subprocess.run(
            [sys.executable, "-m", "nas", *advised],
            cwd=base,
            env={**shared, PAUSE: "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        after = evaluations_of(run, "train")
        assert after[: len(before)] == before
        assert len(after) == 4
