"""What goes wrong on two nodes of a Ray cluster, in network namespaces of their own, in one search."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_nodes import (
    BLOCKING,
    HEAD,
    OTHER,
    PORT,
    RAY,
    cut,
    has_namespaces,
    masked,
    new_token,
    own_processes,
    ray_node,
    two_namespaces,
)
from commands import TESTS, environment, evaluations_of, path_with_the_tests, rows_of
from pausing_training import PAUSE

from nas.values.evaluation import Evaluation

ADDRESS = f"{HEAD}:{PORT}"
SEARCH = (
    *("search", "--data", "digits", "--space", "mobilenet", "--train", "pausing_training:train", "--trials", "40"),
    *("--objective", "error", "--objective", "macs", "--set", "rounds=1", "--set", "retraining.winners=1"),
    *("--set", "measuring.initial=5", "--set", "measuring.rounds=2", "--set", "measuring.max_rounds=2"),
    *("--set", "measuring.seconds_per_round=0.02", "--set", "name=r", "--ray-address", ADDRESS),
)
TOLD_S = 15.0
"""How soon the user is told that the head is lost."""


class Search:
    """A search that runs in a namespace, with its output in a file."""

    def __init__(self, base: Path, command: tuple[str, ...], variables: dict[str, str]) -> None:
        self._output = base / "output"
        self.run = base / "runs" / "r"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(command, cwd=base, env=variables, stdout=output, stderr=output)

    @property
    def told(self) -> str:
        """Everything that it has told so far."""
        return self._output.read_text()

    @property
    def trained(self) -> list[Evaluation]:
        """The trainings that have ended."""
        return evaluations_of(self.run, "train") if rows_of(self.run) else []

    def wait_for(self, happened: Callable[[], bool], seconds: float) -> None:
        """Wait until something has happened while it runs."""
        until = time.monotonic() + seconds
        while not happened():
            assert self.process.poll() is None, self.told
            assert time.monotonic() < until, self.told
            time.sleep(0.1)

    def wait_for_line(self, text: str, seconds: float = 120) -> str:
        """Wait until a line with this text is told, and return it."""
        self.wait_for(lambda: text in self.told, seconds)
        return next(line for line in self.told.splitlines() if text in line)


@contextlib.contextmanager
def worker(inside: tuple[str, ...], address: str, variables: dict[str, str], log: Path) -> Iterator[int]:
    """Run a node with one core, and give its process group."""
    start = (RAY, "start", f"--address={ADDRESS}", f"--node-ip-address={address}", *BLOCKING, "1")
    with ray_node((*inside, *start), variables, log) as node:
        yield node.pid


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not has_namespaces(), reason="needs root on Linux, ip and unshare")
def test_each_fault_of_a_node_is_told_and_costs_no_finished_training() -> None:
    """A wrong token, a node without the user's code, one that joins and is lost, and a head behind a cut cable."""
    with tempfile.TemporaryDirectory(prefix="nas-") as base_name, contextlib.ExitStack() as running:
        base = Path(base_name)  # short, for the sockets of Ray
        (base / "empty").mkdir()
        shared = environment(**new_token(), PYTHONPATH=path_with_the_tests(), **{PAUSE: "1"})
        shared.pop("RAY_worker_niceness", None)
        far, near = running.enter_context(two_namespaces())
        inside = running.enter_context(own_processes(near, base))
        place = (
            f"--node-ip-address={HEAD}",
            f"--port={PORT}",
            f"--temp-dir={base / 'ray'}",
            "--include-dashboard=false",
        )
        head = masked(far, base / "empty", TESTS, RAY, "start", "--head", *place, *BLOCKING, "1")
        running.enter_context(ray_node(head, shared, base / "head.log"))
        running.enter_context(worker(inside, OTHER, shared, base / "near.log"))
        nas = (*inside, sys.executable, "-m", "nas")

        other = {**shared, "RAY_AUTH_TOKEN": "f" * 64}
        refused = subprocess.run((*nas, *SEARCH), cwd=base, env=other, capture_output=True, text=True, check=False)
        assert refused.returncode != 0
        (told,) = refused.stderr.splitlines()
        assert f"the Ray at {ADDRESS} asks for a token" in told
        assert not (base / "runs").exists()

        search = Search(base, (*nas, *SEARCH), shared)
        assert "No module named 'pausing_training'" in search.wait_for_line(f"node {HEAD} is left out")
        assert search.wait_for_line("trainings at once: 1, on").endswith(f"{OTHER} (1)")
        assert "at niceness" in search.wait_for_line("give way to all other programs")
        search.wait_for(lambda: bool(search.trained), 120)
        with worker(("ip", "netns", "exec", far), HEAD, shared, base / "far.log") as joined:
            search.wait_for_line("trainings at once: 2 instead of 1")
            count = len(search.trained)
            search.wait_for(lambda: len(search.trained) >= count + 2, 60)
            os.killpg(joined, signal.SIGKILL)
            assert f"node {HEAD}" in search.wait_for_line("is lost; its trainings start again on others", 60)
            search.wait_for_line("trainings at once: 1 instead of 2", 10)
        cut(far)
        lost = time.monotonic()
        assert search.process.wait(120) != 0
        assert time.monotonic() - lost < TOLD_S, search.told
        assert f"the head of the cluster at {ADDRESS} is lost" in search.told
        assert "Go on with: nas search --resume runs/r" in search.told
        assert ".cc:" not in search.told

        before = search.trained
        advised = (*nas, "search", "--resume", "runs/r", "--executor", "inline")
        done = subprocess.run(advised, cwd=base, env={**shared, PAUSE: "0"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        after = search.trained
        assert after[: len(before)] == before
        assert len({row.architecture.id for row in after}) == len(after) == 40
        assert all(row.failure is None for row in after)
