"""The knowledge of a searcher in one run on a table: the space, and what is known of costs.

N are the rows of the table, M the losses, of which the first is the error in per cent, and C = M − 1 the costs in the
units of their columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from experiments.search_tasks import BoolArray, FloatArray, IntArray, Networks, TableTask
from nas.space.architecture import Architecture, Choice, Option
from nas.space.description import Describer
from nas.space.listing import HasListing
from nas.space.search_space import SearchSpace, is_active, settle
from nas.tables.table_prior import TablePrior
from nas.values.pareto import non_dominated


@final
@dataclass(frozen=True, eq=False)
class KnownCosts:
    """The known costs of each row, true or predicted, shape (N, C); NaN for unknown ones.

    ``bounds``, shape (N, C), are compared with limits: the true cost if it is known, else the predictor's one-sided
    bound.
    """

    values: FloatArray
    bounds: FloatArray

    @classmethod
    def nothing(cls, task: TableTask) -> KnownCosts:
        """No cost is known."""
        return cls(*np.full((2, *task.losses[:, 1:].shape), np.nan))

    @classmethod
    def everything(cls, task: TableTask) -> KnownCosts:
        """The true costs of all rows are known."""
        return cls(task.losses[:, 1:].copy(), task.losses[:, 1:].copy())

    def copy(self) -> KnownCosts:
        """Return a copy that a run may change."""
        return KnownCosts(self.values.copy(), self.bounds.copy())

    def see(self, rows: int | IntArray, task: TableTask) -> None:
        """Fill in the true costs of these rows."""
        self.values[rows] = self.bounds[rows] = task.losses[rows, 1:]


@final
class Problem:
    """Everything that one searcher may know in one run: the space, and the known costs.

    ``evaluations`` is the budget, and ``prior`` gives values that rank accuracies. If ``is_informed``, the costs of
    unevaluated rows are known too, true or predicted. A row may be too near to a limit to tell if it holds. Up to
    ``asks`` such rows have their costs measured, as a search asks the device; ``asked`` counts them.
    """

    def __init__(
        self,
        space: SearchSpace,
        networks: Networks,
        task: TableTask,
        known: KnownCosts,
        *,
        is_informed: bool,
        describer: Callable[[], Describer],
        asks: int = 0,
        prior: TablePrior | None = None,
        evaluations: int = 0,
    ) -> None:
        self.space = space
        self.evaluations = evaluations
        self.prior = prior
        self.objectives = task.objectives
        self.is_informed = is_informed
        self.asked = 0
        self._asks = asks
        self._networks = networks
        self._task = task
        self._known = known
        self._describer = describer

    def composed(self, pick: Callable[[Choice], Option]) -> Architecture:
        """Return the architecture that results from asking ``pick`` for each active choice in turn.

        If twins are joined, the result is in canonical form, so that no searcher takes two twins for different ones.
        Of a space that lists its architectures, it is the nearest one.
        """
        if self._networks.are_twins_joined or isinstance(self.space, HasListing):
            return settle(self.space, pick)
        values: dict[str, Option] = {}
        for choice in self.space.choices:
            if is_active(choice, values):
                values[choice.name] = pick(choice)
        return Architecture(values)

    @property
    def describer(self) -> Describer:
        """The describer that predictors need; made on first use."""
        return self._describer()

    @property
    def limits(self) -> int:
        """The number of costs with a limit."""
        return int(np.isfinite(self._task.limits).sum())

    @property
    def rows(self) -> list[Architecture]:
        """All architectures that may be evaluated, one for each network."""
        usable = self._task.usable
        return [self._networks.architectures[row] for row in usable[self._networks.is_canonical[usable]]]

    def known_costs(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return the known costs of A architectures, shape (A, C).

        An unknown cost is replaced by the largest known one; ``acceptable`` refuses these architectures.
        """
        values = self._of_rows(self._known.values, architectures)
        return np.where(np.isnan(values), np.nanmax(self._known.values, axis=0), values)

    def acceptable(self, architectures: Sequence[Architecture]) -> BoolArray:
        """Mask, shape (A,), of the architectures that probably meet the limits, judged by their known costs.

        If costs are not known beforehand, only architectures that were seen above a limit are refused.
        """
        self._ask(architectures)
        bounds = self._of_rows(self._known.bounds, architectures)
        mask: BoolArray = np.all((bounds <= self._task.limits) | (np.isnan(bounds) & (not self.is_informed)), axis=1)
        return mask

    def _ask(self, architectures: Sequence[Architecture]) -> None:
        """Measure the costs of rows whose predicted mean meets the limits while their bound does not."""
        for row in map(self._networks.row, architectures if self._asks > self.asked else ()):
            if row is None or self.asked == self._asks or np.isnan(self._task.losses[row, 0]):
                continue
            is_expected = (self._known.values[row] <= self._task.limits).all()
            if is_expected and not (self._known.bounds[row] <= self._task.limits).all():
                self._known.see(row, self._task)
                self.asked += 1

    def excesses(self, losses: Sequence[float]) -> Mapping[str, float]:
        """Return by how much these losses, shape (M,), exceed each limit, relative to it; at most 0 if it holds."""
        costs = zip(self._task.costs, losses[1:], self._task.limits.tolist(), strict=True)
        return {name: (cost - limit) / (limit or 1.0) for name, cost, limit in costs if math.isfinite(limit)}

    def _of_rows(self, values: FloatArray, architectures: Sequence[Architecture]) -> FloatArray:
        rows = [self._networks.row(architecture) for architecture in architectures]
        found = values[[row or 0 for row in rows]]
        found[[row is None for row in rows]] = np.nan
        return found


def winners(task: TableTask, known: KnownCosts, evaluated: Sequence[int]) -> list[int]:
    """Return the rows that a run would return to its user, in the order of their evaluation.

    These are the evaluated rows that meet the limits by their known costs and are non-dominated by the losses seen.
    """
    rows = np.array(evaluated, dtype=np.int64)
    rows = rows[(known.bounds[rows] <= task.limits).all(axis=1)]
    seen = np.column_stack([task.losses[rows, 0], known.values[rows]])
    return [int(row) for row in rows[non_dominated(seen)]]
