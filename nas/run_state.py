"""The state of a run in memory: its journal's rows, and what they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from nas.benchmarking import Bench
from nas.data_source import DataSource
from nas.dataset import DataSet
from nas.evaluation import Evaluation
from nas.journal import Journal
from nas.knowledge import Knowledge
from nas.measurement_store import MeasurementStore
from nas.progress import Progress
from nas.recipe import Recipe
from nas.screening import Screen
from nas.search_cost import SearchCost
from nas.search_space import SearchSpace


@dataclass(frozen=True)
class Task:
    """What a recipe's names stand for: data, space and the bench on the target; and what was measured before."""

    data: DataSet
    source: DataSource
    space: SearchSpace
    bench: Bench
    store: MeasurementStore | None = None


@final
class RunState:
    """Shared by all stages of one run. What is not in the journal's rows can be made anew from them."""

    def __init__(
        self,
        recipe: Recipe,
        task: Task,
        journal: Journal,
        progress: Progress,
        stopwatch: Callable[[], float],
        cost: SearchCost,
    ) -> None:
        self.recipe = recipe
        self.task = task
        self.journal = journal
        self.progress = progress
        self.stopwatch = stopwatch
        self._cost = cost
        self.knowledge = Knowledge(journal.evaluations())
        self.screen = Screen(
            task.space,
            input_shape=task.data.input_shape,
            classes=task.data.class_count,
            target=recipe.parsed_target,
            objectives=recipe.parsed_objectives,
            limits=recipe.parsed_limits,
        )

    @property
    def spent_s(self) -> float:
        """Seconds that the run has taken so far, in all processes that were at it, as far as they could note it."""
        return self._cost.lap_s + float(sum(body["wall_s"] for body in self.journal.bodies("cost")))

    def note_cost(self) -> None:
        """Put what was spent since this was last done in the journal."""
        self.journal.append("cost", self._cost.lap())

    def add(self, *rows: Evaluation) -> None:
        """Put rows in the journal and, once they are on disk, take them in."""
        if not rows:
            return
        self.journal.append_evaluations(rows)
        for row in rows:
            self.knowledge.add(row)
