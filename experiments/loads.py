"""``python -m experiments.loads CORE SEED [KIND]`` loads a core with bursts of arithmetic, memory traffic and rest.

With a KIND, ``arithmetic`` or ``memory``, all bursts are of this kind. ``experiments.repeatability`` and
``experiments.varying_models`` run it on another core while models are measured.
"""

from __future__ import annotations

import os
import sys
import time

for library in ("OPENBLAS", "OMP", "MKL"):  # the threads of a pool would leave the core
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402

KINDS = ("arithmetic", "memory", "rest")
LONGEST_BURST_S = 6.0
MATRIX, IN_CACHE = 512, 192
"""Sides of a matrix; three of the smaller one fit a core's own cache."""
STREAM_BYTES = 64 * 2**20


def main() -> None:
    """Load the core of the first argument until the process is killed."""
    core, seed = int(sys.argv[1]), int(sys.argv[2])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    rng = np.random.default_rng(seed)
    side = IN_CACHE if sys.argv[3:] else MATRIX
    matrix = rng.standard_normal((side, side)).astype(np.float32)
    stream = np.ones(STREAM_BYTES // 4, np.float32)
    while True:
        kind = sys.argv[3] if sys.argv[3:] else KINDS[rng.integers(3)]
        end = time.monotonic() + rng.uniform(1.0, LONGEST_BURST_S)
        while time.monotonic() < end:
            if kind == "arithmetic":
                np.matmul(matrix, matrix)
            elif kind == "memory":
                np.add(stream, 1.0, out=stream)
            else:
                time.sleep(0.02)


if __name__ == "__main__":
    main()
