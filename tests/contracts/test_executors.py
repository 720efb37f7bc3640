"""What every executor does, and what processes add to it: deaths, hangs, silence and ports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from job_tasks import work

from nas.errors import CandidateError, DataError
from nas.hardware.machine import WORKER_BYTES
from nas.jobs import ray_executor as ray_module
from nas.jobs.execution import Executor, InlineExecutor, Job, Report, as_failure
from nas.jobs.ray_executor import LOCAL_RAY_VARIABLES, RayExecutor, Resources, room_for

ENOUGH_S = 60.0


class Script:
    """A source with a list of jobs, which notes what it hears. It stops a job whose ``stop_at`` epoch is reported."""

    def __init__(self, *jobs: dict[str, Any]) -> None:
        self._jobs = [{"id": f"j{number}", **job} for number, job in enumerate(jobs)]
        self.heard: dict[str, list[tuple[str, Any]]] = {}
        self.asked = 0

    def next_job(self) -> Job | None:
        if self.asked == len(self._jobs):
            return None
        job = self._jobs[self.asked]
        self.asked += 1
        self.heard[job["id"]] = []
        return job

    def on_report(self, job: Job, report: Report) -> bool:
        self.heard[job["id"]].append(("report", report))
        return "stop_at" not in job or report["epoch"] != job["stop_at"]

    def on_restart(self, job: Job) -> None:
        self.heard[job["id"]].append(("restart", None))

    def on_end(self, job: Job, report: Report) -> None:
        self.heard[job["id"]].append(("end", report))

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        self.heard[job["id"]].append(("failure", (failure.kind, failure.reason)))

    @property
    def kinds(self) -> list[str | None]:
        """How each job failed; None for one that ended well."""
        ends = [self.heard[job["id"]][-1] for job in self._jobs]
        return [what[0] if event == "failure" else None for event, what in ends]


def counting(epochs: int, **more: Any) -> dict[str, Any]:
    return {"do": "count", "epochs": epochs, **more}


def ray() -> RayExecutor:
    return RayExecutor(2, Resources(cpus=1))


@pytest.fixture(name="ray_executor", scope="module")
def running_ray() -> Iterator[Executor]:
    with ray() as executor:
        yield executor


@pytest.fixture(name="executor", params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def each_executor(request: pytest.FixtureRequest) -> Executor:
    return InlineExecutor() if request.param == "inline" else request.getfixturevalue("ray_executor")


class TestEvery:
    """One Ray serves all of these, so each is also a further run in one session."""

    def test_reports_come_in_order(self, executor: Executor) -> None:
        """Every report but the last asks whether to go on; the last ends the job, and is the task's own."""
        source = Script(counting(3), counting(1), counting(4))
        executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.heard == {
            f"j{number}": [
                *(("report", {"epoch": epoch}) for epoch in range(1, epochs)),
                ("end", {"epoch": epochs, "done": True}),
            ]
            for number, epochs in enumerate((3, 1, 4))
        }

    def test_a_source_can_stop_a_job(self, executor: Executor) -> None:
        """It ends with the report at which it was stopped, which is not done, and the others go on."""
        source = Script(counting(5, stop_at=2), counting(3), counting(4, stop_at=1))
        executor.run(work, source, time_limit_s=ENOUGH_S)
        assert [events[-1] for events in source.heard.values()] == [
            ("end", {"epoch": 2}),
            ("end", {"epoch": 3, "done": True}),
            ("end", {"epoch": 1}),
        ]
        assert [len(events) for events in source.heard.values()] == [3, 3, 2]

    def test_a_failure_ends_its_job_alone(self, executor: Executor) -> None:
        """A CandidateError keeps its kind; everything else is of kind exception, whenever it is raised."""
        source = Script(
            {"do": "fail"},
            {"do": "fail as candidate"},
            {"do": "raise at once"},
            {"do": "leave"},
            counting(2),
        )
        executor.run(work, source, time_limit_s=ENOUGH_S)
        assert [events[-1] for events in source.heard.values()] == [
            ("failure", ("exception", "training raised ValueError: wrong\nin the middle")),
            ("failure", ("nan", "the loss is no number")),
            ("failure", ("exception", "training raised ValueError: wrong at once")),
            ("failure", ("exception", "training raised AssertionError: a task's last report must hold done")),
            ("end", {"epoch": 2, "done": True}),
        ]
        assert [len(events) for events in source.heard.values()] == [2, 2, 1, 2, 2]

    def test_a_job_that_exhausts_memory_fails_alone(self, executor: Executor) -> None:
        """It is told apart from other exceptions."""
        source = Script({"do": "exhaust memory"}, counting(2))
        executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.heard["j0"][-1] == (
            "failure",
            ("memory", "training must fit into memory, but raised MemoryError: "),
        )
        assert source.kinds == ["memory", None]

    def test_what_is_no_candidates_failure_ends_the_run(self, executor: Executor) -> None:
        """Missing data would fail every job, so it is raised at once, and no job hears of it."""
        source = Script({"do": "find no data"}, *[counting(1)] * 20)
        with pytest.raises(DataError, match="the data set is gone"):
            executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.heard["j0"] == [("report", {"epoch": 1})]
        assert source.asked < 20

    @pytest.mark.parametrize("method", ["next_job", "on_report", "on_end", "on_failure"])
    def test_an_exception_of_the_source_ends_the_run(
        self, executor: Executor, method: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is raised as it was, even when it looks like a candidate's, and nothing is asked or told after it."""
        source = Script(counting(2), {"do": "fail"}, *[counting(3)] * 20)
        original: Callable[..., Any] = getattr(source, method)
        calls = []

        def failing(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 3 or method == "on_failure":
                raise error
            return original(*arguments)

        error = CandidateError("disk", "the journal is full") if method == "on_report" else OSError("disk full")
        monkeypatch.setattr(source, method, failing)
        with pytest.raises(type(error)) as caught:
            executor.run(work, source, time_limit_s=ENOUGH_S)
        assert caught.value is error
        assert len(calls) == (1 if method == "on_failure" else 3)
        assert source.asked < 22

    def test_data_pass_as_they_are(self, executor: Executor) -> None:
        """Nested data in jobs and reports, and a megabyte of bytes, keep shape and type."""
        data = {"architecture": {"depth": 2, "residual": True, "name": "é/ü", "a.b": 0.1}, "list": [[], {}, None, [1]]}
        source = Script({"do": "give back", "data": data})
        executor.run(work, source, time_limit_s=ENOUGH_S)
        (_, first), (_, last) = source.heard["j0"]
        assert first == {"epoch": 1, "got": data}
        assert last == {"epoch": 2, "got": data, "weights": bytes(range(256)) * 4000, "done": True}

    def test_no_jobs_are_no_error(self, executor: Executor) -> None:
        """A source that has none is asked once."""
        source = Script()
        executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.heard == {}


def test_only_as_many_jobs_are_handed_out_as_there_is_room_for() -> None:
    """By cores, GPUs and, where nobody said how many, memory; a node that is lost has no room."""
    gib = 2**30
    nodes: list[dict[str, Any]] = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0, "memory": 3.0 * gib}},
        {"Alive": True, "Resources": {"CPU": 3.0, "memory": 100.0 * gib}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert room_for(nodes, Resources(cpus=1), by_memory=False) == 11
    assert room_for(nodes, Resources(cpus=2), by_memory=False) == 5
    assert room_for(nodes, Resources(cpus=1), by_memory=True) == 3 * gib // WORKER_BYTES + 3
    assert room_for(nodes, Resources(cpus=1, gpus=1), by_memory=False) == 2
    assert room_for(nodes, Resources(cpus=1, gpus=0.3), by_memory=False) == 6
    assert room_for(nodes, Resources(cpus=4, gpus=2), by_memory=False) == 1
    assert room_for([], Resources(), by_memory=False) == 1


def test_torch_that_finds_no_memory_is_told_apart() -> None:
    """On CPUs it raises a RuntimeError, on GPUs a class of its own."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert as_failure(caught.value).kind == "memory"
    assert as_failure(torch.OutOfMemoryError("CUDA out of memory")).kind == "memory"
    assert as_failure(RuntimeError("wrong")).kind == "exception"


def test_a_stopped_task_is_closed_before_its_end_is_told() -> None:
    """What a task has borrowed, such as random states, is given back before anybody goes on."""
    open_tasks = []

    def task(job: Job) -> Iterator[Report]:
        open_tasks.append(job["id"])
        try:
            yield {"epoch": 1}
        finally:
            open_tasks.remove(job["id"])

    class Looking(Script):
        def on_end(self, job: Job, report: Report) -> None:
            assert open_tasks == []
            super().on_end(job, report)

    source = Looking({"stop_at": 1}, {"stop_at": 1})
    InlineExecutor().run(task, source, time_limit_s=ENOUGH_S)
    assert source.kinds == [None, None]


@pytest.mark.ray
class TestProcesses:
    @pytest.mark.slow
    def test_a_death_ends_its_job_alone(self, ray_executor: Executor) -> None:
        """A worker that exits or is killed from outside makes a failed job of kind worker; the others go on."""

        class Killer(Script):
            def on_report(self, job: Job, report: Report) -> bool:
                if "pid" in report:
                    os.kill(report["pid"], signal.SIGKILL)
                return super().on_report(job, report)

        source = Killer({"do": "exit"}, {"do": "tell and wait"}, counting(2), {"do": "exit"}, counting(2), counting(2))
        ray_executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.kinds == ["worker", "worker", None, "worker", None, None]
        assert source.heard["j0"][-1][1][1].startswith(
            "the worker's process died in each of 2 tries; it may have been killed, or have run"
        )

    def test_a_lost_job_begins_anew(self, ray_executor: Executor, tmp_path: Path) -> None:
        """Once, and from its first epoch, of which its source is told; also when it is the last."""
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

    @pytest.mark.skipif(sys.platform != "linux", reason="Ray ends what a worker started on Linux only")
    def test_what_a_hung_job_started_ends_with_it(
        self, ray_executor: Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that it started and that ignores SIGTERM, as it does itself, is gone soon after."""
        monkeypatch.setattr(ray_module, "HARD_LIMIT_GRACE_S", 0.8)
        source = Script({"do": "hang with a child"})
        ray_executor.run(work, source, time_limit_s=1.0)
        assert source.kinds == ["timeout"]
        child = Path("/proc", str(source.heard["j0"][0][1]["child"]))
        until = time.monotonic() + 20
        while child.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert not child.exists()

    def test_a_hang_ends_within_the_hard_limit(self, ray_executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither a loop that never ends nor a sleep that hears no signal outlives it, and others go on after."""
        monkeypatch.setattr(ray_module, "HARD_LIMIT_GRACE_S", 0.8)
        source = Script({"do": "spin"}, {"do": "sleep deaf"}, counting(2), counting(2))
        ray_executor.run(work, source, time_limit_s=1.0)
        assert source.kinds == ["timeout", "timeout", None, None]
        reason = source.heard["j0"][-1][1][1]
        found = re.fullmatch(
            r"a training must take at most 1 s, but hung; its process was ended after (\d+) s\.", reason
        )
        assert found is not None
        assert 2 <= int(found[1]) <= 10  # 1.2 s and a grace of 0.8 s, and what a busy machine takes to notice

    def test_jobs_run_side_by_side(self, ray_executor: Executor, tmp_path: Path) -> None:
        """Two jobs that wait for each other both end, in processes of their own with the threads that were given.

        And without GPUs, which they did not ask for.
        """
        source = Script({"do": "meet", "folder": str(tmp_path)}, {"do": "meet", "folder": str(tmp_path)})
        ray_executor.run(work, source, time_limit_s=ENOUGH_S)
        assert source.kinds == [None, None]
        ((_, one),), ((_, other),) = source.heard.values()
        assert len({one["pid"], other["pid"], os.getpid()}) == 3
        assert one["OMP_NUM_THREADS"] == other["OMP_NUM_THREADS"] == "1"
        assert one["CUDA_VISIBLE_DEVICES"] == other["CUDA_VISIBLE_DEVICES"] == ""

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_nothing_computes_when_a_run_is_over(self, ray_executor: Executor) -> None:
        """So that what is measured then has the machine to itself: what was stopped is idle, and so is what ended."""
        source = Script(
            *({"do": "compute", "epochs": 200, "stop_at": 2} for _ in range(3)), {"do": "compute", "epochs": 3}
        )
        ray_executor.run(work, source, time_limit_s=ENOUGH_S)
        assert [len(events) for events in source.heard.values()] == [3, 3, 3, 3]
        pids = {events[-1][1]["pid"] for events in source.heard.values()}
        before = {pid: processor_ticks(pid) for pid in pids}
        time.sleep(0.5)
        assert all(processor_ticks(pid) - before[pid] <= 5 for pid in pids)  # of 50; its connections are kept alive

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    @pytest.mark.usefixtures("ray_executor")
    def test_nothing_listens_to_the_outside(self) -> None:
        """Every port that this process and those that it started listen on is bound to the loopback address."""
        addresses = listening_addresses(processes_below(os.getpid()))
        assert len(addresses) >= 3  # among them the control store's, the node manager's and this driver's
        assert {address for address in addresses if not is_loopback(address)} == set()


def processes_below(root: int) -> set[int]:
    """Process numbers of ``root`` and of all that descend from it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening_addresses(processes: set[int]) -> list[str]:
    """Local addresses, in the kernel's hexadecimal form, of the TCP sockets on which the processes listen."""
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
    """127.x.x.x, ::1, or the first written as the second; words are in the machine's byte order."""
    octets = b"".join(
        int(address[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(address), 8)
    )
    return (
        octets[-4] == 127
        if len(octets) == 4 or octets[:12] == b"\0" * 10 + b"\xff\xff"
        else octets == b"\0" * 15 + b"\x01"
    )


@pytest.mark.ray
@pytest.mark.slow
def test_ray_is_silent_when_workers_die() -> None:
    """A run in which workers exit, are killed and hang prints what the caller prints, and nothing else."""
    code = """
import os, signal
from test_executors import Script, counting, ray, ray_module, work

class Killer(Script):
    def on_report(self, job, report):
        if "pid" in report:
            os.kill(report["pid"], signal.SIGKILL)
        return super().on_report(job, report)

ray_module.HARD_LIMIT_GRACE_S = 0.8
source = Killer({"do": "exit"}, {"do": "tell and wait"}, {"do": "fail"}, {"do": "spin"}, counting(2))
with ray() as executor:
    executor.run(work, source, time_limit_s=1.0)
    print(source.kinds)
"""
    told = run_apart(code)
    assert told.stderr == ""
    assert told.stdout == "['worker', 'worker', 'exception', 'timeout', None]\n"
    assert told.returncode == 0


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Ray looks at memory on Linux only")
def test_memory_that_runs_short_costs_who_took_it() -> None:
    """Ray ends a process, and Tune all others; who was innocent, or takes it only once, ends well. Nothing is said."""
    code = """
import os, tempfile
from test_executors import RayExecutor, Resources, Script, counting, work
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory

os.environ["RAY_memory_usage_threshold"] = f"{(get_used_memory() + 2.5 * 2**30) / get_system_memory():.4f}"
os.environ["RAY_memory_monitor_refresh_ms"] = "100"
with tempfile.TemporaryDirectory() as folder, RayExecutor(2, Resources(cpus=1)) as executor:
    greedy = {"do": "take memory", "folder": folder}
    source = Script({"do": "count slowly", "epochs": 20}, {**greedy, "tries": 9}, {**greedy, "tries": 1}, counting(2))
    executor.run(work, source, time_limit_s=60)
    print(source.kinds)
    for events in source.heard.values():
        print(sum(event == "restart" for event, _ in events), events[-1][0])
"""
    told = run_apart(code)
    assert told.stderr == ""
    assert told.stdout.splitlines()[:4] == ["[None, 'worker', None, None]", "1 end", "1 failure", "1 end"]
    assert told.returncode == 0


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("how", ["crashes", "is taken away"])
def test_losing_a_node_of_a_cluster_costs_what_was_in_flight(how: str) -> None:
    """Of eight jobs on two nodes that of the node which is lost begins anew on the other one, and all end well."""
    code = """
import os, sys, time
os.environ["RAY_DEDUP_LOGS"] = "0"  # as the executor has it, were Ray not imported before
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from test_executors import RayExecutor, Resources, Script, work

PREEMPTION = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
lost = cluster.add_node(num_cpus=1)
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()

class Loses(Script):
    lost_one = False

    def on_report(self, job, report):
        if not self.lost_one and all(self.heard.get(name) for name in ("j0", "j1")):
            self.lost_one = True
            if sys.argv[1] == "is taken away":  # as a provider does with machines that are let cheaply
                client = GcsClient(address=cluster.gcs_address)
                assert client.drain_node(lost.node_id, PREEMPTION, "", int(time.time() * 1000) + 1)[0]
            cluster.remove_node(lost, allow_graceful=False)
        return super().on_report(job, report)

source = Loses(*[{"do": "count slowly", "epochs": 5}] * 8)
with RayExecutor(2, Resources(cpus=1), address=cluster.address) as executor:
    executor.run(work, source, time_limit_s=60)
print(source.lost_one, source.kinds)
for events in source.heard.values():
    print(" ".join(str(what["epoch"]) if event == "report" else event for event, what in events))
cluster.shutdown()
"""
    told = run_apart(code, how)
    assert told.returncode == 0, told.stderr
    first, *jobs = told.stdout.splitlines()
    assert first == f"True {[None] * 8}"
    restarted = [job for job in jobs if "restart" in job]
    assert len(restarted) == 1
    assert restarted[0].endswith("restart 1 2 3 4 end")
    assert [job for job in jobs if job not in restarted] == ["1 2 3 4 end"] * 7


@pytest.mark.ray
@pytest.mark.slow
def test_one_process_may_start_ray_again() -> None:
    """As a notebook does that searches twice; each local Ray has a token of its own. One that has too little ends."""
    code = """
import os
from nas.errors import TargetError
from nas.jobs.ray_executor import RayExecutor, Resources
from test_executors import Script, counting, ray, work

os.environ["RAY_ADDRESS"] = "127.0.0.1:1"  # only an address that is asked for is joined
try:
    RayExecutor(1, Resources(gpus=1000)).__enter__()
except TargetError as error:
    print(error)
    print("RAY_AUTH_TOKEN" in os.environ)
for _ in range(2):
    with ray() as executor:
        print(len(os.environ["RAY_AUTH_TOKEN"]), len(os.environ["RAY_AUTH_MODE"]))
        source = Script(counting(1))
        executor.run(work, source, time_limit_s=60)
        print(source.kinds)
    print("RAY_AUTH_TOKEN" in os.environ)
"""
    told = run_apart(code)
    assert told.returncode == 0, told.stderr
    refused, *others = told.stdout.splitlines()
    assert refused.startswith("a training takes 1 cores and 1000 GPUs, but the largest node has 1 and ")
    assert others == ["False", *["64 5", "[None]", "False"] * 2]


def processor_ticks(pid: int) -> int:
    """Hundredths of a second that a process has computed; 0 when it is gone."""
    path = Path("/proc", str(pid), "stat")
    if not path.exists():
        return 0
    fields = path.read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def run_apart(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The code in a process of its own, which knows the tests, but nothing of a Ray that runs here."""
    path = os.pathsep.join(str(Path(__file__).parents[level]) for level in (0, 1))
    environment = {name: value for name, value in os.environ.items() if name not in LOCAL_RAY_VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
