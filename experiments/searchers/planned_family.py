"""Families that are planned before anything is evaluated: scaled by hand, or spread over the front of a prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import numpy as np
from scipy.stats import qmc

from experiments.search_problem import Problem
from experiments.search_tasks import FloatArray
from nas.space.architecture import Architecture, Choice, Option
from nas.space.description import QUANTITIES
from nas.space.listing import HasListing
from nas.space.name_parts import is_of_names
from nas.space.search_space import settle
from nas.values.pareto import non_dominated

BY_HAND = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
"""The order in which a person scales operations; pooling is no step, because it makes no network larger."""


@final
class PlannedFamily:
    """Proposes members of a family, evenly spread: each costs the same factor more than the one before.

    ``count`` is the number of evaluations, for which the family is planned.
    """

    def __init__(self, problem: Problem, members: Sequence[Architecture], count: int) -> None:
        within = problem.acceptable(members)
        members = [member for member, is_within in zip(members, within, strict=True) if is_within]
        self._left = [members[place] for place in evenly(_log_costs(problem, members), count)]

    def propose(self) -> Architecture | None:
        """Return the next member, the cheapest first; None after the last one."""
        return self._left.pop(0) if self._left else None

    def tell(self, architecture: Architecture, losses: tuple[float, ...] | None) -> None:
        """Learn nothing."""


def scaled_searcher(problem: Problem, seed: int) -> PlannedFamily:
    """Plan a family by compound scaling: all choices grow together, from their first to their last options.

    Choices take their next option one after the other, in the order of a Halton sequence, so that there are
    members enough. Where the rows are the space, members are rows of one kind whose numbers are most alike in rank; the
    kind is the one with the most members.
    """
    space = problem.space
    if isinstance(space, HasListing):
        return PlannedFamily(problem, _alike(problem.rows, space.choices), problem.evaluations)
    orders = {choice.name: _by_hand(choice) for choice in space.choices}
    starts = qmc.Halton(1, scramble=False).random(len(orders) + 1)[1:, 0].tolist()
    offsets = dict(zip(orders, starts, strict=True))

    def member(level: float) -> Architecture:
        def option(choice: Choice) -> Option:
            order = orders[choice.name]
            return order[min(len(order) - 1, int(level * (len(order) - 1) + offsets[choice.name]))]

        return settle(space, option)

    levels = np.linspace(0, 1, 1 + 10 * sum(map(len, orders.values())))
    return PlannedFamily(problem, list(dict.fromkeys(map(member, levels.tolist()))), problem.evaluations)


def spread_searcher(problem: Problem, seed: int) -> PlannedFamily:
    """Plan a spread over the front of known costs and of the prior; without one, of the multiply-accumulates."""
    rows = problem.rows
    if problem.prior is not None:
        scores = problem.prior(rows).mean(axis=1)
    else:
        sums = problem.describer.describe(rows).layer_sums
        scores = sums[:, :, QUANTITIES.index("macs")].sum(axis=1)
    front = non_dominated(np.column_stack([-scores, problem.known_costs(rows)]))
    return PlannedFamily(problem, [rows[place] for place in np.flatnonzero(front)], problem.evaluations)


PLANNED: dict[str, Callable[[Problem, int], PlannedFamily]] = {"scaled": scaled_searcher, "spread": spread_searcher}
"""Searchers that plan for a number of evaluations, so that each number takes a run of its own."""


def evenly(costs: FloatArray, count: int) -> list[int]:
    """Return up to ``count`` places of N costs, in ascending order: those nearest to evenly spaced ones, each once."""
    left = np.argsort(costs, kind="stable").tolist()
    chosen = []
    for cost in np.linspace(costs.min(initial=np.inf), costs.max(initial=-np.inf), count) if left else ():
        if left:
            chosen.append(min(left, key=lambda place: abs(costs[place] - cost)))
            left.remove(chosen[-1])
    return sorted(chosen, key=lambda place: float(costs[place]))


def _by_hand(choice: Choice) -> tuple[Option, ...]:
    found = tuple(option for option in BY_HAND if option in choice.options)
    return found if len(found) > 1 else choice.options


def _alike(rows: Sequence[Architecture], choices: Sequence[Choice]) -> list[Architecture]:
    """Return the rows of one kind at each level, from 0 to 1, whose numbers are nearest to that level."""
    kinds: dict[tuple[Option, ...], list[Architecture]] = {}
    for row in rows:
        texts = tuple(row[each.name] for each in choices if not each.is_numeric and not is_of_names(each))
        kinds.setdefault(texts, []).append(row)
    families = []
    for members in kinds.values():
        levels = np.column_stack([_levels(members, choice) for choice in choices if choice.is_numeric])
        nearest = [int(np.argmin(np.abs(levels - level).max(axis=1))) for level in np.linspace(0, 1, 101)]
        families.append([members[place] for place in dict.fromkeys(nearest)])
    return max(families, key=len)


def _levels(rows: Sequence[Architecture], choice: Choice) -> FloatArray:
    """Return the rank of each row's number among those that occur, from 0 to 1, shape (N,)."""
    numbers, places = np.unique([float(row[choice.name]) for row in rows], return_inverse=True)
    levels: FloatArray = places / max(1, len(numbers) - 1)
    return levels


def _log_costs(problem: Problem, architectures: Sequence[Architecture]) -> FloatArray:
    if not architectures:
        return np.empty(0)
    costs: FloatArray = np.log(problem.known_costs(architectures)).mean(axis=1)
    return costs
