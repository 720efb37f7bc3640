"""The plan of a retraining: how winners are trained, where their bundles lie, and what their rows say of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

from nas.recipe.recipe import Recipe
from nas.searching.state import RunState
from nas.searching.user_inputs.teachers import Teacher, retraining_teacher_of
from nas.searching.winners.bundles import WINNERS
from nas.searching.winners.teaching import RetrainedTeacher
from nas.space.architecture import Architecture
from nas.storage.retraining_rows import RETRAINING
from nas.tasks.data_source import DataSource
from nas.training.settings import TrainingSettings, retraining_settings

RETRAINED = "retrained"
"""The folder of bundles that were made after the run had ended: it has a folder for each retraining."""
Start = Literal["scratch", "supernet", "winner"]


@final
@dataclass(frozen=True)
class RetrainingPlan:
    """How a run's own winners are retrained, or those of retraining ``number`` after it had ended.

    Attributes:
        epochs: the epochs of each training.
        seeds: the trainings of each network.
        time_limit_s: the time limit of one training.
        start: the weights to begin with: drawn anew, those that candidates shared, or those of the winner before.
        teacher: the name of the teacher; ``best`` is the best of the winners, which is trained first. None for none.
        named: the teacher that another name stands for.
        training: keys of ``[training]`` in the place of the recipe's.
        number: 0 for the run's own winners.
        source: the data with further items, if there are some.
        items: the number of items that are trained on then.
    """

    epochs: int
    seeds: int
    time_limit_s: float
    start: Start = "scratch"
    teacher: str | None = None
    named: Teacher | RetrainedTeacher | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    source: DataSource | None = None
    items: int | None = None

    @classmethod
    def of(cls, recipe: Recipe, named: Teacher | None) -> RetrainingPlan:
        """Return the plan for the run's own winners."""
        section = recipe.retraining
        return cls(
            section.epochs,
            section.seeds,
            section.time_limit_s,
            section.start,
            section.teacher,
            named,
            section.training,
        )

    @property
    def folder(self) -> str:
        """The folder of the bundles, relative to the run folder."""
        return f"{RETRAINED}/{self.number}" if self.number else WINNERS

    def bundle(self, architecture: Architecture) -> str:
        """Return the folder of a winner's bundle, relative to the run folder."""
        return f"{self.folder}/{architecture.id}"

    def settings(self, recipe: Recipe) -> TrainingSettings:
        """Return the settings of the trainings."""
        return retraining_settings(recipe, self.epochs, self.time_limit_s, self.training)

    @property
    def details(self) -> dict[str, Any]:
        """What every row says, also that of a failure."""
        return {RETRAINING: self.number} if self.number else {}

    def facts(self, teacher: str) -> dict[str, Any]:
        """Return what rows say of a training that learned from ``teacher``, which may be empty."""
        return {
            **({} if self.start == "scratch" else {"start": self.start}),
            **({"teacher": teacher} if teacher else {}),
            **({} if self.items is None else {"items": self.items}),
            **self.details,
        }


def run_plan(state: RunState) -> RetrainingPlan:
    """Return the plan for a run's own winners. Raises RecipeError if its teacher cannot be loaded."""
    recipe, resolved = state.recipe, state.resolved
    name = recipe.retraining.teacher
    named = None if name is None else retraining_teacher_of(name, recipe, resolved.task.signature, resolved.space)
    return RetrainingPlan.of(recipe, named)
