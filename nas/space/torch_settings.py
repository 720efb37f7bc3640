"""Settings of torch that hold for a while: its threads, and its random numbers."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import torch

_TURN = threading.RLock()
if hasattr(os, "register_at_fork"):
    # Without this, a child that is forked while another thread holds the lock would wait for it for ever.
    os.register_at_fork(before=_TURN.acquire, after_in_parent=_TURN.release, after_in_child=_TURN.release)


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Let one thread at a time work in the context, or in functions that this decorates.

    Torch's settings, its random numbers and its exporters belong to the whole process.
    """
    with _TURN:
        yield


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Run torch on ``threads`` threads in the context, or in a function that this decorates, and as before afterwards.

    One is best for a small module that runs once on one image. Threads gain nothing then; on a machine with other work
    they wait for each other, and exporting takes the processor for six times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def torch_with(threads: int, seed: int) -> Iterator[None]:
    """Use ``threads`` threads, and random numbers from ``seed``, within the context."""
    with torch_threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
