"""Search tasks on a table: the rows that may be evaluated, the losses that searchers see, and the scores.

N are the rows of the table, M the losses, of which the first is the error in per cent, and C = M − 1 the costs in the
units of their columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from nas.errors import RecipeError
from nas.space.architecture import Architecture
from nas.space.listing import HasListing
from nas.space.search_space import HasCanonical, SearchSpace
from nas.tables.table import Table
from nas.values.pareto import hypervolume

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

CLIPPED_PERCENTILES = (0.05, 99.95)
MOST_OBJECTIVES = 4
MOST_USELESS = 500
"""Duplicate or failed proposals in a row that end a run."""


@dataclass(frozen=True)
class CostLimit:
    """An upper bound on a column, in the unit of the column."""

    column: str
    value: float

    @classmethod
    def parse(cls, text: str) -> CostLimit:
        """Parse a limit such as ``latency_ms_x<=2.5``. Raises RecipeError if the text has another form."""
        match = re.fullmatch(r"\s*([^<≤]*[^<≤\s])\s*(?:<=|≤)\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*", text)
        if match is None:
            raise RecipeError(f"a limit is written as COLUMN<=NUMBER, such as latency_ms_x<=2.5, but got {text!r}.")
        return cls(match[1], float(match[2]))


class Networks:
    """Finds the row of an architecture, and the rows that build the same network.

    With ``are_twins_joined`` every architecture of a network maps to the row that holds its canonical form, so each
    network has one error and one cost.

    Raises:
        RecipeError: two rows with the same architecture. Rows that are the space itself may be the same: the first of
            them counts.
    """

    def __init__(self, table: Table, space: SearchSpace, *, are_twins_joined: bool = False) -> None:
        self.architectures = table.architectures
        self._rows: dict[Architecture, int] = {}
        for row, architecture in enumerate(table.architectures):
            if architecture in self._rows:
                if isinstance(space, HasListing):
                    continue
                first_row = self._rows[architecture]
                raise RecipeError(
                    f"a table to search in must have each architecture once, but rows {first_row + 1} "
                    f"and {row + 1} of {table.path} are the same: {architecture.short}. Remove one of them."
                )
            self._rows[architecture] = row
        first: dict[Architecture, int] = {}
        canonical = [_canonical(space, architecture) for architecture in table.architectures]
        self.numbers: IntArray = np.array([first.setdefault(each, row) for row, each in enumerate(canonical)])
        """For each row the index of the first row with the same network, shape (N,)."""
        self.is_canonical: BoolArray = np.array(
            [each == written for each, written in zip(canonical, table.architectures, strict=True)]
        )
        self._space = space if are_twins_joined else None

    @property
    def are_twins_joined(self) -> bool:
        """True if all architectures of a network share one row."""
        return self._space is not None

    @property
    def searched(self) -> BoolArray:
        """Mask of the rows that may be evaluated, shape (N,): one for each architecture, or each network if joined."""
        is_first = np.zeros_like(self.is_canonical)
        is_first[list(self._rows.values())] = True
        return is_first if self._space is None else is_first & self.is_canonical

    def row(self, architecture: Architecture) -> int | None:
        """Return the row of this architecture or, if twins are joined, the row of its network; None without one."""
        if self._space is not None:
            architecture = _canonical(self._space, architecture)
        return self._rows.get(architecture)


def _canonical(space: SearchSpace, architecture: Architecture) -> Architecture:
    return Architecture(space.canonical(architecture)) if isinstance(space, HasCanonical) else architecture


@final
@dataclass(frozen=True, eq=False)
class TableTask:
    """Accuracy against some costs on one table.

    ``losses``, shape (N, M), are the values that a searcher sees. ``points``, shape (N, M), are the values that it is
    scored on, between 0 and 1. Both are NaN for a row that lacks a value, which is not part of the task. ``limits``,
    shape (C,), are infinite for costs without a limit. A row that breaks a limit has its point at the reference
    (1, …, 1), where it adds no hypervolume.
    """

    accuracy: str
    costs: tuple[str, ...]
    losses: FloatArray
    points: FloatArray
    limits: FloatArray

    @classmethod
    def of(
        cls,
        table: Table,
        accuracy: str,
        score: str,
        costs: Sequence[str],
        limits: Sequence[CostLimit] = (),
        searched: BoolArray | None = None,
    ) -> TableTask:
        """Return the task to minimise 100 − ``accuracy`` and ``costs``, scored on ``score`` instead of ``accuracy``.

        Error and costs are min-max normalised over the table, costs after clipping at ``CLIPPED_PERCENTILES``. The
        mask ``searched``, shape (N,), selects the rows of the task; the default is all rows.

        Raises:
            RecipeError: a column is missing or constant; an accuracy is outside 0 to 100 per cent; no row meets the
                limits.
        """
        raw = [_errors(table, accuracy), *(table.column(name) for name in costs)]
        scored = [_errors(table, score), *raw[1:]]
        usable: BoolArray = np.all(np.isfinite([*raw, scored[0]]), axis=0)
        if searched is not None:
            usable &= searched
        losses = np.where(usable[:, None], np.column_stack(raw), np.nan)
        points = np.full(losses.shape, np.nan)
        for index, (name, values) in enumerate(zip((score, *costs), scored, strict=True)):
            points[usable, index] = _normalised(name, values[usable], clip=index > 0)
        bounds = np.full(len(costs), np.inf)
        for limit in limits:
            if limit.column in costs:
                place = tuple(costs).index(limit.column)
                bounds[place] = min(bounds[place], limit.value)
        points[(losses[:, 1:] > bounds).any(axis=1)] = 1.0
        task = cls(accuracy, tuple(costs), losses, points, bounds)
        if not (losses[usable, 1:] <= bounds).all(axis=1).any():
            written = ", ".join(f"{limit.column}<={limit.value:g}" for limit in limits)
            raise RecipeError(f"a row of the table must meet the limits, but none does: {written}. Raise a limit.")
        return task

    @property
    def name(self) -> str:
        """The columns of accuracy and costs, for messages."""
        return ", ".join((self.accuracy, *self.costs))

    @property
    def objectives(self) -> int:
        """The number of losses, M."""
        return int(self.losses.shape[1])

    @cached_property
    def usable(self) -> IntArray:
        """The indexes of the rows that are part of the task."""
        return np.flatnonzero(np.isfinite(self.losses[:, 0]))

    @cached_property
    def whole(self) -> float:
        """The hypervolume of all rows of the task."""
        return hypervolume(self.points[self.usable], np.ones(self.objectives))

    def meets_limits(self, rows: Sequence[int]) -> BoolArray:
        """Mask, shape (E,), of the E rows whose true costs are within the limits."""
        mask: BoolArray = np.all(self.losses[list(rows), 1:] <= self.limits, axis=1)
        return mask

    def shares(self, rows: Sequence[int]) -> FloatArray:
        """Return the per cent of the whole hypervolume that each of E evaluations has reached, shape (E,)."""
        shares: FloatArray = 100 * hypervolumes(self.points[list(rows)]) / self.whole
        return shares


def hypervolumes(points: FloatArray) -> FloatArray:
    """Return the hypervolume of the first 1, 2, … E of ``points``, shape (E, M), with the reference (1, …, 1).

    The result has shape (E,). Only a point that no earlier one dominates takes a computation.
    """
    volumes = np.zeros(len(points))
    reference = np.ones(points.shape[1])
    front = np.empty((0, points.shape[1]))
    volume = 0.0
    for index, point in enumerate(points):
        if not (front <= point).all(axis=1).any():
            front = np.vstack([front[~(front >= point).all(axis=1)], point])
            volume = hypervolume(front, reference)
        volumes[index] = volume
    return volumes


def evaluations_to(share: float, shares: FloatArray) -> float:
    """Return the number of evaluations that reach ``share`` per cent, or infinity if ``shares`` never reaches it."""
    reached = np.flatnonzero(shares >= share * (1 - 1e-12))
    return float(reached[0]) + 1 if len(reached) else math.inf


def _errors(table: Table, accuracy: str) -> FloatArray:
    values = table.column(accuracy)
    strange = np.flatnonzero((values < 0) | (values > 100))
    if len(strange):
        row = int(strange[0])
        raise RecipeError(
            f"an accuracy must be in per cent, from 0 to 100, but {accuracy!r} of row {row + 1} is {values[row]:g}."
        )
    errors: FloatArray = 100 - values
    return errors


def _normalised(name: str, values: FloatArray, *, clip: bool) -> FloatArray:
    lowest, highest = 0.0, 0.0
    if len(values):
        lowest, highest = np.percentile(values, CLIPPED_PERCENTILES) if clip else (values.min(), values.max())
    if not lowest < highest:
        raise RecipeError(
            f"a column must vary over the rows that have all values, but {name!r} is constant in all {len(values)}. "
            f"Choose another column."
        )
    normalised: FloatArray = (np.clip(values, lowest, highest) - lowest) / (highest - lowest)
    return normalised
