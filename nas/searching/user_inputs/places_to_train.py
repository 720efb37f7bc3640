"""Checks of the places where trainings run: the cluster, and the cores and GPUs of this machine."""

from __future__ import annotations

from nas.errors import RecipeError
from nas.hardware.machine import usable_cores
from nas.jobs.ray_cluster import check_cluster
from nas.jobs.resources import local_gpus
from nas.recipe.recipe import Recipe

MOST_THREADS_PER_CORE = 16
"""Trainings may take more threads than there are cores, but each of thousands of workers would take memory too."""


def check_execution(recipe: Recipe) -> None:
    """Check that trainings have a place to run, before anything is measured for them.

    Raises:
        TargetError: no Ray answers at the address.
        RecipeError: this machine has far fewer cores than the trainings would take.
    """
    execution = recipe.execution
    if execution.ray_address is not None:
        check_cluster(execution.ray_address)
        return
    most = MOST_THREADS_PER_CORE * usable_cores()
    for key, each in (("threads_per_worker", 1), ("workers", execution.threads_per_worker)):
        asked = getattr(execution, key)
        if asked * each > most:
            raise RecipeError(
                f"execution.{key} must be at most {max(1, most // each)} on this machine, where {usable_cores()} "
                f"cores may be used, but got {asked}. Lower it, or join a Ray cluster with --ray-address."
            )


def check_gpus(recipe: Recipe) -> None:
    """Check that this machine has the GPUs that trainings on it take. A cluster's GPUs are checked on joining it.

    Raises:
        RecipeError: it has fewer.
    """
    if recipe.execution.ray_address is not None:
        return
    has = local_gpus()
    wants = recipe.execution.gpus_per_worker if recipe.execution.executor != "inline" else None
    if wants is not None and wants > has:
        raise RecipeError(
            f"execution.gpus_per_worker must be at most what this machine has, {has}, but got {wants:g}. Lower it, or "
            "join a Ray cluster with --ray-address."
        )
    if recipe.training.device == "cuda" and not has:
        raise RecipeError(
            'training.device "cuda" needs a GPU that torch can use, but this machine has none: set '
            "training.device=auto, or join a Ray cluster with --ray-address."
        )
