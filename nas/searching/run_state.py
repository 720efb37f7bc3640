"""The state of a run in memory: its journal's rows, and what they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from nas.errors import JournalError
from nas.hardware.bench import Bench, target_part
from nas.hardware.measuring import Measurer
from nas.progress import Progress
from nas.recipe.recipe import Recipe
from nas.results.search_cost import SEARCH, WINNERS, SearchCost
from nas.searching.knowledge import Knowledge
from nas.searching.screening import Screen
from nas.space.search_space import SearchSpace
from nas.storage.journal import Journal
from nas.storage.measurement_store import MeasurementStore
from nas.tables.table_evaluation import SearchedTable
from nas.tasks.data_source import DataSource
from nas.tasks.dataset import DataSet
from nas.values.evaluation import Evaluation

COST_EVERY_S = 30.0
"""The time and energy of a process that is killed are lost from when they were last noted."""


@dataclass(frozen=True)
class Models:
    """What models are trained on, and the bench that they are measured on."""

    data: DataSet
    source: DataSource
    bench: Bench


@dataclass(frozen=True)
class Task:
    """What a recipe's names stand for: the space, who measures its architectures, and what was measured before.

    Beside that there are either ``models`` or the ``table`` that takes their place.
    """

    space: SearchSpace
    input_shape: tuple[int, int, int]
    class_count: int
    measurer: Measurer
    models: Models | None = None
    table: SearchedTable | None = None
    store: MeasurementStore | None = None

    @property
    def data(self) -> DataSet:
        """The images. Nobody asks for them where a table is looked up."""
        assert self.models is not None
        return self.models.data

    @property
    def source(self) -> DataSource:
        """Where each process gets the images."""
        assert self.models is not None
        return self.models.source

    @property
    def bench(self) -> Bench:
        """What measures winners."""
        assert self.models is not None
        return self.models.bench


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
        self._cost_of = SEARCH
        self.knowledge = Knowledge(journal.evaluations())
        self.screen = Screen(
            task.space,
            input_shape=task.input_shape,
            classes=task.class_count,
            target=recipe.parsed_target,
            objectives=recipe.parsed_objectives,
            limits=recipe.parsed_limits,
        )

    @property
    def spent_s(self) -> float:
        """Seconds that the run has taken so far, in all processes that were at it, as far as they could note it."""
        return self._cost.lap_s + float(sum(body["wall_s"] for body in self.journal.bodies("cost")))

    @property
    def fingerprints(self) -> list[str]:
        """Of the targets that this run was measured on: one, unless its reference speed was found anew."""
        return [body["fingerprint"] for body in self.journal.bodies("bench")]

    def check_bench(self) -> None:
        """See that what is measured now compares with what the run measured before, maybe in another process.

        Raises:
            JournalError: the target's hardware or versions are others.
        """
        now, known = self.task.measurer.fingerprint, self.fingerprints
        if now is None or now in known:
            return
        if known and target_part(known[-1]) != target_part(now):
            raise JournalError(
                f"a run goes on with the target that it began with, but {self.recipe.target} has not the hardware and "
                "versions that it was measured with before. Bring those back, or start a new run."
            )
        if known:
            self.progress.say(
                f"the reference speed of {self.recipe.target} was found anew since this run was measured before: "
                "what was measured before and after is corrected for drift by different ones."
            )
        self.journal.append("bench", {"fingerprint": now})

    def note_cost(self) -> None:
        """Put what was spent since this was last done in the journal."""
        self.journal.append("cost", {"of": self._cost_of, **self._cost.lap()})

    def turn_to_winners(self) -> None:
        """Note what the search has cost; what is spent from now on is the winners'."""
        self.note_cost()
        self._cost_of = WINNERS

    def add(self, *rows: Evaluation) -> None:
        """Put rows in the journal and, once they are on disk, take them in."""
        if not rows:
            return
        self.journal.append_evaluations(rows)
        for row in rows:
            self.knowledge.add(row)
        if self._cost.lap_s >= COST_EVERY_S:
            self.note_cost()
