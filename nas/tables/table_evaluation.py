"""A table instead of training and measuring: errors and measured metrics are looked up by architecture."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import numpy as np

from nas.errors import CandidateError, RecipeError, did_you_mean
from nas.hardware.bench import Bench
from nas.jobs.execution import Job, Report
from nas.progress import Progress
from nas.recipe.sections import TableRecipe
from nas.space.architecture import Architecture
from nas.space.search_space import HasCanonical, SearchSpace
from nas.tables.row_space import RowSpace, check_uses
from nas.tables.table import Table, read_table
from nas.tables.table_prior import TablePrior
from nas.tasks.task import Task
from nas.values.error_words import OF_IMAGES
from nas.values.evaluation import Evaluation, Failure
from nas.values.measurement import Measurement
from nas.values.metric import METRICS
from nas.values.pareto import FloatArray

MISSING = "table"
"""The failure kind of a value that the table lacks."""

FEWEST_AT_CHANCE = 3
"""So many rows that share the accuracy of one class of N are taken for models at chance."""
ROUNDING = 1e-4
"""Accuracies in tables are rounded to a hundredth of a per cent."""


def chance_error_among(errors: FloatArray) -> float | None:
    """Return the error of models that learned nothing, if some of a table's N ``errors``, shape (N,), are of such.

    These models give one class always. So several share the lowest accuracy, and it is that of one class of some
    number. Accuracies of whole per cent, of which many are shared by chance, tell nothing.
    """
    accuracies = np.round(1 - errors[np.isfinite(errors)], 12)
    lowest = float(accuracies.min(initial=math.inf))
    if not 0 < lowest <= 0.5 + ROUNDING or np.count_nonzero(accuracies == lowest) < FEWEST_AT_CHANCE:
        return None
    is_coarse = bool((np.abs(100 * accuracies - np.round(100 * accuracies)) < ROUNDING).all())
    is_of_classes = abs(lowest - 1 / round(1 / lowest)) <= ROUNDING
    return round(1 - lowest, 12) if is_of_classes and not is_coarse else None


@final
class SearchedTable:
    """A table as the evaluator and measurer of a space. Each process that receives it reads the file once.

    The row with the same choices is looked up, else the first row of the same network. A missing row or an empty cell
    is a CandidateError. A relative path is taken from the current folder.
    """

    fingerprint = None
    device_s = 0.0
    takes_time = False
    benches: Mapping[str, Bench] = MappingProxyType({})
    task: Task | None = None
    words = OF_IMAGES
    warnings: Sequence[str] = ()

    def __init__(self, settings: TableRecipe, space: SearchSpace) -> None:
        assert settings.path is not None
        self.settings = settings
        self.name = settings.path
        self._path = Path.cwd() / os.path.expanduser(settings.path)
        self._space = space

    def check(self, metrics: Sequence[str]) -> None:
        """Check that the table has the columns of the settings, and one for each of the measured ``metrics``.

        Raises:
            RecipeError: the table or a column is missing, or a value is impossible for its accuracy or metric; or a
                column is known beforehand and searched too.
        """
        settings = self.settings
        if settings.accuracy is None:
            raise RecipeError(
                f"table.accuracy must name the column of {self.name} that the search uses, in per cent. "
                f"{did_you_mean('accuracy', self._table.columns)}"
            )
        self._check_uses(metrics)
        for column in (settings.accuracy, self.test_column):
            self._check_per_cent(column)
        for metric in metrics:
            if not self._table.has_column(self.column_of(metric)):
                raise RecipeError(self._why_not(metric))
            self._table.column(self.column_of(metric), positive=True)
        _ = self.prior  # reads its columns, which may be unfit

    def _check_uses(self, metrics: Sequence[str]) -> None:
        """Check that nothing that is looked up is known beforehand. Columns that are missing are told later."""
        settings, space = self.settings, self._space
        choices = [choice.name for choice in space.choices]
        there = [*choices, *self._table.names]
        searched = (settings.accuracy, settings.test_accuracy, *map(self.column_of, metrics))
        looked_up = [name for name in dict.fromkeys(searched) if name in there]
        uses = {"table.prior": settings.prior, "what is searched": looked_up}
        if isinstance(space, RowSpace):
            features = [name for name in space.number_names if name not in choices]
            uses |= {"space.choices": choices, "space.features": features}
        check_uses(self._path, there, uses)

    @cached_property
    def prior(self) -> TablePrior | None:
        """What is known of accuracies beforehand. Raises RecipeError if its columns are unfit."""
        return TablePrior(self._table, self.settings.prior) if self.settings.prior else None

    def doubts(self, metrics: Sequence[str]) -> list[str]:
        """Return sentences about what is left out: architectures that have several rows, and rows without a prior."""
        assert self.settings.accuracy is not None
        unknown = [] if self.prior is None else self.prior.doubts
        if isinstance(self._space, RowSpace):
            return [*self._space.notes, *unknown]
        columns = [self.settings.accuracy, self.test_column, *(self.column_of(metric) for metric in metrics)]
        return [*self._table.doubts_about(columns), *unknown]

    def __len__(self) -> int:
        return len(self._table)

    @property
    def test_column(self) -> str:
        """The column with the accuracy of winners."""
        column = self.settings.test_accuracy or self.settings.accuracy
        assert column is not None
        return column

    @property
    def metrics(self) -> tuple[str, ...]:
        """The measured metrics for which the table has a column of numbers."""
        measured = (name for name, metric in METRICS.items() if metric.source == "measured")
        return tuple(name for name in measured if self.column_of(name) in self._table.columns)

    def column_of(self, metric: str) -> str:
        """The name of the column with a measured metric of the device."""
        return metric if self.settings.device is None else f"{metric}_{self.settings.device}"

    def error(self, architecture: Architecture) -> float:
        """Return the error that the search uses. Raises CandidateError."""
        assert self.settings.accuracy is not None
        return self._error(architecture, self.settings.accuracy)

    def test_error(self, architecture: Architecture) -> float:
        """Return the error of a winner. Raises CandidateError."""
        return self._error(architecture, self.test_column)

    def chance_error(self, column: str | None) -> float | None:
        """Return the error of models that learned nothing; None where a column of accuracies shows none."""
        assert column is not None
        return chance_error_among(1 - self._table.column(column) / 100)

    def measurements(self, architecture: Architecture, metrics: Sequence[str]) -> dict[str, Measurement]:
        """Return one exact reading of each metric; its conditions name the table. Raises CandidateError."""
        target = "table" if self.settings.device is None else f"table:{self.settings.device}"
        found = {}
        for metric in metrics:
            column = self.column_of(metric)
            row, value = self._cell(architecture, column)
            if value <= 0:
                reason = f"{column} must be positive, but is {value:g} in row {row + 1} of {self.name}"
                raise CandidateError(MISSING, reason)
            found[metric] = Measurement(metric, target, ((value,),), {"table": self.name, "column": column})
        return found

    def rows(
        self,
        architectures: Sequence[Architecture],
        metrics: Sequence[str],
        *,
        round_number: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> list[Evaluation]:
        """Look measurements up, as ``measuring.Measurer`` measures them."""
        progress.stage("looking up measurements", len(architectures))
        found = []
        for architecture in architectures:
            try:
                measured = self.measurements(architecture, metrics)
                found.append(Evaluation("measure", architecture, round_number, measurements=measured))
            except CandidateError as error:
                failure = Failure(error.kind, error.reason)
                found.append(Evaluation("measure", architecture, round_number, failure=failure))
            progress.advance()
        progress.close()
        return found

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Facts about the table for the report."""
        settings = self.settings
        return {
            "path": self.name,
            "fingerprint": hashlib.sha256(self._path.read_bytes()).hexdigest()[:12],
            "rows": len(self),
            "accuracy in the search": settings.accuracy,
            "accuracy of winners": self.test_column,
            **({"prior": list(settings.prior)} if settings.prior else {}),
            "device": settings.device,
            "metrics": [self.column_of(metric) for metric in self.metrics],
            "seconds of a training, simulated": settings.training_s,
        }

    @property
    def circumstances(self) -> Mapping[str, Any]:
        """The facts, as a row about the beginning of a run keeps them."""
        return {"table": self.facts}

    @property
    def data_lines(self) -> Sequence[str]:
        """A sentence about the table."""
        return [f"table: {self.name}"]

    def target_lines(self, recipe: object) -> Sequence[str]:
        """Return nothing: the table measures, and its device stands in the recipe."""
        return []

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the rows that were read."""
        read = ("_table", "_network_rows", "prior")
        return {name: value for name, value in self.__dict__.items() if name not in read}

    @cached_property
    def _table(self) -> Table:
        return read_table(self._path, self._space)

    @cached_property
    def _network_rows(self) -> dict[Architecture, int]:
        """The first row of each network, by its canonical form."""
        rows: dict[Architecture, int] = {}
        if isinstance(self._space, HasCanonical):
            for row, architecture in enumerate(self._table.architectures):
                rows.setdefault(Architecture(self._space.canonical(dict(architecture))), row)
        return rows

    def _cell(self, architecture: Architecture, column: str) -> tuple[int, float]:
        """Return the architecture's row, counted from 0, and its value in the column."""
        row = self._table.first_rows.get(architecture)
        if row is None:
            row = self._network_rows.get(architecture)
        if row is None:
            raise CandidateError(MISSING, f"{self.name} has no row of this architecture")
        value = float(self._table.column(column)[row])
        if math.isnan(value):
            raise CandidateError(MISSING, f"{column} is empty in row {row + 1} of {self.name}")
        return row, value

    def _error(self, architecture: Architecture, column: str) -> float:
        return round(1 - self._cell(architecture, column)[1] / 100, 12)  # 1 − 0.9 is 0.1

    def _check_per_cent(self, column: str) -> None:
        values: FloatArray = self._table.column(column)
        strange = np.flatnonzero((values < 0) | (values > 100))
        if len(strange):
            row = int(strange[0])
            raise RecipeError(
                f"an accuracy must be per cent, from 0 to 100, but {column!r} of {self.name} holds {values[row]:g} "
                f"in row {row + 1}."
            )
        if not np.nanmax(values, initial=-math.inf) > 1:
            raise RecipeError(
                f"an accuracy must be per cent, such as 93.5, but no value in {column!r} of {self.name} is above 1. "
                "If they are shares, multiply them by 100."
            )

    def _why_not(self, metric: str) -> str:
        """Explain why the table lacks a measured metric, and suggest another one."""
        device, devices = self.settings.device, self._table.targets(metric)
        rule = f"the table must have a column {self.column_of(metric)!r} to look up {metric}"
        if not devices:
            measured = sorted(name for name, each in METRICS.items() if each.source == "measured")
            told = [name for name in measured if self._table.has_column(name) or self._table.targets(name)]
            return (
                f"{rule}, but {self.name} has no column of {metric}. "
                f"It has {', '.join(told) or 'no measured metric'}. Choose other objectives and limits."
            )
        if device is None:
            return f"{rule}, but {self.name} has it by device. Set table.device to one of {', '.join(devices)}."
        return (
            f"{rule}, but {self.name} has none for the device {device!r}. {did_you_mean(device, devices)} "
            "Set table.device, or choose other objectives and limits."
        )


@final
class TableLookup:
    """The work of a job: look its architecture up, and report once after the pause."""

    def __init__(self, table: SearchedTable) -> None:
        self._table = table

    def __call__(self, job: Job) -> Iterator[Report]:
        """Report the error, and the simulated seconds of the training. Raises CandidateError."""
        if self._table.settings.pause_s > 0:  # sleeping for no time gives the processor away
            time.sleep(self._table.settings.pause_s)
        error = self._table.error(Architecture(job["architecture"]))
        yield {"epoch": 1, "error": error, "seconds": self._table.settings.training_s, "by": "table", "done": True}
