"""How a candidate comes by its error: which task a worker does for it, and how far that task goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, final

from nas.architecture import Architecture
from nas.early_stopping import rung_subsets
from nas.execution import Executor, Task
from nas.recipe import Recipe
from nas.run_state import RunState
from nas.training import CandidateTraining, TrainingSettings


class Evaluator(Protocol):
    """One way of evaluating candidates.

    A whole evaluation reports after each of ``epochs``, on the share ``subset`` of the training images; where there is
    one report there is nothing to stop early. ``time_limit_s`` is that of one candidate.
    """

    @property
    def task(self) -> Task: ...

    @property
    def time_limit_s(self) -> float: ...

    @property
    def epochs(self) -> int: ...

    @property
    def subset(self) -> float: ...

    def prepare(self, executor: Executor) -> None:
        """Do, once in a run, what comes before the first candidate. What the rows say is done is not done again."""


def evaluator_of(state: RunState, folder: Path) -> Evaluator:
    """The one that the recipe names. ``folder``, the run's, keeps what it makes."""
    return TrainingEvaluator(state)


@final
class TrainingEvaluator:
    """Trains each candidate from scratch."""

    def __init__(self, state: RunState) -> None:
        training = state.recipe.training
        self.time_limit_s = training.time_limit_s
        self.epochs = training.epochs
        self.subset = training.subset
        stopping = state.recipe.early_stopping
        grows = stopping.enabled and stopping.grow_subset
        subsets = rung_subsets(training.epochs, stopping.reduction, training.subset) if grows else ()
        limit_s = training.time_limit_s
        settings = training_settings(state.recipe, training.epochs, training.subset, limit_s, subsets=subsets)
        self.task: Task = CandidateTraining(state.task.space, state.task.source, settings, state.stopwatch)

    def prepare(self, executor: Executor) -> None:
        """Nothing comes first."""


def training_settings(
    recipe: Recipe, epochs: int, subset: float, time_limit_s: float, **changes: Any
) -> TrainingSettings:
    """The recipe's way of training, for so many epochs on so large a share of the images."""
    training = recipe.training
    return TrainingSettings(
        epochs=epochs,
        subset=subset,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        augment=training.augment,
        device=training.device,
        time_limit_s=time_limit_s,
        threads=recipe.execution.threads_per_worker,
        **changes,
    )


def training_seed(recipe: Recipe, architecture: Architecture) -> int:
    """A seed that depends on the recipe's and the architecture alone, so that order and workers do not matter."""
    return (int(architecture.id[:7], 16) + 7919 * recipe.seed) % 2**31
