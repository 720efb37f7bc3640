"""What networks cost by the profiles of other networks on the same target, of this space or another.

One measured network gives one latency, but its profile gives the time of each part of it. So a few networks tell what
layers cost, also those of a space in which nothing was measured yet. nn-Meter (Zhang et al., MobiSys 2021) learns from
kernels that are built and measured one by one for this; here the networks that are measured anyway suffice.

The sum of these costs is not the latency: a profiler slows inferences down, and not all operators alike. So it is given
to predictors as an estimate, which their measurements scale and correct. Where the precision is a choice, each has
costs of its own, learned from the networks that ran in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, final

import numpy as np
from scipy import sparse

from nas.prediction.layers.earlier_profiles import apart_from
from nas.prediction.layers.layer_process import fit_layer_process
from nas.prediction.layers.layer_regression import (
    DEVIATIONS,
    HUBER,
    KIND_SHARE,
    FloatArray,
    IndexArray,
    LayerCosts,
    shrunk_costs,
    terms_of,
)
from nas.prediction.layers.segments import segments_of
from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import Given
from nas.space.architecture import Architecture
from nas.space.description import QUANTITIES, Describer, LayerGroup, group_of, quantities_of
from nas.space.layer import Layer
from nas.values.profiled_network import ProfiledNetwork

OWN, ELSEWHERE = "profiles of networks", "profiles of networks of other spaces"
_FEWEST = 2
"""Fewer profiled networks of this space cannot tell of each other."""
_FOLDS = 5
_MOST_SEGMENTS, _MOST_FOR_PROCESS = 3000, 500
"""Segments that are learned from; of more, so many are drawn at random."""
_LEAST_SHARE = 0.01
"""Segments with a smaller share of a network's latency do not tell of single layers: profilers count microseconds."""
_DEVIATION, _STRENGTHS = 0.06, (0.001, 30.0)
"""How strongly costs are shrunk, as in ``predictors.additive``; many segments determine them, so less is enough."""
_ROUNDS = 5
_EVEN = 1e-9
_LEAST_COST = 0.01
"""The least credible cost, as a share of the quickest profiled network's latency."""
_MOST_WORK = 4_000_000
"""Pairs of layers and operators that are compared; a second's work."""


@final
@dataclass(frozen=True, eq=False)
class _Parts:
    """P segments of networks, with their shares of their networks' latencies ``of_ms``, each of shape (P,).

    ``counts``, shape (P, L), says how often each of L different layers is in each segment. ``groups`` are G different
    groups, ``group_of``, shape (L,), their numbers by layer, ``quantities``, shape (L, Q), those of the layers, and
    ``sums``, shape (P, G, Q), those of the segments. ``owners``, shape (P,), are the numbers of the networks.
    """

    shares: FloatArray
    of_ms: FloatArray
    counts: sparse.csr_array[Any]
    layers: tuple[Layer, ...]
    groups: tuple[LayerGroup, ...]
    group_of: IndexArray
    quantities: FloatArray
    sums: FloatArray
    owners: IndexArray

    @classmethod
    def of(cls, networks: Sequence[ProfiledNetwork], merged: frozenset[str], precision: str = "") -> _Parts:
        """Return the segments of networks, without layers of kinds that the runtime merges; of many, a part of them.

        All ran in one ``precision``; the text is empty where that is no choice.
        """
        found = [(n, network, each) for n, network in enumerate(networks) for each in segments_of(network)]
        found = [found[place] for place in _drawn(len(found), _MOST_SEGMENTS).tolist()]
        numbers: dict[tuple[Layer, LayerGroup], int] = {}
        places: list[tuple[int, int]] = []
        for row, (_, network, segment) in enumerate(found):
            for layer in segment.layers:
                if layer.kind not in merged:
                    key = layer, group_of(layer, network.layers[0], precision)
                    places.append((row, numbers.setdefault(key, len(numbers))))
        groups = {group: number for number, group in enumerate(dict.fromkeys(group for _, group in numbers))}
        group_numbers = np.array([groups[group] for _, group in numbers], dtype=np.int64)
        quantities = np.array([quantities_of(layer) for layer, _ in numbers]).reshape(len(numbers), len(QUANTITIES))
        rows, columns = np.array(places, dtype=np.int64).reshape(-1, 2).T
        sums = np.zeros((len(found), len(groups), len(QUANTITIES)))
        np.add.at(sums, (rows, group_numbers[columns]), quantities[columns])
        return cls(
            shares=np.array([segment.ms / network.latency_ms for _, network, segment in found]),
            of_ms=np.array([network.latency_ms for _, network, _ in found]),
            counts=sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(found), len(numbers))),
            layers=tuple(layer for layer, _ in numbers),
            groups=tuple(groups),
            group_of=group_numbers,
            quantities=quantities,
            sums=sums,
            owners=np.array([number for number, _, _ in found], dtype=np.int64),
        )

    @property
    def networks(self) -> IndexArray:
        """The numbers of the networks that have a segment."""
        return np.unique(self.owners)

    def fit(self, left_out: IndexArray | None = None) -> LayerCosts:
        """Return the costs with the least squared error of segments, relative to their networks' latencies.

        Segments of the networks with the numbers ``left_out`` do not count.
        """
        rows = np.arange(len(self.owners)) if left_out is None else np.flatnonzero(~np.isin(self.owners, left_out))
        of_ms, shares = self.of_ms[rows], self.shares[rows]
        places, parents, terms = terms_of(self.groups, self.sums[rows] / of_ms[:, None, None])
        by_place = _solve(terms, parents, shares).reshape(len(places), len(QUANTITIES))
        costs = LayerCosts(dict(zip(places, by_place, strict=True)))
        each = zip(self.group_of.tolist(), self.quantities, strict=True)
        by_layer = np.array([costs.of_group(self.groups[group], quantities) for group, quantities in each])
        predicted = np.asarray(self.counts[rows] @ by_layer)
        # Each layer's own relative error follows from the segments that take long enough.
        long = np.flatnonzero((predicted > _LEAST_SHARE * of_ms) & (shares > 0))
        long = long[_drawn(len(long), _MOST_FOR_PROCESS)]
        parts = self.counts[rows[long]].toarray() * by_layer / predicted[long, None]
        return LayerCosts(
            costs.by_place, fit_layer_process(self.layers, parts, shares[long] * of_ms[long] / predicted[long] - 1)
        )


@final
@dataclass(frozen=True, eq=False)
class _Profiled:
    """The costs by all profiles, and those of profiled networks by the others' profiles; none is below ``least_ms``.

    Where the precision is a choice, each has ``costs`` of its own, and layers in another one cost nothing in these.
    """

    space: Describer
    costs: Sequence[LayerCosts]
    least_ms: float
    unseen: Mapping[Architecture, float] = field(default_factory=dict)

    def logs(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return logarithms of the costs in milliseconds, shape (N,)."""
        described = self.space.describe(architectures)
        sums = np.sum([costs.sums(described) for costs in self.costs], axis=0).tolist()
        found = [self.unseen.get(each, own) for each, own in zip(architectures, sums, strict=True)]
        logs: FloatArray = np.log(np.maximum(found, self.least_ms))
        return logs


@one_thread()
def profiled_costs(
    space: Describer, samples: Iterable[Architecture], networks: Sequence[ProfiledNetwork]
) -> list[Given]:
    """Return what every architecture costs by profiles of this space, and then by those of others, if there are any.

    Networks of this run that are not among the ``samples`` are left out, so that a fit to fewer samples knows less. The
    costs of a sample come from the other networks' profiles, since other architectures have none. Where the precision
    is a choice, networks of other runs are left out, and nothing is told before each precision has profiles.
    """
    sampled = set(samples)
    # The same network may have run earlier, in this space or another: it must not tell of itself.
    known = {network.layers for network in networks if network.is_of_run}
    others = [each for each in networks if not each.is_of_run and each.layers not in known]
    others = [] if space.chooses_precision else apart_from(others, space, sampled)
    own = [each for each in networks if each.is_of_run and each.architecture in sampled]
    found = []
    of_space = _of_space(space, [*own, *(each for each in others if each.architecture is not None)])
    if of_space is not None:
        found.append(Given(OWN, of_space.logs, is_cost=True))
    elsewhere = _elsewhere(tuple(each for each in others if each.architecture is None), space.merged)
    if elsewhere is not None:
        least_ms, costs = elsewhere
        found.append(Given(ELSEWHERE, _Profiled(space, [costs], least_ms).logs, is_cost=True))
    return found


def _of_space(space: Describer, networks: Sequence[ProfiledNetwork]) -> _Profiled | None:
    """Return what architectures cost by profiles of their space; None if those in a precision are too few."""
    costs: list[LayerCosts] = []
    unseen: dict[Architecture, float] = {}
    least_ms = math.inf
    for precision in space.precisions:
        ran = _affordable([network for network in networks if _precision(space, network) == precision])
        parts = _Parts.of(ran, space.merged, precision)
        if len(parts.networks) < _FEWEST:
            return None
        costs.append(parts.fit())
        unseen |= _unseen(space, ran, parts)
        least_ms = min(least_ms, _LEAST_COST * float(parts.of_ms.min()))
    return _Profiled(space, costs, least_ms, unseen)


def _precision(space: Describer, network: ProfiledNetwork) -> str | None:
    return None if network.architecture is None else space.precision_of(network.architecture)


def _unseen(space: Describer, networks: Sequence[ProfiledNetwork], parts: _Parts) -> dict[Architecture, float]:
    """Return what each network of the run costs by the profiles of others."""
    numbers = np.array([number for number in parts.networks.tolist() if networks[number].is_of_run], dtype=np.int64)
    found: dict[Architecture, float] = {}
    if not len(numbers):
        return found
    for fold in np.array_split(np.random.default_rng(0).permutation(numbers), min(_FOLDS, len(numbers))):
        names = [name for number in fold.tolist() if (name := networks[number].architecture) is not None]
        found.update(zip(names, parts.fit(fold).sums(space.describe(names)).tolist(), strict=True))
    return found


@lru_cache(maxsize=8)
def _elsewhere(networks: tuple[ProfiledNetwork, ...], merged: frozenset[str]) -> tuple[float, LayerCosts] | None:
    """Return the least credible and the fitted costs by profiles of other spaces; None if none of these is understood.

    They are the same in every fit of a search, so they are kept.
    """
    parts = _Parts.of(_affordable(networks), merged)
    return (_LEAST_COST * float(parts.of_ms.min()), parts.fit()) if len(parts.owners) else None


def _affordable(networks: Sequence[ProfiledNetwork]) -> list[ProfiledNetwork]:
    """Return so many of the networks, drawn at random, that matching their operators takes a second at most."""
    order = np.random.default_rng(0).permutation(len(networks)).tolist()
    work = np.cumsum([len(networks[place].layers) * len(networks[place].operators) for place in order])
    kept = sorted(order[: max(_FEWEST, int((work <= _MOST_WORK).sum()))])
    return [networks[place] for place in kept]


def _solve(terms: FloatArray, parents: IndexArray, shares: FloatArray) -> FloatArray:
    """Return a cost for each column of ``terms``, shape (S, C), whose sums are ``shares``, shape (S,)."""
    if not shares.any():
        return np.zeros(terms.shape[1])
    scale = np.sqrt((terms**2).mean(axis=0))
    used = scale > 0
    unit = scale[parents][used]
    columns = terms[:, used] / unit
    shrinking = np.where(parents == np.arange(len(parents)), KIND_SHARE, 1.0)[used]
    weights, strength = np.ones(len(shares)), _STRENGTHS[0]
    solution = np.zeros(columns.shape[1])
    for _ in range(_ROUNDS):
        solution, freedom = shrunk_costs(columns * weights[:, None], shares * weights, strength, shrinking)
        sizes = np.maximum(np.abs(columns @ solution - shares), _EVEN)
        largest = HUBER * DEVIATIONS * float(np.median(sizes))
        variance = float((np.minimum(sizes, largest) ** 2).sum()) / max(len(shares) - freedom, 0.25 * len(shares))
        strength = float(np.clip(variance / float((shares**2).mean()) / _DEVIATION**2, *_STRENGTHS))
        weights = np.sqrt(np.minimum(1.0, largest / sizes))
    costs = np.zeros(len(scale))
    costs[used] = solution / unit
    return costs


def _drawn(count: int, most: int) -> IndexArray:
    """Return at most so many numbers below ``count``, drawn at random, always the same, in their order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))
