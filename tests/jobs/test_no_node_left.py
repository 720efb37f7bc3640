"""A cluster whose nodes all leave while its head stays: the search waits for a while, and then ends."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_jobs import Script, counting

from nas.errors import TargetError
from nas.jobs.ray_nodes import ALONE_S, EVERY_S, Nodes
from nas.jobs.ray_trials import end_if_none_can_train, looked
from nas.jobs.relay import Relay
from nas.jobs.resources import Resources


class Cluster:
    """What Ray tells of the nodes of a cluster, in the place of Ray, and a clock. ``said`` is what the search tells."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_s = 1e5
        self.there: list[str] = ["a", "b"]
        self.said: list[str] = []
        patch.setitem(sys.modules, "ray", SimpleNamespace(nodes=self._nodes))
        self.nodes = Nodes(Resources(cpus=1), None, None, self.said.append, lambda: self.now_s)
        self.nodes.begin()
        self.relay = Relay(Script(counting(2), counting(2)), 10.0, 20.0, lambda: self.now_s)
        self.relay.begin_pass()

    def _nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": name, "NodeManagerAddress": name, "Alive": True, "Resources": {"CPU": 2.0}}
            for name in self.there
        ]

    def goes_on(self, for_s: float) -> bool:
        """Let time pass as Tune does, which looks at the nodes again and again. False once the run is to end."""
        until_s = self.now_s + for_s
        while self.now_s < until_s:
            self.now_s = min(until_s, self.now_s + EVERY_S)
            if not looked(self.relay, self.nodes):
                return False
        return True


@pytest.fixture(name="cluster")
def cluster_of_two(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def test_a_search_without_nodes_waits_ten_minutes_and_ends(cluster: Cluster) -> None:
    """Nothing asks the source meanwhile, which alone knows of the search time."""
    assert cluster.goes_on(2 * ALONE_S)
    assert cluster.nodes.workers == 4
    cluster.there = []
    assert cluster.goes_on(ALONE_S)
    assert cluster.nodes.workers == 0
    assert "no node is left that can train; the search waits 10 minutes for one to join" in cluster.said
    end_if_none_can_train(cluster.relay, cluster.nodes)
    assert not cluster.goes_on(2 * EVERY_S)
    assert cluster.relay.is_over
    told = "none has been left for 10 minutes. All finished work is kept. Let a node join and resume, or go on without"
    assert isinstance(cluster.relay.error, TargetError)
    assert told in str(cluster.relay.error)
    with pytest.raises(TargetError, match="none has been left"):  # also where a trial waits for a node
        end_if_none_can_train(cluster.relay, cluster.nodes)


def test_a_node_that_comes_back_in_time_is_used(cluster: Cluster) -> None:
    """The next wait begins anew."""
    for _ in range(3):
        cluster.there = []
        assert cluster.goes_on(0.9 * ALONE_S)
        cluster.there = ["c"]
        assert cluster.goes_on(EVERY_S)
        assert cluster.nodes.workers == 2
    assert cluster.relay.error is None


def test_an_error_of_a_job_ends_no_other_training_at_once(cluster: Cluster) -> None:
    """While a node is left, those that run end in order."""
    cluster.relay.error = ValueError("of a source")
    end_if_none_can_train(cluster.relay, cluster.nodes)
