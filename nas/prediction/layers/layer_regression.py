"""Non-negative costs of layers that add up, with three terms for each layer, from the coarsest to the finest.

A layer costs something by its kind, by its kernel and sharing, and by its group. The last two are shrunk to zero, as in
hierarchical regression (Gelman and Hill, 2006), so a group with few samples costs what its kind does. Where networks
choose their precision, a layer in another one is of another kind.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import numpy.typing as npt

from nas.prediction.layers.layer_process import NOTHING_OFF, LayerProcess
from nas.space.description import Descriptions, GroupedLayer, LayerGroup
from nas.space.layer import Layer

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
Place = tuple[int, Hashable]

_LEVELS: tuple[Callable[[LayerGroup], Hashable], ...] = (
    lambda group: (group.kind, group.precision),
    lambda group: (group.kind, group.precision, group.sharing, group.kernel),
    lambda group: group,
)
_NNLS_STEPS = 30
HUBER = 3.0
"""Residuals beyond this many standard deviations count linearly, not squared, because a few measurements are spoilt."""
DEVIATIONS = 1.4826
"""Ratio of the standard deviation to the median absolute error of normal errors."""
KIND_SHARE = 0.1
"""Strength with which costs of kinds are shrunk to zero, relative to that of other costs."""


@final
@dataclass(frozen=True, eq=False)
class LayerCosts:
    """Costs by level and key of a group, each of shape (quantities,), and each layer's own relative error, ``off``."""

    by_place: Mapping[Place, FloatArray]
    off: LayerProcess = NOTHING_OFF
    _known: dict[tuple[Layer, LayerGroup], float] = field(default_factory=dict, repr=False)

    def sums(self, descriptions: Descriptions) -> FloatArray:
        """Return the sums over the layers of N networks, shape (N,)."""
        costs_L = np.zeros(len(descriptions.layers) + 1)  # the last entry is for the padding, number -1
        is_present = np.zeros(len(costs_L), dtype=np.bool_)
        is_present[descriptions.layer_numbers] = True  # twenty times as fast as np.unique
        present = np.flatnonzero(is_present[:-1])
        costs_L[present] = self._corrected([descriptions.layers[n] for n in present.tolist()], descriptions.groups)
        sums: FloatArray = costs_L[descriptions.layer_numbers].sum(axis=1)
        return sums

    def of(self, layers: Sequence[GroupedLayer], groups: Sequence[LayerGroup]) -> FloatArray:
        """Return each layer's cost according to its group alone, shape (len(layers),)."""
        costs = [self.of_group(groups[each.group], np.array(each.quantities)) for each in layers]
        return np.array(costs, dtype=np.float64)

    def of_group(self, group: LayerGroup, quantities: FloatArray) -> float:
        """Return the cost of a layer with these quantities; a group without samples costs what its kind does."""
        found = (self.by_place.get(place) for place in places_of(group))
        return float(sum((costs @ quantities for costs in found if costs is not None), 0.0))

    def _corrected(self, layers: Sequence[GroupedLayer], groups: Sequence[LayerGroup]) -> list[float]:
        """Return each layer's cost, corrected by ``off``; the result is cached."""
        keys = [(each.layer, groups[each.group]) for each in layers]
        new = [index for index, key in enumerate(keys) if key not in self._known]
        if new:
            fresh = [layers[index] for index in new]
            costs = self.of(fresh, groups) * (1 + self.off([each.layer for each in fresh]))
            for index, cost in zip(new, np.maximum(costs, 0.0).tolist(), strict=True):
                self._known[keys[index]] = cost
        return [self._known[key] for key in keys]


def places_of(group: LayerGroup) -> Iterable[Place]:
    """Return the level and the key of each term of a group's cost, the coarsest first."""
    return enumerate(level(group) for level in _LEVELS)


def terms_of(groups: Sequence[LayerGroup], sums: FloatArray) -> tuple[list[Place], IndexArray, FloatArray]:
    """Return places, parents, shape (P quantities,), and sums by place, shape (N, P quantities).

    ``sums`` are those of N networks by group, shape (N, groups, quantities). A term's parent is the column of its kind.
    Groups that no network has are left out, and so is a place with the same groups as a coarser one.
    """
    members: dict[Place, list[int]] = {}
    for index in np.flatnonzero(sums.any(axis=(0, 2))).tolist():
        for place in places_of(groups[index]):
            members.setdefault(place, []).append(index)
    distinct: dict[tuple[int, ...], Place] = {}
    for place in sorted(members, key=lambda place: place[0]):
        distinct.setdefault(tuple(members[place]), place)
    kinds = {place[1]: number for number, place in enumerate(distinct.values()) if place[0] == 0}
    quantities = sums.shape[2]
    parents, columns = [], [np.empty((len(sums), 0))]
    for numbers in distinct:
        parent = kinds[_LEVELS[0](groups[numbers[0]])]
        parents.append(parent * quantities + np.arange(quantities))
        columns.append(sums[:, list(numbers)].sum(axis=1))
    return list(distinct.values()), np.concatenate([np.empty(0, dtype=np.int64), *parents]), np.hstack(columns)


def shrunk_costs(
    weighted: FloatArray, goals: FloatArray, strength: float, shrinking: FloatArray
) -> tuple[FloatArray, float]:
    """Return non-negative costs, shape (C,), with the least squared error, and how many degrees of freedom they take.

    ``weighted`` are N rows of C columns and ``goals`` their N wanted sums, both weighted. ``shrinking``, shape (C,), is
    how strongly each cost is shrunk to zero, times ``strength``.
    """
    from scipy.optimize import nnls  # here, because scipy is slow to import

    if not weighted.shape[1]:
        return np.zeros(0), 0.0  # of no columns, scipy frees its memory twice
    products = weighted.T @ weighted
    penalised = products + np.diag(strength * shrinking)
    factor = np.linalg.cholesky(penalised)
    costs, _ = nnls(factor.T, np.linalg.solve(factor, weighted.T @ goals), maxiter=_NNLS_STEPS * len(penalised))
    paid = np.ix_(costs > 0, costs > 0)
    return costs, float(np.trace(np.linalg.solve(penalised[paid], products[paid])))
