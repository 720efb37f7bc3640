"""``python -m experiments.loads CORE SEED`` loads a core with bursts of arithmetic, memory traffic and rest.

``experiments.repeatability`` runs it on another core while models are measured.
"""

from __future__ import annotations

import os
import sys
import time

for library in ("OPENBLAS", "OMP", "MKL"):  # the threads of a pool would leave the core
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402

LONGEST_BURST_S = 6.0
MATRIX = 512
STREAM_BYTES = 64 * 2**20


def main() -> None:
    """Load the core of the first argument until the process is killed."""
    core, seed = int(sys.argv[1]), int(sys.argv[2])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((MATRIX, MATRIX)).astype(np.float32)
    stream = np.ones(STREAM_BYTES // 4, np.float32)
    while True:
        kind, end = rng.integers(3), time.monotonic() + rng.uniform(1.0, LONGEST_BURST_S)
        while time.monotonic() < end:
            if kind == 0:
                np.matmul(matrix, matrix)
            elif kind == 1:
                np.add(stream, 1.0, out=stream)
            else:
                time.sleep(0.02)


if __name__ == "__main__":
    main()
