"""``python -m experiments.loads CORE SEED [KIND]`` loads a core with bursts of arithmetic, memory traffic and rest.

With a KIND, ``arithmetic``, ``memory`` or ``training``, all bursts are of this kind; ``training`` is that of a small
network by this project's trainer. CORE is a number, or ``any`` to leave the choice to the system. Other scripts run it
beside measurements.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

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
    core, seed, only = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    if core != "any" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    rng = np.random.default_rng(seed)
    burst = {kind: burst_of(kind, rng, is_alone=bool(only)) for kind in only or KINDS}
    while True:
        kind = only[0] if only else KINDS[rng.integers(3)]
        end = time.monotonic() + rng.uniform(1.0, LONGEST_BURST_S)
        while time.monotonic() < end:
            burst[kind]()


def burst_of(kind: str, rng: np.random.Generator, *, is_alone: bool) -> Callable[[], object]:
    """Return a function that works for some milliseconds. Arithmetic that is alone stays in a core's own cache."""
    if kind == "arithmetic":
        side = IN_CACHE if is_alone else MATRIX
        matrix = rng.standard_normal((side, side)).astype(np.float32)
        return lambda: np.matmul(matrix, matrix)
    if kind == "memory":
        stream = np.ones(STREAM_BYTES // 4, np.float32)
        return lambda: np.add(stream, 1.0, out=stream)
    if kind == "training":
        return training(int(rng.integers(2**31)))
    return lambda: time.sleep(0.02)


def training(seed: int) -> Callable[[], object]:
    """Return a function that trains a network of the space ``mobilenet`` on handwritten digits, as a search does."""
    import torch

    from nas.recipe.recipe import Recipe
    from nas.space.search_space import load_space, sample
    from nas.tasks.data_source import DataSource
    from nas.training.settings import training_settings
    from nas.training.trainer import Trainer

    torch.set_num_threads(1)
    recipe = Recipe.model_validate({"data": "digits", "space": "mobilenet", "target": "onnxruntime-cpu"})
    task = DataSource().load()
    space = load_space("mobilenet", {}, input_shape=(1, 8, 8), classes=10)
    architecture = sample(space, np.random.default_rng(seed))
    trainer = Trainer(training_settings(recipe, epochs=1))
    return lambda: list(trainer.train(space.build(architecture), task, seed))


if __name__ == "__main__":
    main()
