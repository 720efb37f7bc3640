"""Settings of torch: its threads and random numbers, which hold for a while, and the memory that it keeps."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
import threading
from collections.abc import Iterator

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names of glibc's settings, from its ``malloc.h``."""
KEPT_BYTES = 2**31 - 1

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


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep memory that it frees, up to 2 GiB. Other systems than Linux with glibc are left alone.

    Each step of a training frees large tensors and asks for the same ones again. By default glibc gives them back to
    the system, which then clears and maps each page anew. ``experiments/protocols/kept_memory.md`` has its cost.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


@contextlib.contextmanager
def torch_with(threads: int, seed: int) -> Iterator[None]:
    """Use ``threads`` threads, and random numbers from ``seed``, within the context. The process keeps freed memory."""
    keep_freed_memory()
    with torch_threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
