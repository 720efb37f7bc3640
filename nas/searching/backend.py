"""Where errors and measured values of architectures come from: models that are trained, or a table of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

from nas.hardware.bench import Bench
from nas.recipe.recipe import Recipe
from nas.searching.user_inputs.teachers import Teacher
from nas.searching.user_inputs.training_defaults import defaults_told
from nas.storage.journal_rows import WARNINGS
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task, facts_of, words_of
from nas.values.error_words import OF_IMAGES, ErrorWords


class Backend(Protocol):
    """What evaluates and measures architectures: ``TrainedModels``, ``NothingTrained``, or a ``SearchedTable``."""

    @property
    def takes_time(self) -> bool:
        """True if trainings and measurements take time, so that they are planned; looking up takes none."""

    @property
    def benches(self) -> Mapping[str, Bench]:
        """The bench of each of ``Recipe.measured_targets``, by the same names; none where nothing is measured."""

    @property
    def task(self) -> Task | None:
        """What models learn; None where nothing learns."""

    @property
    def words(self) -> ErrorWords:
        """The words for the error."""

    @property
    def warnings(self) -> Sequence[str]:
        """Reasons to doubt results."""

    @property
    def circumstances(self) -> Mapping[str, Any]:
        """What a row about the beginning of a run keeps: facts of the data set, or of the table."""

    @property
    def data_lines(self) -> Sequence[str]:
        """Sentences about the data or the table, for people."""

    def target_lines(self, recipe: Recipe) -> Sequence[str]:
        """Return sentences about what measures, and about how the complete ``recipe`` trains."""


@final
@dataclass(frozen=True)
class TrainedModels:
    """The task that models learn, the teacher from which they learn it too, and the benches that measure them."""

    task: Task
    source: DataSource
    benches: Mapping[str, Bench]
    teacher: Teacher | None = None
    takes_time: bool = True

    @property
    def words(self) -> ErrorWords:
        """The words for the task's error."""
        return words_of(self.task)

    @property
    def warnings(self) -> Sequence[str]:
        """Reasons to doubt the data."""
        return self.task.warnings

    @property
    def circumstances(self) -> Mapping[str, Any]:
        """Facts of the data set, and what is doubtful about it."""
        facts = facts_of(self.task)
        return {"data_set": {**facts, WARNINGS: list(self.task.warnings)} if self.task.warnings else facts}

    @property
    def data_lines(self) -> Sequence[str]:
        """Sentences about the data and the models."""
        task = self.task
        sizes = f"{len(task.train):,} to train, {len(task.validation):,} to validate, {len(task.test):,} to test"
        by = f", split by {task.facts['split by']}" if "split by" in task.facts else ""
        return [
            f"data: {task.name}, {task.in_words}: {sizes}{by}",
            *(f"  {line}" for line in task.overview),
            f"models: {task.signature}",
        ]

    def target_lines(self, recipe: Recipe) -> Sequence[str]:
        """Return sentences about the target, its precisions, and the task's own settings of training."""
        return [
            f"target: {recipe.parsed_target}",
            *(f"further target: {each}, as {name}" for name, each in recipe.named_targets.items() if name),
            *([f"precisions: {', '.join(recipe.precisions)}, from one training"] if recipe.precisions else []),
            *defaults_told(recipe, self.task),
        ]


@final
@dataclass(frozen=True)
class NothingTrained:
    """Architectures are measured on ``benches``, and none is evaluated: no data set is read."""

    takes_time: bool = True
    benches: Mapping[str, Bench] = field(default_factory=dict)
    task: Task | None = None
    words: ErrorWords = OF_IMAGES
    warnings: Sequence[str] = ()
    circumstances: Mapping[str, Any] = field(default_factory=dict)
    data_lines: Sequence[str] = ()

    def target_lines(self, recipe: Recipe) -> Sequence[str]:
        """Return nothing."""
        return ()
