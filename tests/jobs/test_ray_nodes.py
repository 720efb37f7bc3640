"""Nodes of a cluster that cannot do the work, that join late, and that leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted_jobs import run_apart

START = """
import os, sys, time
os.environ["RAY_DEDUP_LOGS"] = "0"  # the executor sets it too, but Ray is imported before that here
from ray.cluster_utils import Cluster
from lacking_work import LACKS, LackingWork
from nas.errors import NasError
from nas.jobs.node_needs import NodeNeeds
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources
from scripted_jobs import Script, counting

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_asked", [True, False], ids=["asked before", "found by trying"])
def test_a_node_that_cannot_load_the_work_is_set_aside(is_asked: bool) -> None:
    """One sentence names it and says what to do, and no job fails for it: all end well on the other node."""
    code = f"""{START}
cluster.add_node(num_cpus=3, env_vars={{LACKS: "1"}})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
needs = NodeNeeds.of(LackingWork()) if {is_asked} else None
source = Script(*[{{"do": "count slowly", "epochs": 6}}] * 6)
with RayExecutor(None, Resources(cpus=1), address=cluster.address, needs=needs, say=print) as executor:
    executor.run(LackingWork(), source, time_limit_s=60)
print(source.kinds, sum(what == "restart" for events in source.heard.values() for what, _ in events))
cluster.shutdown()
"""
    told = run_apart(code)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[-1] == f"{[None] * 6} 0"
    (left_out,) = [line for line in lines if "left out" in line]
    assert "ModuleNotFoundError: No module named 'their_space'" in left_out
    assert "install" in left_out


@pytest.mark.slow
def test_where_no_node_can_load_the_work_the_run_ends_at_once() -> None:
    """Before anything is measured for it, if nodes are asked; else with the first job, which is no failure of it."""
    code = f"""{START}
cluster.add_node(num_cpus=2, env_vars={{LACKS: "1"}})
cluster.wait_for_nodes()
for needs in (NodeNeeds.of(LackingWork()), None):
    source = Script(*[counting(3)] * 6)
    try:
        with RayExecutor(None, Resources(cpus=1), address=cluster.address, needs=needs, say=print) as executor:
            executor.run(LackingWork(), source, time_limit_s=60)
    except NasError as error:
        print(error, sum(what == "failure" for events in source.heard.values() for what, _ in events))
cluster.shutdown()
"""
    told = run_apart(code)
    assert told.returncode == 0, told.stderr
    first, second = told.stdout.splitlines()[-2:]
    for line in (first, second):
        assert line.startswith("trainings need a node that can do them, but none of 1 can. node ")
        assert "No module named 'their_space'" in line
        assert line.endswith(" 0")


@pytest.mark.slow
def test_a_node_that_joins_gets_jobs(tmp_path: Path) -> None:
    """It is asked what it has, and two jobs that wait for each other then run side by side."""
    code = f"""{START}
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()

class Adds(Script):
    def on_report(self, job, report):
        if job["id"] == "j0" and report["epoch"] == 1:
            cluster.add_node(num_cpus=1)
        return super().on_report(job, report)

meet = {{"do": "meet", "folder": sys.argv[1]}}
source = Adds({{"do": "count slowly", "epochs": 4}}, meet, meet, counting(2))
needs = NodeNeeds.of(LackingWork())
with RayExecutor(None, Resources(cpus=1), address=cluster.address, needs=needs, say=print) as executor:
    executor.run(LackingWork(), source, time_limit_s=60)
print(source.kinds)
cluster.shutdown()
"""
    told = run_apart(code, str(tmp_path))
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[-1] == f"{[None] * 4}"
    assert any(line.endswith("joins") for line in lines)
    assert "trainings at once: 2 instead of 1" in lines
