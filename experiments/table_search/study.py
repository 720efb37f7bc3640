"""The settings of a comparison of searchers, and everything that its runs share."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from experiments.row_sampling import Known, draw_rows, known_of
from experiments.search_problem import KnownCosts
from experiments.search_tasks import CostLimit, Networks, TableTask
from experiments.searchers.by_name import IN_FLIGHT, check_searcher
from experiments.table_options import (
    check_sources,
    column_on,
    describer_for,
    notes_of,
    rows_of_sources,
    source_of,
    space_of,
)
from nas.errors import RecipeError
from nas.prediction.predictor import Batch, batch_of
from nas.space.description import Describer
from nas.space.search_space import SearchSpace
from nas.tables.row_space import check_uses
from nas.tables.table import Table, read_table
from nas.tables.table_prior import TablePrior
from nas.values.other_target import Source


@dataclass(frozen=True)
class SearchSettings:
    """The settings from the command line. ``costs`` holds a tuple of columns for each task."""

    table: Path
    space: str
    accuracy: str
    score: str
    costs: tuple[tuple[str, ...], ...]
    cost_known: str
    limits: tuple[CostLimit, ...]
    sources: tuple[str, ...]
    searchers: tuple[str, ...]
    evaluations: int
    seeds: int
    input_shape: tuple[int, int, int]
    classes: int
    option: tuple[str, ...]
    ask: int = 0
    twins: str = "apart"
    choices: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()
    source_rows: int | None = None
    after: tuple[int, ...] = ()
    in_flight: int = 1

    @property
    def samples(self) -> int | None:
        """The number of rows that are measured for a predictor, or None without one."""
        match = re.fullmatch(r"predicted:([0-9]+)", self.cost_known)
        return int(match[1]) if match else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the table appears as its file name and its digest, without its folder."""
        digest = hashlib.sha256(self.table.read_bytes()).hexdigest()
        return {**asdict(self), "table": self.table.name, "table_sha256": digest}


class SearchStudy:
    """The table, read once, and everything else that the tasks share.

    Raises:
        RecipeError: settings that contradict each other or the table.
        SpaceError: settings that do not fit the space.
    """

    def __init__(self, settings: SearchSettings) -> None:
        self.settings = settings
        self._sources: dict[str, Source] = {}
        self._known: dict[tuple[Source, ...], Known] = {}
        self.space: SearchSpace = space_of(settings)
        for name in settings.searchers:
            check_searcher(name)
            if settings.in_flight > 1 and name not in IN_FLIGHT:
                raise RecipeError(
                    f"--in-flight {settings.in_flight} is for {', '.join(IN_FLIGHT)}, but got the searcher {name!r}."
                )
        self.table: Table = read_table(settings.table, self.space)
        self.networks = Networks(self.table, self.space, are_twins_joined=settings.twins == "joined")
        self.prior = TablePrior(self.table, settings.prior) if settings.prior else None
        self._first = np.zeros(len(self.table), dtype=np.bool_)
        self._first[list(self.table.first_rows.values())] = True
        self._check_uses()
        self.tasks = tuple(
            TableTask.of(self.table, settings.accuracy, settings.score, costs, settings.limits, self.networks.searched)
            for costs in settings.costs
        )
        for task in self.tasks:
            self._check(task)

    @cached_property
    def describer(self) -> Describer:
        """The describer of the space, with all rows described, so that results do not depend on the order of runs."""
        describer = describer_for(self.settings, self.space)
        describer.describe(self.table.architectures)
        describer.population()
        return describer

    @cached_property
    def _batch(self) -> Batch:
        return batch_of(self.describer, self.table.architectures)

    @property
    def notes(self) -> list[str]:
        """Sentences about what was left out."""
        return [*notes_of(self.space), *([] if self.prior is None else self.prior.doubts)]

    def _known_of(self, sources: tuple[Source, ...]) -> Known:
        """Return what is known of the table's rows, by which the measured rows are chosen."""
        if sources not in self._known:
            self._known[sources] = known_of(self.describer, self.table.architectures, sources)
        return self._known[sources]

    def sources_of(self, cost: str) -> tuple[Source, ...]:
        """Return the sources that have a column like that of a cost."""
        found = ((device, column_on(self.table, cost, device)) for device in self.settings.sources)
        return tuple(self._source(column, device) for device, column in found if column is not None)

    def known_costs(self, task: TableTask, seed: int) -> KnownCosts:
        """Return the costs that are known before a run."""
        if self.settings.samples is not None:
            return self._predicted(task, self.settings.samples, seed)
        return KnownCosts.everything(task) if self.settings.cost_known == "true" else KnownCosts.nothing(task)

    def _predicted(self, task: TableTask, count: int, seed: int) -> KnownCosts:
        from predictors.stacked import fit_stacked

        sources = {cost: self.sources_of(cost) for cost in task.costs}
        known_sources = tuple(dict.fromkeys(each for found in sources.values() for each in found))
        sampled = draw_rows(task.usable, count, seed, lambda: self._known_of(known_sources))
        architectures = [self.table.architectures[row] for row in sampled]
        known = KnownCosts.nothing(task)
        for index, cost in enumerate(task.costs):
            values = task.losses[sampled, 1 + index]
            predictor = fit_stacked(
                self.describer, architectures, values, target=cost, sources=sources[cost], seed=seed
            )
            prediction = predictor.predict_described(self._batch.fresh())
            known.values[:, index], known.bounds[:, index] = prediction.mean, prediction.limit
        known.see(sampled, task)
        return known

    def _source(self, column: str, device: str) -> Source:
        if column not in self._sources:  # the same object for each cost: predictors cache by it
            rows = rows_of_sources(self.settings)
            self._sources[column] = source_of(self.table, column, device, rows, self._first)
        return self._sources[column]

    def _check_uses(self) -> None:
        """Check that sources are devices, and that nothing that is searched is known beforehand."""
        settings = self.settings
        columns = list(dict.fromkeys(cost for costs in settings.costs for cost in costs))
        check_sources(self.table, settings.sources, columns)
        for cost in columns:
            if cost in (column_on(self.table, each, device) for each in columns for device in settings.sources):
                raise RecipeError(f"a cost must not be one of the sources too, but {cost!r} is.")
            self.sources_of(cost)
        searched = list(dict.fromkeys((settings.accuracy, settings.score, *columns)))
        uses = {"--choices": settings.choices, "--features": settings.features, "--prior": settings.prior}
        names = [*(choice.name for choice in self.space.choices), *self.table.names]
        check_uses(self.table.path, names, {**uses, "the columns that are searched": searched})

    def _check(self, task: TableTask) -> None:
        """Raise RecipeError if a task has too few rows for the settings."""
        settings, usable = self.settings, task.usable
        if settings.samples is not None:
            for cost in task.costs:
                self.table.column(cost, positive=True)  # predictors take logarithms
            if settings.samples > len(usable):
                raise RecipeError(
                    f"--cost-known predicted:N must be at most the number of rows that have all values, {len(usable)} "
                    f"with {task.name}, but got {settings.samples}."
                )
        rows = {"rows": len(usable)}
        if "gp" in settings.searchers:
            rows["different networks"] = int(self.networks.is_canonical[usable].sum())
        for noun, count in rows.items():
            if settings.evaluations > count:
                raise RecipeError(
                    f"--evaluations must be at most the number of {noun} that have all values, {count} with "
                    f"{task.name}, but got {settings.evaluations}."
                )


@functools.lru_cache(maxsize=1)
def study_of(settings: SearchSettings) -> SearchStudy:
    """Return the study of these settings, made once in each process."""
    return SearchStudy(settings)
