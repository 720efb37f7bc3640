"""Counting the room for jobs on the nodes of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from nas.errors import TargetError
from nas.hardware.machine import WORKER_BYTES
from nas.jobs.resources import Resources, check_room, room_for


def test_only_as_many_jobs_are_handed_out_as_there_is_room_for() -> None:
    """Cores, GPUs and, if asked for, memory limit the number of jobs; a dead node has no room."""
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


def test_a_job_that_fits_on_no_node_is_refused() -> None:
    """The message names the setting to lower: only the number of GPUs is too large here."""
    nodes: list[dict[str, Any]] = [
        {"Alive": True, "Resources": {"CPU": 8.0}},
        {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 4.0}},
    ]
    check_room(nodes, Resources(cpus=8))
    with pytest.raises(TargetError, match=r"Lower execution\.gpus_per_worker, or join another Ray\."):
        check_room(nodes, Resources(cpus=2, gpus=1))
