"""The ways of evaluating candidates: which work is done for each of them, and in how many epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, final

from nas.errors import SpaceError
from nas.jobs.execution import Executor, Work
from nas.searching.evaluating.handful import Handful
from nas.searching.evaluating.heads import goes_on_by_heads
from nas.searching.evaluating.of_models import OfModels, in_precisions
from nas.searching.evaluating.parents import supernet_settings
from nas.searching.evaluating.proxies import SupernetEvaluator, UntrainableError, ZeroCostEvaluator
from nas.searching.evaluating.ways import goes_on_alone, is_open, turn_to_training
from nas.searching.fitting import Fitting
from nas.searching.proposer import Prior
from nas.searching.state import RunState
from nas.searching.trained_weights import TrainedWeights, may_ship
from nas.searching.training_work import training_work
from nas.searching.winners.table_winners import TableWinners
from nas.tables.table_evaluation import SearchedTable, TableLookup
from nas.training.early_stopping import rung_subsets
from nas.training.settings import TrainingSettings, training_seed, training_settings

DOING = {
    "train": "training",
    "supernet": "evaluating by shared weights",
    "zero-cost": "scoring untrained",
    "table": "looking up",
}
"""The name of the stage in which candidates are evaluated, by the recipe's ``evaluate``."""


class Evaluator(Protocol):
    """One way of evaluating candidates.

    A whole evaluation reports after each of ``epochs``, on the share ``subset`` of the training items. One with a
    single report cannot be stopped early. ``time_limit_s`` is the limit for one candidate.
    """

    @property
    def work(self) -> Work: ...

    @property
    def time_limit_s(self) -> float: ...

    @property
    def epochs(self) -> int: ...

    @property
    def subset(self) -> float: ...

    @property
    def weights(self) -> TrainedWeights | None:
        """Where the best candidates' weights are kept; None where they are not."""

    @property
    def scoring(self) -> Work | None:
        """The work that scores many candidates at once; None where each has a job of its own."""

    def prepare(self, executor: Executor) -> None:
        """Do, once in a run, what comes before the first candidate, skipping what the journal already holds."""

    def prior(self) -> Prior | None:
        """Return what the sampler expects errors from before any is known."""

    def make_winners(self, fitting: Fitting, executor: Executor) -> None:
        """Choose winners, and bring each to its final error and measurements."""


def prepared_evaluator(state: RunState, folder: Path, executor: Executor) -> Evaluator:
    """Return the evaluator of a run, after all that comes before the first candidate.

    Where the recipe leaves the way open, it trains each candidate if shared weights cannot be tuned, or rank otherwise
    than separate trainings do; and it fits heads if a few candidates are better with these.

    Raises:
        RecipeError: they cannot be tuned, and the recipe asks for them.
    """
    evaluator = evaluator_of(state, folder)
    try:
        evaluator.prepare(executor)
        turns = goes_on_alone(state)
    except (UntrainableError, SpaceError) as error:
        if not is_open(state):
            raise
        reason = error.reason if isinstance(error, UntrainableError) else str(error)
        turn_to_training(state, f"shared weights cannot be tuned: {reason}")
        turns = True
    if turns:
        evaluator = evaluator_of(state, folder)
        evaluator.prepare(executor)
    trains = isinstance(evaluator, TrainingEvaluator) and not turns
    if trains and goes_on_by_heads(state, _handful(state, folder), executor):
        evaluator = evaluator_of(state, folder)
    return evaluator


def evaluator_of(state: RunState, folder: Path) -> Evaluator:
    """Return the evaluator that the recipe names. It keeps its files in ``folder``, the run's."""
    recipe = state.recipe
    if recipe.evaluate == "table":
        return TableEvaluator(state)
    if recipe.evaluate == "supernet":
        return SupernetEvaluator(state, folder, _supernet_settings(state), _handful(state, folder))
    if recipe.evaluate == "zero-cost":
        return ZeroCostEvaluator(state, folder, _handful(state, folder))
    return TrainingEvaluator(state, folder)


def _supernet_settings(state: RunState) -> TrainingSettings:
    recipe = state.recipe
    if state.inheritance is not None:
        return supernet_settings(recipe, state.schedule.supernet_epochs())
    return training_settings(recipe, recipe.supernet.epochs, recipe.training.subset, recipe.supernet.time_limit_s)


def _handful(state: RunState, folder: Path) -> Handful:
    alone = TrainingEvaluator(state, folder)
    may_be_candidates = is_open(state) or state.recipe.evaluate == "train"
    work = alone.work if may_be_candidates else alone.training
    return Handful(state, alone.training, work, lambda architecture: training_seed(state.recipe, architecture))


@final
class TrainingEvaluator(OfModels):
    """Trains each candidate, by the trainer of this project or by a function of the user's own."""

    def __init__(self, state: RunState, folder: Path) -> None:
        super().__init__(state, folder)
        training = state.recipe.training
        self.time_limit_s = training.time_limit_s
        function = state.resolved.function
        self.epochs = training.epochs if function is None or function.yields else 1
        self.subset = training.subset
        stopping = state.recipe.stopping
        grows = stopping.enabled and stopping.grow_subset
        subsets = rung_subsets(training.epochs, stopping.reduction, training.subset) if grows else ()
        limit_s = training.time_limit_s
        self.weights = TrainedWeights(state, folder) if may_ship(state.recipe, has_function=bool(function)) else None
        keeps = bool(state.recipe.precisions) or self.weights is not None
        settings = training_settings(
            state.recipe, training.epochs, training.subset, limit_s, subsets=subsets, keep_weights=keeps
        )
        self.training = training_work(state, settings)
        self.work = in_precisions(state, self.training, settings, keeps_weights=self.weights is not None)

    def prepare(self, executor: Executor) -> None:
        """Do nothing: no work comes before the first training."""


@final
class TableEvaluator:
    """Looks each candidate up in a table."""

    epochs = 1
    subset = 1.0
    weights = None
    scoring = None

    def __init__(self, state: RunState) -> None:
        assert isinstance(state.resolved.backend, SearchedTable), "the recipe names a table"
        self._state = state
        self._table = state.resolved.backend
        self.time_limit_s = state.recipe.training.time_limit_s
        self.work: Work = TableLookup(self._table)

    def prepare(self, executor: Executor) -> None:
        """Do nothing: no work comes before the first look-up."""

    def prior(self) -> Prior | None:
        """Return the columns that the recipe names, if it does."""
        return self._table.prior

    def make_winners(self, fitting: Fitting, executor: Executor) -> None:
        """Look them up."""
        TableWinners(self._state, self._table, fitting).run()
