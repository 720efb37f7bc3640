"""What searchers are asked on a table: which losses they see, what is known of costs beforehand, how they are scored.

N are the rows of the table, M the losses, of which the first is the error in per cent, C = M − 1 the costs in their
columns' units.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from nas.errors import RecipeError
from nas.space.architecture import Architecture, Choice, Option
from nas.space.description import Describer
from nas.space.search_space import HasCanonical, SearchSpace, is_active, settle
from nas.tables.table import Table
from nas.values.pareto import hypervolume, non_dominated

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

CLIPPED_PERCENTILES = (0.05, 99.95)
MOST_OBJECTIVES = 4
MOST_USELESS = 500
"""So many proposals one after another may repeat what was evaluated, or fail."""


@dataclass(frozen=True)
class CostLimit:
    """An upper bound on a column, in its unit."""

    column: str
    value: float

    @classmethod
    def parse(cls, text: str) -> CostLimit:
        """The limit written as ``latency_ms_x<=2.5``. Raises RecipeError when it is not of that form."""
        match = re.fullmatch(r"\s*(\w+)\s*(?:<=|≤)\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*", text)
        if match is None:
            raise RecipeError(f"a limit is written as COLUMN<=NUMBER, such as latency_ms_x<=2.5, but got {text!r}.")
        return cls(match[1], float(match[2]))


class Networks:
    """The rows of a table by what is written in them, and by the network that this gives.

    With ``are_twins_joined`` whatever gives a network stands for the one row that has it in its canonical form, so that
    a network has one error and one cost.

    Raises:
        RecipeError: two rows with the same architecture.
    """

    def __init__(self, table: Table, space: SearchSpace, *, are_twins_joined: bool = False) -> None:
        self.architectures = table.architectures
        self._rows: dict[Architecture, int] = {}
        for row, architecture in enumerate(table.architectures):
            if architecture in self._rows:
                first_row = self._rows[architecture]
                raise RecipeError(
                    f"a table that is searched must have each architecture once, but rows {first_row + 1} "
                    f"and {row + 1} of {table.path} are the same: {architecture.short}."
                )
            self._rows[architecture] = row
        first: dict[Architecture, int] = {}
        canonical = [_canonical(space, architecture) for architecture in table.architectures]
        self.numbers: IntArray = np.array([first.setdefault(each, row) for row, each in enumerate(canonical)])
        """For each row the first one with the same network, shape (N,)."""
        self.is_canonical: BoolArray = np.array(
            [each == written for each, written in zip(canonical, table.architectures, strict=True)]
        )
        self._space = space if are_twins_joined else None

    @property
    def are_twins_joined(self) -> bool:
        return self._space is not None

    @property
    def searched(self) -> BoolArray:
        """The rows that may be evaluated, shape (N,): all, or where twins are joined those in canonical form."""
        return np.ones_like(self.is_canonical) if self._space is None else self.is_canonical

    def row(self, architecture: Architecture) -> int | None:
        """The row whose options as written are these, or where twins are joined that of the same network."""
        if self._space is not None:
            architecture = _canonical(self._space, architecture)
        return self._rows.get(architecture)


def _canonical(space: SearchSpace, architecture: Architecture) -> Architecture:
    return Architecture(space.canonical(architecture)) if isinstance(space, HasCanonical) else architecture


@final
@dataclass(frozen=True, eq=False)
class Task:
    """Accuracy against some costs on one table.

    ``losses``, shape (N, M), are what a searcher is told of a row; NaN where the row is no part of the task, for lack
    of a value. ``points``, shape (N, M), are what it is scored on, each between 0 and 1; NaN there too. ``limits``,
    shape (C,), are infinite where there are none, and a row that breaks one has its point at the reference (1, …, 1),
    where it counts for nothing.
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
    ) -> Task:
        """The task of minimising 100 − ``accuracy`` and ``costs``, scored on ``score`` instead of ``accuracy``.

        Error and costs are min-max normalised over the table, costs after clipping at ``CLIPPED_PERCENTILES``. Only
        rows of ``searched``, shape (N,), are part of it, by default all.

        Raises:
            RecipeError: a column that the table lacks or that does not vary; accuracies that are no per cent; limits
                that nothing in the table meets.
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
            raise RecipeError(f"something in the table must meet the limits, but nothing does: {written}.")
        return task

    @property
    def name(self) -> str:
        """What is searched for, for people."""
        return ", ".join((self.accuracy, *self.costs))

    @property
    def objectives(self) -> int:
        """M."""
        return int(self.losses.shape[1])

    @cached_property
    def usable(self) -> IntArray:
        """The rows that are part of the task."""
        return np.flatnonzero(np.isfinite(self.losses[:, 0]))

    @cached_property
    def whole(self) -> float:
        """The hypervolume of all rows together."""
        return hypervolume(self.points[self.usable], np.ones(self.objectives))

    def meets_limits(self, rows: Sequence[int]) -> BoolArray:
        """Whether the true costs of E rows are within the limits, shape (E,)."""
        mask: BoolArray = np.all(self.losses[list(rows), 1:] <= self.limits, axis=1)
        return mask

    def shares(self, rows: Sequence[int]) -> FloatArray:
        """Per cent of the whole table's hypervolume after each of E evaluated rows, shape (E,)."""
        shares: FloatArray = 100 * hypervolumes(self.points[list(rows)]) / self.whole
        return shares


def hypervolumes(points: FloatArray) -> FloatArray:
    """Hypervolume up to (1, …, 1) of the first 1, 2, … E of ``points``, shape (E, M), as an array of shape (E,).

    It is computed anew for a point that no earlier one dominates only.
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
    """How many evaluations it takes to reach ``share`` per cent; infinity where ``shares`` never does."""
    reached = np.flatnonzero(shares >= share * (1 - 1e-12))
    return float(reached[0]) + 1 if len(reached) else math.inf


def _errors(table: Table, accuracy: str) -> FloatArray:
    values = table.column(accuracy)
    strange = np.flatnonzero((values < 0) | (values > 100))
    if len(strange):
        row = int(strange[0])
        raise RecipeError(
            f"an accuracy must be per cent, from 0 to 100, but {accuracy!r} of row {row + 1} is {values[row]:g}."
        )
    errors: FloatArray = 100 - values
    return errors


def _normalised(name: str, values: FloatArray, *, clip: bool) -> FloatArray:
    lowest, highest = 0.0, 0.0
    if len(values):
        lowest, highest = np.percentile(values, CLIPPED_PERCENTILES) if clip else (values.min(), values.max())
    if not lowest < highest:
        raise RecipeError(
            f"a column must vary over the rows that have all values, but {name!r} does not over these {len(values)}."
        )
    normalised: FloatArray = (np.clip(values, lowest, highest) - lowest) / (highest - lowest)
    return normalised


@final
@dataclass(frozen=True, eq=False)
class KnownCosts:
    """What is known of each row's costs, shape (N, C), true or predicted; NaN where nothing is.

    ``bounds`` are what is held against limits: the same where the truth is known, else a predictor's one-sided bound.
    """

    values: FloatArray
    bounds: FloatArray

    @classmethod
    def nothing(cls, task: Task) -> KnownCosts:
        return cls(*np.full((2, *task.losses[:, 1:].shape), np.nan))

    @classmethod
    def everything(cls, task: Task) -> KnownCosts:
        return cls(task.losses[:, 1:].copy(), task.losses[:, 1:].copy())

    def copy(self) -> KnownCosts:
        """What a run may add to."""
        return KnownCosts(self.values.copy(), self.bounds.copy())

    def see(self, rows: int | IntArray, task: Task) -> None:
        """From now on the true costs of these rows are known."""
        self.values[rows] = self.bounds[rows] = task.losses[rows, 1:]


@final
class Problem:
    """What one searcher may know in one run: the space, and what is known of costs.

    ``is_informed``: the costs of what was not evaluated are known too, as truths or as predictions. Of what is too near
    to a limit to tell up to ``asks`` have their costs measured, as a search asks the device; ``asked`` counts them.
    """

    def __init__(
        self,
        space: SearchSpace,
        networks: Networks,
        task: Task,
        known: KnownCosts,
        *,
        is_informed: bool,
        describer: Callable[[], Describer],
        asks: int = 0,
    ) -> None:
        self.space = space
        self.objectives = task.objectives
        self.is_informed = is_informed
        self.asked = 0
        self._asks = asks
        self._networks = networks
        self._task = task
        self._known = known
        self._describer = describer

    def composed(self, pick: Callable[[Choice], Option]) -> Architecture:
        """What results from asking ``pick`` for each choice that is active, in order.

        As it is written, or where twins are joined in canonical form, so that nobody takes two of them for different.
        """
        if self._networks.are_twins_joined:
            return settle(self.space, pick)
        values: dict[str, Option] = {}
        for choice in self.space.choices:
            if is_active(choice, values):
                values[choice.name] = pick(choice)
        return Architecture(values)

    @property
    def describer(self) -> Describer:
        """Describes the space to predictors; made where it is asked for."""
        return self._describer()

    @property
    def limits(self) -> int:
        """How many costs are limited."""
        return int(np.isfinite(self._task.limits).sum())

    def known_costs(self, architectures: Sequence[Architecture]) -> FloatArray:
        """What is known of the costs of A architectures as written, shape (A, C).

        Where nothing is known, it is the largest of each cost that is; ``acceptable`` lets none of these through.
        """
        values = self._of_rows(self._known.values, architectures)
        return np.where(np.isnan(values), np.nanmax(self._known.values, axis=0), values)

    def acceptable(self, architectures: Sequence[Architecture]) -> BoolArray:
        """Which of A architectures, shape (A,), probably meet the limits, by what is known of them.

        All do where costs are not known beforehand, but for those whose costs were seen to be above.
        """
        self._ask(architectures)
        bounds = self._of_rows(self._known.bounds, architectures)
        mask: BoolArray = np.all((bounds <= self._task.limits) | (np.isnan(bounds) & (not self.is_informed)), axis=1)
        return mask

    def _ask(self, architectures: Sequence[Architecture]) -> None:
        """Measure the costs of those that meet the limits by what is expected of them but perhaps not in truth."""
        for row in map(self._networks.row, architectures if self._asks > self.asked else ()):
            if row is None or self.asked == self._asks or np.isnan(self._task.losses[row, 0]):
                continue
            is_expected = (self._known.values[row] <= self._task.limits).all()
            if is_expected and not (self._known.bounds[row] <= self._task.limits).all():
                self._known.see(row, self._task)
                self.asked += 1

    def excesses(self, losses: Sequence[float]) -> Mapping[str, float]:
        """By how much these losses, shape (M,), exceed each limit, relative to it; at most 0 where it holds."""
        costs = zip(self._task.costs, losses[1:], self._task.limits.tolist(), strict=True)
        return {name: (cost - limit) / (limit or 1.0) for name, cost, limit in costs if math.isfinite(limit)}

    def _of_rows(self, values: FloatArray, architectures: Sequence[Architecture]) -> FloatArray:
        rows = [self._networks.row(architecture) for architecture in architectures]
        found = values[[row or 0 for row in rows]]
        found[[row is None for row in rows]] = np.nan
        return found


def winners(task: Task, known: KnownCosts, evaluated: Sequence[int]) -> list[int]:
    """The rows that a run returns, in the order of their evaluation.

    Of those evaluated that meet the limits by what is known of them the ones that none dominates by what was seen.
    """
    rows = np.array(evaluated, dtype=np.int64)
    rows = rows[(known.bounds[rows] <= task.limits).all(axis=1)]
    seen = np.column_stack([task.losses[rows, 0], known.values[rows]])
    return [int(row) for row in rows[non_dominated(seen)]]
