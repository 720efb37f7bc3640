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

from experiments.row_sampling import draw_rows
from experiments.search_problem import KnownCosts
from experiments.search_tasks import CostLimit, FloatArray, Networks, TableTask
from experiments.searchers.by_name import check_searcher
from nas.errors import RecipeError
from nas.prediction.predictor import MIN_SAMPLES, Batch, batch_of
from nas.recipe.toml_text import apply_overrides
from nas.space.description import Describer
from nas.space.search_space import SearchSpace, load_space
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from nas.tables.table import Table, read_table
from nas.values.other_target import Source

SOURCE_ROWS = 900
"""Only the first rows of the table show values of the sources."""


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
        options = apply_overrides({}, settings.option)
        self.space: SearchSpace = load_space(
            settings.space, options, input_shape=settings.input_shape, classes=settings.classes
        )
        for name in settings.searchers:
            check_searcher(name)
        self.table: Table = read_table(settings.table, self.space)
        self.networks = Networks(self.table, self.space, are_twins_joined=settings.twins == "joined")
        self.sources = tuple(self._source(name) for name in settings.sources)
        self.tasks = tuple(
            TableTask.of(self.table, settings.accuracy, settings.score, costs, settings.limits, self.networks.searched)
            for costs in settings.costs
        )
        for task in self.tasks:
            self._check(task)

    @cached_property
    def describer(self) -> Describer:
        """The describer of the space, with all rows described, so that results do not depend on the order of runs."""
        describer = describer_of(self.space, image_signature(self.settings.input_shape, self.settings.classes))
        describer.describe(self.table.architectures)
        describer.population()
        return describer

    @cached_property
    def _batch(self) -> Batch:
        return batch_of(self.describer, self.table.architectures)

    @cached_property
    def _features(self) -> FloatArray:
        """Latent features of the table's N rows, shape (N, K), by which the measured rows are chosen."""
        from predictors.source_models import latent_features

        return latent_features(self.describer, self.table.architectures, self.sources)

    def known_costs(self, task: TableTask, seed: int) -> KnownCosts:
        """Return the costs that are known before a run."""
        if self.settings.samples is not None:
            return self._predicted(task, self.settings.samples, seed)
        return KnownCosts.everything(task) if self.settings.cost_known == "true" else KnownCosts.nothing(task)

    def _predicted(self, task: TableTask, count: int, seed: int) -> KnownCosts:
        from predictors.stacked import fit_stacked

        sampled = draw_rows(task.usable, count, seed, lambda: self._features)
        architectures = [self.table.architectures[row] for row in sampled]
        known = KnownCosts.nothing(task)
        for index, cost in enumerate(task.costs):
            values = task.losses[sampled, 1 + index]
            predictor = fit_stacked(self.describer, architectures, values, target=cost, sources=self.sources, seed=seed)
            prediction = predictor.predict_described(self._batch.fresh())
            known.values[:, index], known.bounds[:, index] = prediction.mean, prediction.limit
        known.see(sampled, task)
        return known

    def _source(self, name: str) -> Source:
        values = self.table.column(name, positive=True)
        rows = np.flatnonzero(np.isfinite(values[:SOURCE_ROWS]))
        if len(rows) < MIN_SAMPLES:
            raise RecipeError(
                f"a source must have at least {MIN_SAMPLES} values in the first {SOURCE_ROWS} rows, "
                f"but {name!r} has {len(rows)}. Choose another source."
            )
        return Source(name, [self.table.architectures[row] for row in rows], values[rows])

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
