"""Cores, GPUs and memory: the needs of a job, and the room for jobs on the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import TargetError
from nas.hardware.machine import WORKER_BYTES

Node = Mapping[str, Any]
"""A node as ``ray.nodes`` describes it: ``Alive``, and ``Resources`` such as ``{"CPU": 8.0}``."""


@dataclass(frozen=True)
class Resources:
    """The needs of one job: cores, also the number of its threads, and GPUs, possibly a fraction of one."""

    cpus: int = 1
    gpus: float = 0.0

    @property
    def needs(self) -> Mapping[str, float]:
        """The same by Ray's names."""
        return {"CPU": self.cpus, "GPU": self.gpus}


def has_room_on(node: Node, resources: Resources) -> bool:
    """Return True if a job fits on a node while nothing else runs there."""
    return all(node["Resources"].get(name, 0) >= amount for name, amount in resources.needs.items())


def check_room(nodes: Sequence[Node], resources: Resources) -> None:
    """Check that a job fits on one of the nodes. Otherwise Tune would wait for such a node without a message.

    Raises:
        TargetError: no node that is alive has enough cores and GPUs.
    """
    needs = resources.needs
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(node["Alive"] and has_room_on(node, resources) for node in nodes):
        largest = {name: max((node.get(name, 0) for node in alive), default=0) for name in needs}
        keys = {"CPU": "execution.threads_per_worker", "GPU": "execution.gpus_per_worker"}
        lower = [keys[name] for name, amount in needs.items() if amount > largest[name]] or list(keys.values())
        raise TargetError(
            f"a training takes {needs['CPU']} cores and {needs['GPU']:g} GPUs, but the largest node has "
            f"{largest['CPU']:g} and {largest['GPU']:g}. Lower {' or '.join(lower)}, or join another Ray."
        )


def room_for(nodes: Sequence[Node], resources: Resources, *, by_memory: bool) -> int:
    """Count the jobs that fit side by side on all nodes that are alive; at least one."""
    room = 0
    for node in nodes:
        if not node["Alive"]:
            continue
        has = node["Resources"]
        fits = [has.get("CPU", 0) // resources.cpus]
        if resources.gpus:
            gpus = has.get("GPU", 0)
            fits.append(gpus // resources.gpus if resources.gpus >= 1 else gpus * int(1 / resources.gpus + 1e-9))
        if by_memory and "memory" in has:
            fits.append(has["memory"] // WORKER_BYTES)
        room += int(min(fits))
    return max(1, room)


def local_gpus() -> int:
    """Count the GPUs of this machine that torch can use."""
    import torch

    return torch.cuda.device_count()
