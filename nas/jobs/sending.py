"""Sending data to the processes that train, once to each machine. It needs no Ray, but a store that all of them see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, final

from nas.errors import DataError
from nas.storage.home import home
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task
from nas.tasks.transfer.packing import packed, unpacked
from nas.tasks.transfer.parcels import Parcel, parcel_of, part_of, stored

SHARED_FROM = 2**26
"""Data that take so many bytes of memory are shared by all processes of a machine, instead of loaded by each."""


class Store(Protocol):
    """A store of objects that the processes of all nodes see. It can be pickled."""

    def put(self, value: object) -> Any:
        """Return a reference to a value, which stays in the store as long as the reference."""
        ...

    def get(self, reference: Any) -> Any:
        """Return the value. Its arrays are shared by all processes of a node, and cannot be changed."""
        ...

    def call(self, node: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a function that is called on a node. Raises what the function raises."""
        ...

    @property
    def node(self) -> str:
        """The name of the node of this process."""
        ...

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        ...


@final
@dataclass(frozen=True)
class StoredTask:
    """A task in the store, from which it arrives in processes that train. Its files lie on the node ``origin``."""

    reference: Any
    origin: str
    parcel: Parcel = field(compare=False)
    store: Store = field(compare=False)

    @property
    def is_needed(self) -> bool:
        """True on other nodes than that of the search."""
        return self.store.node != self.origin

    def task(self) -> Task:
        """Return the task. The first process of a node that lacks its files fetches them, in parts.

        Raises:
            CandidateError: of kind data; this node cannot store them.
            DataError: a file changed during the search.
        """
        folder = None
        if self.is_needed and not self.parcel.is_here:
            folder = stored(self.parcel, lambda file, start: self.store.call(self.origin, part_of, file, start), home())
        return unpacked(self.store.get(self.reference), self.parcel, folder)


@final
class Sending:
    """Puts each task into the store once, where its process may need it from there.

    A given task comes to every process from the store, and so does one that takes much memory. Others are loaded
    again, except on nodes that lack the data.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sent: dict[object, tuple[DataSource, StoredTask]] = {}

    def with_arrival(self, source: DataSource) -> DataSource:
        """Return the source as processes that train get it. Raises DataError if a given task cannot be sent."""
        is_given = source.given is not None
        task = source.load()
        is_shared = is_given or task.memory_bytes >= SHARED_FROM
        if not is_shared and self._store.nodes < 2:
            return source
        key = id(source.given) if is_given else source
        if key not in self._sent:
            try:
                content = packed(task)
            except DataError:
                if is_given:
                    raise
                return source  # nodes that have the data load them, and the others tell what they lack
            arrival = StoredTask(self._store.put(content), self._store.node, parcel_of(task), self._store)
            self._sent[key] = source, arrival  # the source too, or another object could get the same id
        return replace(source, given=None, is_given=is_shared, arrival=self._sent[key][1])
