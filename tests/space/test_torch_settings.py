"""Settings of torch: the memory that a process keeps."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from nas.space.torch_settings import torch_with

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

left = faults()
with torch_with(threads=1, seed=0):
    kept = faults()
print(left, kept)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems are left alone")
def test_memory_that_a_training_frees_is_kept() -> None:
    """Ten tensors of 64 MiB, one after the other, take new pages once and not ten times."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    left, kept = map(int, done.stdout.split())
    assert kept < 0.2 * left
