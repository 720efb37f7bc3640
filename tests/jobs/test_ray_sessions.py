"""Whole sessions of Ray, each in a fresh process: silence, memory shortage, lost nodes and restarts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scripted_jobs import run_apart


@pytest.mark.slow
def test_ray_is_silent_when_workers_die() -> None:
    """Ray prints nothing while workers exit, are killed and hang; only the caller's own output appears."""
    code = """
import os, signal
from job_work import work
from nas.jobs import relay
from scripted_jobs import Script, counting, two_workers

class Killer(Script):
    def on_report(self, job, report):
        if "pid" in report:
            os.kill(report["pid"], signal.SIGKILL)
        return super().on_report(job, report)

relay.HARD_LIMIT_GRACE_S = 0.8
source = Killer({"do": "exit"}, {"do": "tell and wait"}, {"do": "fail"}, {"do": "spin"}, counting(2))
with two_workers() as executor:
    executor.run(work, source, time_limit_s=1.0)
    print(source.kinds)
"""
    told = run_apart(code)
    assert told.stderr == ""
    assert told.stdout == "['worker', 'worker', 'exception', 'timeout', None]\n"
    assert told.returncode == 0


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Ray looks at memory on Linux only")
def test_memory_shortage_fails_only_its_cause() -> None:
    """Ray ends one process, and Tune all others. Only a job that takes the memory in each try fails, silently."""
    code = """
import os, tempfile
from job_work import work
from scripted_jobs import Script, counting, two_workers
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory

os.environ["RAY_memory_usage_threshold"] = f"{(get_used_memory() + 2.5 * 2**30) / get_system_memory():.4f}"
os.environ["RAY_memory_monitor_refresh_ms"] = "100"
with tempfile.TemporaryDirectory() as folder, two_workers() as executor:
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


@pytest.mark.slow
@pytest.mark.parametrize("how", ["crashes", "is taken away"])
def test_jobs_of_a_lost_node_start_again_on_another(how: str) -> None:
    """When one of two nodes is lost, its job starts again on the other node, and all eight jobs end well."""
    code = """
import os, sys, time
os.environ["RAY_DEDUP_LOGS"] = "0"  # the executor sets it too, but Ray is imported before that here
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from job_work import work
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources
from scripted_jobs import Script

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
            if sys.argv[1] == "is taken away":  # as a cloud provider does with spot machines
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


@pytest.mark.slow
def test_one_process_may_start_ray_again(tmp_path: Path) -> None:
    """A notebook may search twice: each local Ray has its own token. A Ray without enough GPUs is shut down.

    Nobody else can enter its folder, which is gone afterwards. Modules in the current folder do not hide others.
    """
    for module in ("job_work", "json", "ray", "torch"):
        (tmp_path / f"{module}.py").write_text("raise ImportError('from the current folder')")
    code = """
import os, stat
from pathlib import Path
from nas.errors import TargetError
from job_work import work
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources
from scripted_jobs import Script, counting, two_workers

os.environ["RAY_ADDRESS"] = "127.0.0.1:1"  # must be ignored: no address was passed
try:
    RayExecutor(1, Resources(gpus=1000)).__enter__()
except TargetError as error:
    print(error)
    print("RAY_AUTH_TOKEN" in os.environ)
for _ in range(2):
    with two_workers() as executor:
        print(len(os.environ["RAY_AUTH_TOKEN"]), len(os.environ["RAY_AUTH_MODE"]))
        import ray
        folder = Path(ray._private.worker._global_node.get_session_dir_path())
        print([oct(stat.S_IMODE(each.stat().st_mode)) for each in list(folder.parents)[1:3]], folder.is_dir())
        source = Script(counting(1))
        executor.run(work, source, time_limit_s=60)
        print(source.kinds)
    print("RAY_AUTH_TOKEN" in os.environ, folder.parent.exists(), folder.parents[1].exists())
"""
    told = run_apart(code, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    refused, *others = told.stdout.splitlines()
    assert refused.startswith("a training takes 1 cores and 1000 GPUs, but the largest node has 1 and ")
    private = "['0o700', '0o700'] True"
    assert others == ["False", *["64 5", private, "[None]", "False False True"] * 2]


@pytest.mark.slow
def test_workers_do_not_give_way_to_other_programs() -> None:
    """Ray's own default is a niceness of 15, at which trainings starve beside other work."""
    code = """
import os
from scripted_jobs import Script, two_workers

def work(job):
    yield {"done": True, "epoch": 1, "error": 0.0, "niceness": os.nice(0)}

class Keeps(Script):
    found = []

    def on_end(self, job, report):
        self.found.append(report["niceness"])

source = Keeps({"do": "count slowly"}, {"do": "count slowly"})
with two_workers() as executor:
    executor.run(work, source, time_limit_s=60)
print(source.found, os.nice(0))
"""
    told = run_apart(code)
    assert told.stdout == "[0, 0] 0\n", told.stderr
