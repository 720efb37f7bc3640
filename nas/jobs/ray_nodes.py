"""The nodes of a Ray: which of them train, how many trainings they have room for, and which are set aside and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, final

from nas.errors import TargetError, first_few
from nas.hardware.machine import machine_id
from nas.jobs import node_probe
from nas.jobs.head_watch import HeadWatch
from nas.jobs.node_needs import LIBRARIES, NodeNeeds
from nas.jobs.resources import Resources, check_room, has_room_on, room_for

EVERY_S = 2.0
"""How often the nodes are counted."""
PATIENCE_S = 120.0
"""How long a node may take to tell what it has. Its first process imports torch, and what is the user's own."""
ALONE_S = 600.0
"""How long a search waits for a node once none is left that can train. A restart of a machine takes minutes."""
STEP_S = 0.2


@final
class Nodes:
    """The nodes on which jobs run: those that are alive, have room for one, and can do the work.

    A node that joins is asked what it has. One that lacks something is set aside, and so is one on which a process
    could not begin the work. Nodes that leave are no longer counted. ``say`` is told each change in a sentence.
    """

    def __init__(
        self,
        resources: Resources,
        most: int | None,
        needs: NodeNeeds | None,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``most`` is the largest number of jobs side by side; None for as many as there is room for.

        Without ``needs`` no node is asked: a local Ray has what this process has. ``clock`` returns seconds.
        """
        self._resources = resources
        self._most = most
        self._by_memory = most is None
        self._needs = needs
        self._say = say
        self._told: set[str] = set()
        self._alive: dict[str, Mapping[str, Any]] = {}
        self._known: dict[str, Mapping[str, Any]] = {}
        self._asked: dict[str, tuple[Any, float]] = {}
        self._used: set[str] = set()
        self._machines: dict[str, str | None] = {}
        self._aside: dict[str, str] = {}
        self._clock = clock
        self._looked_s = float("-inf")
        self._alone_since_s: float | None = None
        self._head: HeadWatch | None = None
        self.workers = 1

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        """Leave nothing in a pickle, as the relay does: Tune pickles its searcher and scheduler."""
        return object, ()

    def watch_head(self, address: str) -> None:
        """Watch the head of a cluster until ``end``."""
        self._head = HeadWatch(address)
        self._head.begin()

    def check_head(self) -> None:
        """Raise TargetError if a cluster's head is lost."""
        if self._head is not None:
            self._head.check()

    def end(self) -> None:
        """Stop watching the head."""
        if self._head is not None:
            self._head.end()
            self._head = None

    def begin(self) -> None:
        """Look at all nodes, and wait until those with room have told what they have.

        Raises:
            TargetError: none has room for a job, or none can do the work.
        """
        self._used, self._aside, self._asked = set(), {}, {}
        self._count(is_new=False)
        check_room(list(self._alive.values()), self._resources)
        while self._asked:
            time.sleep(STEP_S)
            self._hear()
        self._check_one_is_left()
        self._recount()
        if self._needs is not None:
            counts = [f"{self._name(each)} ({self._room(each)})" for each in sorted(self._used, key=self._name)]
            self._tell(f"trainings at once: {self.workers}, on {first_few(counts)}")

    def look(self) -> None:
        """Count the nodes again, if the last time is a while ago.

        Raises:
            TargetError: none is left that can do the work, or there has been none for ten minutes.
        """
        if self._clock() - self._looked_s < EVERY_S:
            return
        before = self.workers
        self._count(is_new=True)
        self._hear()
        self._check_one_is_left()
        self._recount()
        if self.workers != before:
            self._say(f"trainings at once: {self.workers} instead of {before}")
        self._check_patience()

    def allow(self, most: int) -> None:
        """Let at most so many jobs run side by side from now on. Those that run are not stopped."""
        before, self._most = self.workers, most
        self._recount()
        if self.workers != before:
            self._say(f"trainings at once: {self.workers} instead of {before}, as nas workers asked")

    @property
    def machines(self) -> list[str | None]:
        """The identifiers of the machines of nodes that are given jobs; of nodes that were not asked, this one."""
        return [self._machines.get(node, machine_id()) for node in self._used]

    @property
    def told(self) -> list[dict[str, Any]]:
        """Each node that is alive: its name, for how many jobs it has room, and why it is left out, or None."""
        alive = sorted(self._used | (self._aside.keys() & self._alive.keys()), key=self._name)
        return [
            {"name": self._name(node), "at_once": self._room(node), "left_out": self._aside.get(node)} for node in alive
        ]

    def set_aside(self, node: str, reason: str) -> None:
        """Give a node no more jobs, and say why.

        Raises:
            TargetError: no other node is left.
        """
        self._used.discard(node)
        self._asked.pop(node, None)
        self._refuse(node, reason)
        self._check_one_is_left()
        self._recount()

    @property
    def can_train(self) -> bool:
        """True if a node is left that can do the work."""
        return bool(self._used)

    @property
    def shunned(self) -> tuple[str, ...]:
        """The ids of nodes that are alive and must not be given jobs."""
        return tuple(sorted(self._aside.keys() & self._alive.keys()))

    def _count(self, *, is_new: bool) -> None:
        """See which nodes are there, and ask new ones what they have."""
        import ray

        self._looked_s = self._clock()
        found = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        for node in self._used - found.keys():
            self._say(f"node {self._name(node)} is lost; its trainings start again on others")
        self._alive = found
        self._known |= found
        self._used &= found.keys()
        for node in found.keys() - self._used - self._aside.keys() - self._asked.keys():
            if not has_room_on(found[node], self._resources):
                continue
            if self._needs is None:
                self._used.add(node)
            else:
                self._asked[node] = self._ask(node, self._needs), self._clock() + PATIENCE_S
                if is_new:
                    self._say(f"node {self._name(node)} joins")

    def _ask(self, node: str, needs: NodeNeeds) -> Any:
        """Return a reference to what a node tells of itself."""
        import ray
        from ray import cloudpickle
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        cloudpickle.register_pickle_by_value(node_probe)  # type: ignore[no-untyped-call] # the node may lack this project
        there: Any = NodeAffinitySchedulingStrategy(node, soft=False)
        remote: Any = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(node_probe.told_by_node)
        return remote.remote(needs.code, LIBRARIES, needs.files)

    def _hear(self) -> None:
        """Use the nodes that have told all is well, and set others aside."""
        import ray

        assert self._needs is not None or not self._asked
        for node, (answer, until_s) in list(self._asked.items()):
            if node not in self._alive:
                del self._asked[node]
                continue
            if not ray.wait([answer], timeout=0)[0]:
                if self._clock() > until_s:
                    self._refuse(node, f"it does not answer within {PATIENCE_S:g} s; see the logs of its Ray")
                continue
            assert self._needs is not None
            try:
                told = ray.get(answer)
            except Exception as error:  # its process may die, and it may leave
                self._refuse(node, f"its process could not begin ({last_line(str(error))}); see the logs of its Ray")
                continue
            lacking = self._needs.lacking(told)
            if lacking is not None:
                self._refuse(node, lacking)
                continue
            del self._asked[node]
            self._machines[node] = told["machine"]
            self._used.add(node)
            if differing := self._needs.differing(told):
                self._tell(f"node {self._name(node)} has {differing}, so its trainings may differ a little")
            if (niceness := told["niceness"]) > 0:  # Ray's own default is 15
                self._tell(
                    f"trainings on the cluster give way to all other programs there, at niceness {niceness}. If others "
                    "use its machines too, start their Ray with RAY_worker_niceness=0"
                )

    def _refuse(self, node: str, reason: str) -> None:
        self._asked.pop(node, None)
        self._aside.setdefault(node, reason)
        if self._used or self._asked:  # else one error names all of them
            self._tell(f"node {self._name(node)} is left out: {reason}")

    def _check_one_is_left(self) -> None:
        aside = {node: reason for node, reason in self._aside.items() if node in self._alive}
        if aside and not self._used and not self._asked:
            listed = first_few([f"node {self._name(node)}: {reason}" for node, reason in aside.items()], between="; ")
            raise TargetError(f"trainings need a node that can do them, but none of {len(aside)} can. {listed}.")

    def _check_patience(self) -> None:
        """Raise TargetError if no node has been left for ``ALONE_S``.

        While there is none, the source is asked for nothing, and it alone knows that the search time is over.
        """
        if self._used or self._asked:
            self._alone_since_s = None
            return
        now_s = self._clock()
        if self._alone_since_s is None:
            self._alone_since_s = now_s
        if now_s - self._alone_since_s >= ALONE_S:
            raise TargetError(
                f"trainings need a node that can do them, but none has been left for {ALONE_S / 60:g} minutes. All "
                "finished work is kept. Let a node join and resume, or go on without the cluster: add --executor "
                "inline."
            )

    def _recount(self) -> None:
        room = sum(map(self._room, self._used))
        self.workers = room if self._most is None else min(self._most, room)
        if not self.workers and not self._asked:
            minutes = f"{ALONE_S / 60:g} minutes"
            self._tell(f"no node is left that can train; the search waits {minutes} for one to join")

    def _room(self, node: str) -> int:
        return room_for([self._alive[node]], self._resources, by_memory=self._by_memory)

    def _name(self, node: str) -> str:
        """Return the address of a node; with a part of its id, where several have the same."""
        about = self._known.get(node, {})
        address = str(about.get("NodeManagerAddress", node[:8]))
        alike = [each for each in self._known.values() if each.get("NodeManagerAddress") == address]
        return address if len(alike) < 2 else f"{address} ({node[:8]})"

    def _tell(self, text: str) -> None:
        """Say a sentence once."""
        if text not in self._told:
            self._told.add(text)
            self._say(text)


def last_line(text: str) -> str:
    """Return the last line of a traceback, which names the exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason is known"
