"""A Ray cluster on which a run trains: its nodes are asked what they have before anything is measured."""

from __future__ import annotations

from pathlib import Path

from nas.jobs.choosing import executor_of
from nas.jobs.execution import Executor
from nas.jobs.node_needs import NodeNeeds
from nas.searching.state import RunState
from nas.tasks.transfer.parcels import parcel_of


def joined_cluster(state: RunState, folder: Path) -> Executor | None:
    """Return the executor on the recipe's cluster once a node can train there; None for a run without a cluster.

    Each node loads what trainings are made of: the space, and a training function and data of the user's own.

    Raises:
        TargetError: the cluster does not take this process, or none of its nodes can train.
        RecipeError: what trainings are made of cannot be sent to other processes.
    """
    recipe, found = state.recipe, state.resolved
    if recipe.execution.ray_address is None or (recipe.trials == 0 and not state.beliefs.trainings):
        return None
    task = found.backend.task
    needs = NodeNeeds.of((found.space, found.function, type(task)), None if task is None else parcel_of(task))
    executor = executor_of(recipe, needs=needs, say=state.progress.say, folder=folder)
    with executor:  # joined again when it trains: nothing of it disturbs what is measured before
        pass
    return executor
