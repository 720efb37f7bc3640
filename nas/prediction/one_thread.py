"""Limiting native libraries to one thread where only small matrices are used, and giving the threads back afterwards.

A Gaussian process over a few hundred architectures multiplies matrices that fit a core's cache. With a thread for each
core, BLAS spends most of its time on starting and awaiting threads, and they take the cores from other work.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, final

from threadpoolctl import ThreadpoolController

SHARED = "blas"
"""The libraries whose number of threads belongs to the whole process. OpenMP's belongs to each thread."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS and OpenMP to one thread in a ``with`` statement, or in a function that this decorates.

    Uses may nest, and several threads may use it at once: the last one that ends gives BLAS its threads back. What
    other code sets meanwhile stays. An inner use takes about a microsecond, and an outer one some microseconds.
    """
    _POOLS.enter()
    try:
        yield
    finally:
        _POOLS.leave()


@final
class _Pools:
    """The thread pools of the libraries that this process has loaded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses = 0
        self._modules = -1
        self._shared: list[Any] = []
        self._own: list[Any] = []
        self._shared_before: list[int] = []
        self._here = threading.local()

    def enter(self) -> None:
        """Begin a use in this thread."""
        with self._lock:
            if self._uses == 0:
                self._find()
                self._shared_before = _limited(self._shared)
            self._uses += 1
        uses = getattr(self._here, "uses", 0)
        if uses == 0:
            self._here.pools = tuple(self._own)
            self._here.before = _limited(self._here.pools)
        self._here.uses = uses + 1

    def leave(self) -> None:
        """End a use in this thread."""
        self._here.uses -= 1
        if self._here.uses == 0:
            _give_back(self._here.pools, self._here.before)
        with self._lock:
            self._uses -= 1
            if self._uses == 0:
                _give_back(self._shared, self._shared_before)

    def _find(self) -> None:
        """Look for libraries again if a module was imported since; looking takes milliseconds."""
        if self._modules != len(sys.modules):
            libraries = ThreadpoolController().lib_controllers
            self._shared = [library for library in libraries if library.user_api == SHARED]
            self._own = [library for library in libraries if library.user_api != SHARED]
            self._modules = len(sys.modules)


def _limited(pools: Sequence[Any]) -> list[int]:
    """Limit each pool to one thread, and return how many each had. A pool that had one is left alone."""
    before = [pool.get_num_threads() or 1 for pool in pools]
    for pool, threads in zip(pools, before, strict=True):
        if threads > 1:
            pool.set_num_threads(1)
    return before


def _give_back(pools: Sequence[Any], before: Sequence[int]) -> None:
    """Give each pool its threads back, unless other code has set their number meanwhile."""
    for pool, threads in zip(pools, before, strict=True):
        if threads > 1 and pool.get_num_threads() == 1:
            # From threadpoolctl 3.8 on, only the thread that set a shared pool first may set it again.
            let_others_set = getattr(pool, "clear_controlling_thread", lambda force: None)
            let_others_set(force=True)
            pool.set_num_threads(threads)
            let_others_set(force=True)


_POOLS = _Pools()
