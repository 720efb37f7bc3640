"""Processes of Ray's workers: deaths, hangs, parallel jobs, idleness and ports."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_work import work
from scripted_jobs import ENOUGH_S, Script, counting, run_apart, two_workers

from nas.jobs import relay
from nas.jobs.execution import Executor, Job, Report


@pytest.fixture(name="ray_executor", scope="module")
def running_ray() -> Iterator[Executor]:
    with two_workers() as executor:
        yield executor


class TestProcesses:
    """One Ray with two workers serves all of these tests."""

    @pytest.mark.slow
    def test_a_death_ends_its_job_alone(self, ray_executor: Executor) -> None:
        """A worker that exits or is killed fails its job with the kind worker; the other jobs continue."""

        class Killer(Script):
            def on_report(self, job: Job, report: Report) -> bool:
                if "pid" in report:
                    os.kill(report["pid"], signal.SIGKILL)
                return super().on_report(job, report)

        source = Killer({"do": "exit"}, {"do": "tell and wait"}, counting(2), {"do": "exit"}, counting(2), counting(2))
        ray_executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.kinds == ["worker", "worker", None, "worker", None, None]
        assert source.heard["j0"][-1][1][1].startswith(
            "the worker's process died in each of 2 tries; it may have been killed, have run"
        )

    @pytest.mark.slow
    def test_a_lost_job_starts_again(self, ray_executor: Executor, tmp_path: Path) -> None:
        """A job starts once more from its first epoch and the source learns of it, even for the last job."""
        once = {"do": "exit once", "folder": str(tmp_path)}
        source = Script(once, counting(2), once)
        ray_executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.heard["j0"] == source.heard["j2"] == [
            ("report", {"epoch": 1}),
            ("restart", None),
            ("report", {"epoch": 1}),
            ("end", {"epoch": 2, "done": True}),
        ]  # fmt: skip
        assert source.kinds == [None, None, None]

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform != "linux", reason="Ray ends the children of workers on Linux only")
    def test_a_child_of_a_hung_job_ends_with_it(self, ray_executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
        """A child process ends soon after the job, even if both ignore SIGTERM."""
        monkeypatch.setattr(relay, "HARD_LIMIT_GRACE_S", 0.8)
        source = Script({"do": "hang with a child"})
        ray_executor.run(work, source, time_limit_s=1.0)
        assert source.kinds == ["timeout"]
        child = Path("/proc", str(source.heard["j0"][0][1]["child"]))
        until = time.monotonic() + 20
        while child.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert not child.exists()

    @pytest.mark.slow
    def test_a_hang_ends_within_the_hard_limit(self, ray_executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
        """It ends an endless loop and a sleep that ignores signals; the other jobs continue."""
        monkeypatch.setattr(relay, "HARD_LIMIT_GRACE_S", 0.8)
        source = Script({"do": "spin"}, {"do": "sleep deaf"}, counting(2), counting(2))
        ray_executor.run(work, source, time_limit_s=1.0)
        assert source.kinds == ["timeout", "timeout", None, None]
        reason = source.heard["j0"][-1][1][1]
        found = re.fullmatch(
            r"a training must take at most 1 s, but hung; its process was ended after (\d+) s\.", reason
        )
        assert found is not None
        assert 2 <= int(found[1]) <= 10  # 1.2 s, a grace of 0.8 s, and the delay of a busy machine

    @pytest.mark.slow
    def test_jobs_run_side_by_side(self, ray_executor: Executor, tmp_path: Path) -> None:
        """Two jobs that wait for each other both end, in separate processes.

        Each has the requested number of threads, and sees no GPUs because it asked for none.
        """
        source = Script({"do": "meet", "folder": str(tmp_path)}, {"do": "meet", "folder": str(tmp_path)})
        ray_executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.kinds == [None, None]
        ((_, one),), ((_, other),) = source.heard.values()
        assert len({one["pid"], other["pid"], os.getpid()}) == 3
        assert one["OMP_NUM_THREADS"] == other["OMP_NUM_THREADS"] == "1"
        assert one["CUDA_VISIBLE_DEVICES"] == other["CUDA_VISIBLE_DEVICES"] == ""

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_nothing_computes_when_a_run_is_over(self, ray_executor: Executor) -> None:
        """Workers of stopped and of ended jobs are idle, so later measurements have the machine to themselves."""
        source = Script(
            *({"do": "compute", "epochs": 200, "stop_at": 2} for _ in range(3)), {"do": "compute", "epochs": 3}
        )
        ray_executor.run(work, source, time_limit_s=ENOUGH_S)
        assert [len(events) for events in source.heard.values()] == [3, 3, 3, 3]
        pids = {events[-1][1]["pid"] for events in source.heard.values()}
        before = {pid: processor_ticks(pid) for pid in pids}
        time.sleep(0.5)
        assert all(processor_ticks(pid) - before[pid] <= 5 for pid in pids)  # of 50; connections need a few

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    @pytest.mark.usefixtures("ray_executor")
    def test_nothing_listens_to_the_outside(self) -> None:
        """Every listening port of this process and its descendants is bound to the loopback address."""
        addresses = listening_addresses(processes_below(os.getpid()))
        assert len(addresses) >= 3  # among them the control store's, the node manager's and this driver's
        assert {address for address in addresses if not is_loopback(address)} == set()

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    @pytest.mark.usefixtures("ray_executor")
    def test_nothing_runs_that_has_nothing_to_do(self) -> None:
        """One machine needs no autoscaler, and nobody reads Ray's logs: each would take .6 s and 80 MB."""
        found = []
        for pid in processes_below(os.getpid()):
            with contextlib.suppress(OSError):  # it has just ended
                found.append(Path(f"/proc/{pid}/cmdline").read_text())
        assert any("gcs_server" in each for each in found)
        assert [each for each in found if "monitor.py" in each] == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_a_ray_that_was_imported_before_listens_to_nobody_outside_either() -> None:
    """Ray reads the variable that restricts it when it is imported, which a user's program may do first."""
    code = """
import os, ray
from jobs.test_ray_processes import is_loopback, listening_addresses, processes_below
from scripted_jobs import two_workers

with two_workers():
    addresses = listening_addresses(processes_below(os.getpid()))
    print(len(addresses) >= 3, [address for address in addresses if not is_loopback(address)])
"""
    assert run_apart(code).stdout == "True []\n"


def processes_below(root: int) -> set[int]:
    """The process numbers of ``root`` and its descendants."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended in the meantime
            continue
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening_addresses(processes: set[int]) -> list[str]:
    """The local addresses of the processes' listening TCP sockets, in the kernel's hexadecimal form."""
    sockets = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.add(os.readlink(descriptor))
            except OSError:
                continue
    addresses = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, _, _, _, _, _, inode, *_ = line.split()
            if state == "0A" and f"socket:[{inode}]" in sockets:
                addresses.append(local.partition(":")[0])
    return addresses


def is_loopback(address: str) -> bool:
    """Return whether it is 127.x.x.x, its IPv6 form or ::1; words are in the machine's byte order."""
    octets = b"".join(
        int(address[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(address), 8)
    )
    return (
        octets[-4] == 127
        if len(octets) == 4 or octets[:12] == b"\0" * 10 + b"\xff\xff"
        else octets == b"\0" * 15 + b"\x01"
    )


def processor_ticks(pid: int) -> int:
    """CPU time of a process in hundredths of a second; 0 when it has ended."""
    path = Path("/proc", str(pid), "stat")
    if not path.exists():
        return 0
    fields = path.read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
