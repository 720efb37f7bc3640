"""Settings of torch that hold for a while: its threads, and its random numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


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
