"""Choosing the executor that a recipe asks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from nas.hardware.machine import default_workers
from nas.jobs.execution import Executor, InlineExecutor
from nas.jobs.node_needs import NodeNeeds
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources, local_gpus
from nas.recipe.recipe import Recipe


def executor_of(
    recipe: Recipe,
    data_bytes: int = 0,
    *,
    is_brief: bool = False,
    needs: NodeNeeds | None = None,
    say: Callable[[str], None] = lambda text: None,
    folder: Path | None = None,
) -> Executor:
    """Return the executor that a recipe asks for, with as many workers as this machine can serve.

    ``data_bytes`` is the memory that the data take in each worker. ``is_brief`` tells that all trainings take seconds,
    by code that comes with the project: then they need no workers, unless the recipe asks for some. ``needs`` are what
    nodes of a cluster must have, and ``say`` is told what becomes of these. A file in ``folder`` tells what runs.
    """
    execution = recipe.execution
    if needs_no_workers(recipe, is_brief=is_brief):
        return InlineExecutor()
    gpus = 0 if recipe.training.device == "cpu" or execution.ray_address else local_gpus()
    workers = execution.workers or gpus or default_workers(execution.threads_per_worker, data_bytes)
    share = gpu_share(gpus, workers) if execution.gpus_per_worker is None else execution.gpus_per_worker
    most = workers if execution.ray_address is None else execution.workers or None
    resources = Resources(execution.threads_per_worker, share)
    return RayExecutor(most, resources, address=execution.ray_address, needs=needs, say=say, folder=folder)


def needs_no_workers(recipe: Recipe, *, is_brief: bool) -> bool:
    """Return True if trainings run in this process: they are brief, or the recipe says so."""
    execution = recipe.execution
    asks_for_workers = execution.workers or execution.gpus_per_worker or execution.ray_address
    return execution.executor == "inline" or (execution.executor == "auto" and is_brief and not asks_for_workers)


def gpu_share(gpus: int, workers: int) -> float:
    """Return the GPUs for each worker: one, or the fraction that lets all workers run. Ray takes no one and a half."""
    if gpus == 0:
        return 0.0
    return 1.0 if workers <= gpus else 1 / math.ceil(workers / gpus)
