"""A table in the place of training and measuring: errors and measured metrics are looked up, one architecture a row."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.errors import CandidateError, RecipeError, did_you_mean
from nas.jobs.execution import Job, Report
from nas.progress import Progress
from nas.recipe.sections import TableRecipe
from nas.space.architecture import Architecture
from nas.space.search_space import HasCanonical, SearchSpace
from nas.tables.table import FloatArray, Table, read_table
from nas.values.evaluation import Evaluation, Failure
from nas.values.measurement import Measurement
from nas.values.metric import METRICS

MISSING = "table"
"""The kind of failure of what the table does not tell."""


@final
class SearchedTable:
    """A table as the evaluator and measurer of a space. Each process that it is sent to reads the file itself, once.

    An architecture is looked up as it is written, and where the table lacks that, as the first row that is the same
    network. What has no row, or an empty field, is a CandidateError. A relative path is taken from the current folder.
    """

    fingerprint = None
    device_s = 0.0

    def __init__(self, settings: TableRecipe, space: SearchSpace) -> None:
        assert settings.path is not None
        self.settings = settings
        self.name = settings.path
        self._path = Path.cwd() / Path(settings.path).expanduser()
        self._space = space

    def check(self, metrics: Sequence[str]) -> None:
        """See that the table has the columns that are named, and one for each of the measured ``metrics``.

        Raises:
            RecipeError: no such table or column, or values that no accuracy or measured metric can have.
        """
        settings = self.settings
        if settings.accuracy is None:
            raise RecipeError(
                f"table.accuracy must name the column of {self.name} that the search sees, in per cent. "
                f"{did_you_mean('accuracy', self._table.columns)}"
            )
        for column in (settings.accuracy, self.test_column):
            self._check_per_cent(column)
        for metric in metrics:
            if not self._table.has_column(self.column_of(metric)):
                raise RecipeError(self._why_not(metric))
            self._table.column(self.column_of(metric), positive=True)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def test_column(self) -> str:
        """The column that scores winners."""
        column = self.settings.test_accuracy or self.settings.accuracy
        assert column is not None
        return column

    @property
    def metrics(self) -> tuple[str, ...]:
        """The measured metrics that the table has a column of numbers of."""
        measured = (name for name, metric in METRICS.items() if metric.source == "measured")
        return tuple(name for name in measured if self.column_of(name) in self._table.columns)

    def column_of(self, metric: str) -> str:
        """The column of a measured metric of the device."""
        return metric if self.settings.device is None else f"{metric}_{self.settings.device}"

    def error(self, architecture: Architecture) -> float:
        """The error that the search sees. Raises CandidateError."""
        assert self.settings.accuracy is not None
        return self._error(architecture, self.settings.accuracy)

    def test_error(self, architecture: Architecture) -> float:
        """The error that winners are scored by. Raises CandidateError."""
        return self._error(architecture, self.test_column)

    def measurements(self, architecture: Architecture, metrics: Sequence[str]) -> dict[str, Measurement]:
        """One exact reading of each metric, whose conditions name the table. Raises CandidateError."""
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
        """As ``measuring.Measurer`` has it."""
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
        """What a reader of the report may ask about the table."""
        settings = self.settings
        return {
            "path": self.name,
            "fingerprint": hashlib.sha256(self._path.read_bytes()).hexdigest()[:12],
            "rows": len(self),
            "accuracy in the search": settings.accuracy,
            "accuracy of winners": self.test_column,
            "device": settings.device,
            "metrics": [self.column_of(metric) for metric in self.metrics],
            "seconds of a training, simulated": settings.training_s,
        }

    def __getstate__(self) -> dict[str, Any]:
        """All but what was read."""
        read = ("_table", "_rows", "_twins")
        return {name: value for name, value in self.__dict__.items() if name not in read}

    @cached_property
    def _table(self) -> Table:
        return read_table(self._path, self._space)

    @cached_property
    def _rows(self) -> dict[Architecture, int]:
        rows: dict[Architecture, int] = {}
        for row, architecture in enumerate(self._table.architectures):
            rows.setdefault(architecture, row)
        return rows

    @cached_property
    def _twins(self) -> dict[Architecture, int]:
        """The first row of each network, however it is written."""
        rows: dict[Architecture, int] = {}
        if isinstance(self._space, HasCanonical):
            for row, architecture in enumerate(self._table.architectures):
                rows.setdefault(Architecture(self._space.canonical(architecture)), row)
        return rows

    def _cell(self, architecture: Architecture, column: str) -> tuple[int, float]:
        """The row, counted from 0, and the value there."""
        row = self._rows.get(architecture)
        if row is None:
            row = self._twins.get(architecture)
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
                f"an accuracy must be per cent, such as 93.5, but no value in {column!r} of {self.name} is above 1: "
                "if they are shares, write them times 100."
            )

    def _why_not(self, metric: str) -> str:
        """Why the table cannot tell a measured metric, and what it could be asked instead."""
        device, devices = self.settings.device, self._table.targets(metric)
        rule = f"a table must have a column {self.column_of(metric)!r} for {metric} to be looked up"
        if not devices:
            measured = sorted(name for name, each in METRICS.items() if each.source == "measured")
            told = [name for name in measured if self._table.has_column(name) or self._table.targets(name)]
            return (
                f"{rule}, but {self.name} has none of {metric} at all. "
                f"It has {', '.join(told) or 'no measured metric'}: choose other objectives and limits."
            )
        if device is None:
            return f"{rule}, but {self.name} has it for devices: set table.device to one of {', '.join(devices)}."
        return (
            f"{rule}, but {self.name} has none for the device {device!r}. {did_you_mean(device, devices)} "
            "Set table.device, or choose other objectives and limits."
        )


@final
class TableLookup:
    """The task of looking a candidate up: one report, after the pause."""

    def __init__(self, table: SearchedTable) -> None:
        self._table = table

    def __call__(self, job: Job) -> Iterator[Report]:
        time.sleep(self._table.settings.pause_s)
        error = self._table.error(Architecture(job["architecture"]))
        yield {"epoch": 1, "error": error, "seconds": self._table.settings.training_s, "done": True}
