"""The places where trainings run, and their checks: the cluster, and the cores and GPUs of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable

import cloudpickle

from nas.errors import RecipeError, raised_text
from nas.hardware.machine import usable_cores
from nas.jobs.ray_cluster import check_cluster
from nas.jobs.resources import local_gpus
from nas.recipe.recipe import Recipe
from nas.space.own_code import own_code
from nas.space.search_space import SearchSpace
from nas.training.own.function import TrainingFunction

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


def with_executor(
    recipe: Recipe, space: SearchSpace, function: TrainingFunction | None, say: Callable[[str], None]
) -> Recipe:
    """Return the recipe, with trainings in this process where the space or the function cannot be sent to others.

    A message says so. For a cluster it is an error, which is raised where the search joins it.
    """
    execution = recipe.execution
    trains = recipe.trials != 0 and recipe.evaluate != "table"
    if not trains or execution.executor == "inline" or execution.ray_address is not None:
        return recipe
    try:
        with own_code(), open(os.devnull, "wb") as sink:
            cloudpickle.dump((space, function), sink)
    except Exception as error:
        own = "space" if function is None else "space or the training function"
        say(
            f"the {own} cannot be sent to other processes, so trainings run one after the other in this one, where "
            f"nothing ends one that hangs: {raised_text(error)}"
        )
        return recipe.model_copy(update={"execution": execution.model_copy(update={"executor": "inline"})})
    return recipe


def with_asked_executor(recipe: Recipe, asked: Recipe) -> Recipe:
    """Return a complete recipe with the executor that was asked for, as a run records it.

    What cannot be sent to other processes today may be sent when the run is resumed.
    """
    execution = recipe.execution.model_copy(update={"executor": asked.execution.executor})
    return recipe.model_copy(update={"execution": execution})


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
