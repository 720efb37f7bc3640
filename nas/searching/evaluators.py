"""How a candidate comes by its error: which task a worker does for it, and how far that task goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

from nas.errors import CandidateError
from nas.jobs.execution import Executor, Job, Report, Work, reports_of
from nas.recipe.recipe import Recipe
from nas.searching.handful import Handful
from nas.searching.proxy_evaluators import SupernetEvaluator, ZeroCostEvaluator
from nas.searching.run_state import RunState
from nas.space.architecture import Architecture
from nas.tables.table_evaluation import TableLookup
from nas.training.early_stopping import rung_subsets
from nas.training.training import CandidateTraining, TrainingSettings
from nas.training.zero_cost import ScorePrior, ZeroCostEvaluation

DOING = {
    "train": "training",
    "supernet": "evaluating by shared weights",
    "zero-cost": "scoring untrained",
    "table": "looking up",
}
"""What is done to candidates, by the recipe's ``evaluate``."""


class Evaluator(Protocol):
    """One way of evaluating candidates.

    A whole evaluation reports after each of ``epochs``, on the share ``subset`` of the training images; where there is
    one report there is nothing to stop early. ``time_limit_s`` is that of one candidate.
    """

    @property
    def task(self) -> Work: ...

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
    recipe = state.recipe
    if recipe.evaluate == "table":
        return TableEvaluator(state)
    if recipe.evaluate == "supernet":
        return SupernetEvaluator(state, folder, _supernet_settings(recipe), _handful(state, recipe.supernet.check))
    if recipe.evaluate == "zero-cost":
        return ZeroCostEvaluator(state, _handful(state, recipe.zero_cost.check))
    return TrainingEvaluator(state)


def _supernet_settings(recipe: Recipe) -> TrainingSettings:
    return training_settings(recipe, recipe.supernet.epochs, recipe.training.subset, recipe.supernet.time_limit_s)


def _handful(state: RunState, count: int) -> Handful:
    """Architectures that are trained as candidates otherwise are."""
    alone = TrainingEvaluator(state)
    assert isinstance(alone.task, CandidateTraining)
    return Handful(state, alone.task, lambda architecture: training_seed(state.recipe, architecture), count)


@final
@dataclass(frozen=True)
class Checked:
    """A task whose reports hold what a candidate's must: the epoch, and an error from 0 to 1; others end it.

    What they hold beside that is passed on.
    """

    task: Work

    def __call__(self, job: Job) -> Iterator[Report]:
        """The task's reports.

        Raises:
            CandidateError: one lacks the epoch or the error, or its error is no number from 0 to 1.
        """
        with contextlib.closing(reports_of(self.task, job)) as reports:
            for report in reports:
                error = report.get("error")
                if not isinstance(error, int | float) or not 0 <= error <= 1:
                    found = "has none" if error is None else f"has {error!r}"
                    raise CandidateError("report", f"a report must have an error from 0 to 1, but one {found}.")
                if not isinstance(report.get("epoch"), int):
                    raise CandidateError("report", f"a report must have an epoch, but one has {sorted(report)}.")
                yield report


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
        self.task: Work = CandidateTraining(state.task.space, state.task.source, settings, state.stopwatch)

    def prepare(self, executor: Executor) -> None:
        """Nothing comes first."""


@final
class TableEvaluator:
    """Looks each candidate up in a table."""

    epochs = 1
    subset = 1.0

    def __init__(self, state: RunState) -> None:
        assert state.task.table is not None
        self.time_limit_s = state.recipe.training.time_limit_s
        self.task: Work = TableLookup(state.task.table)

    def prepare(self, executor: Executor) -> None:
        """Nothing comes first."""


def prior_of(state: RunState) -> ScorePrior | None:
    """What the recipe lets the sampler expect of errors before any is found."""
    recipe = state.recipe
    if recipe.prior == "none":
        return None
    scoring = ZeroCostEvaluation(
        state.task.space,
        state.task.source,
        recipe.prior,
        recipe.zero_cost.batch,
        recipe.training.device,
        recipe.execution.threads_per_worker,
        clock=state.stopwatch,
    )
    return ScorePrior(scoring, lambda architecture: training_seed(recipe, architecture))


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
