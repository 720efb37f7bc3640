"""Features of an architecture: the options it takes, and sums over the layers of its graph.

Features come in blocks. Each block is centred over the space's population. It is scaled so that the mean squared
distance to the centre is 1 whatever its number of columns, which makes weights of blocks comparable.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, final

import numpy as np

from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import MIN_SAMPLES, Batch, FloatArray
from nas.space.architecture import Architecture, Choice
from nas.space.description import QUANTITIES, Describer, Descriptions, IntArray, LayerGroup
from nas.space.name_parts import is_of_names, part_columns
from nas.space.search_space import HasCanonical

_KEPT_VARIANCE = 1 - 1e-5
_MOST_COMPONENTS = 30
_LEAST_SPREAD = 1e-5
"""Columns that vary less than this, relative to their mean, are left out: single precision would only show rounding."""


@final
@dataclass(frozen=True)
class Projection:
    """A projection that standardises columns, rotates them to their principal components, and scales the block."""

    centre: FloatArray
    turn: FloatArray

    @classmethod
    def of(cls, columns_ND: FloatArray) -> Projection:
        """Return the projection whose components, at most 30, hold all but 1e-5 of the variance of these rows."""
        if not columns_ND.shape[1]:
            return cls(np.empty(0), np.zeros((0, 1)))
        centre = columns_ND.mean(axis=0)
        spread = columns_ND.std(axis=0)
        varies = spread > _LEAST_SPREAD * np.maximum(1.0, np.abs(centre))
        weights = np.zeros_like(spread)
        weights[varies] = 1 / spread[varies]
        standardised = (columns_ND - centre) * weights
        _, sizes, axes = np.linalg.svd(standardised, full_matrices=False)
        variance = np.cumsum(sizes**2)
        if not varies.any() or variance[-1] <= 0:
            return cls(centre, np.zeros((columns_ND.shape[1], 1)))
        count = min(_MOST_COMPONENTS, int(np.searchsorted(variance, _KEPT_VARIANCE * variance[-1])) + 1)
        size = np.sqrt(variance[count - 1] / len(columns_ND))
        return cls(centre, (weights[:, None] * axes[:count].T) / size)

    def __call__(self, columns_ND: FloatArray) -> FloatArray:
        """Return the scaled components, shape (N, components)."""
        precision = columns_ND.dtype
        turned: FloatArray = (columns_ND - self.centre.astype(precision)) @ self.turn.astype(precision)
        return turned


@final
@dataclass(frozen=True)
class Graph:
    """Sums over the layers of a graph by group, kind, stage and in total, as logarithms and as plain values.

    Numbers that a space knows of its architectures beforehand stand beside the sums.
    """

    groups: tuple[LayerGroup, ...]
    gather: FloatArray  # (groups, places): 1 if the place includes the group
    logs: Projection
    plain: Projection

    @classmethod
    def of(cls, population: Descriptions) -> Graph:
        """Return the places and projections for graphs like those of ``population``."""
        places: dict[Hashable, list[int]] = {}
        for index, group in enumerate(population.groups):
            # The precision is left out: samplers predict errors from these sums, and errors hardly depend on it.
            variant = (group.kind, group.kernel, group.sharing)
            for place in (
                ("all",),
                ("stage", group.stage),
                ("kind", *variant),
                ("both", group.stage, *variant),
            ):
                places.setdefault(place, []).append(index)
        gather = np.zeros((len(population.groups), len(places)))
        for column, members in enumerate(places.values()):
            gather[members, column] = 1.0
        sums = _placed(population.layer_sums, gather)
        logs = Projection.of(np.hstack([np.log1p(sums), population.log_numbers]))
        return cls(population.groups, gather, logs, Projection.of(np.hstack([sums, population.numbers])))

    def __call__(self, descriptions: Descriptions) -> tuple[FloatArray, FloatArray]:
        """Return the block of logarithms and that of plain sums, each of shape (N, components)."""
        sums = descriptions.layer_sums
        if descriptions.groups != self.groups:
            sums = descriptions.sums_by(self.groups)
        placed = _placed(sums.astype(np.float32), self.gather.astype(np.float32))
        numbers, logs = descriptions.numbers.astype(np.float32), descriptions.log_numbers.astype(np.float32)
        return self.logs(np.hstack([np.log1p(placed), logs])), self.plain(np.hstack([placed, numbers]))


@final
@dataclass(frozen=True)
class Blocks:
    """All features of N architectures, by block.

    ``written`` are one-hot options; of choices that name architectures, the parts of the names. ``live`` are the same
    without options that change nothing; this block has no columns in spaces where every choice takes effect.
    ``…_counts`` count options among the choices that share them, so that experience with an operation at one place
    helps at others. ``graph_logs`` and ``graph_sums`` describe the layers, and numbers that are known beforehand.
    """

    written: FloatArray
    written_counts: FloatArray
    live: FloatArray
    live_counts: FloatArray
    graph_logs: FloatArray
    graph_sums: FloatArray

    def __len__(self) -> int:
        return len(self.written)

    @property
    def effective(self) -> FloatArray:
        """One-hot options without options that change nothing."""
        return self.live if self.live.shape[1] > 0 else self.written

    def take(self, index: Any) -> Blocks:
        """Return the rows at ``index``."""
        return Blocks(*(getattr(self, each.name)[index] for each in fields(self)))


@final
class FeatureMap:
    """Maps descriptions of a space's architectures to ``Blocks``, centred and scaled over ``population``."""

    def __init__(self, space: Describer, population: Descriptions) -> None:
        self._prunes = isinstance(space.space, HasCanonical)
        self._codes = tuple(_codes(choice) for choice in space.choices)
        self._pools = _pools(space.choices)
        self._graph = Graph.of(population)
        self._count_centre = _counts(population.options, self._pools).mean(axis=0)
        counts = _counts(population.options, self._pools) - self._count_centre
        size = float(np.sqrt((counts**2).sum(axis=1).mean())) if counts.size else 0.0
        self._count_scale = 1 / size if size > 0 else 0.0

    def of(self, batch: Batch) -> Blocks:
        """Return the features of a batch, and cache them in it."""
        if self not in batch.memo:
            batch.memo[self] = self(batch.descriptions)
        blocks: Blocks = batch.memo[self]
        return blocks

    @one_thread()
    def __call__(self, descriptions: Descriptions) -> Blocks:
        """Return the features of N described architectures."""
        logs, sums = self._graph(descriptions)
        nothing = np.empty((len(descriptions), 0))
        return Blocks(
            written=_coded(descriptions.options, self._codes),
            written_counts=self._centred_counts(descriptions.options),
            live=_coded(descriptions.live_options, self._codes) if self._prunes else nothing,
            live_counts=self._centred_counts(descriptions.live_options) if self._prunes else nothing,
            graph_logs=logs,
            graph_sums=sums,
        )

    def _centred_counts(self, options: IntArray) -> FloatArray:
        counts: FloatArray = (_counts(options, self._pools) - self._count_centre) * self._count_scale
        return counts


@lru_cache(maxsize=16)
@one_thread()
def feature_map(space: Describer) -> FeatureMap:
    """Return the feature map of a space, centred over its population."""
    return FeatureMap(space, space.describe(space.population()))


def check_samples(architectures: Sequence[Architecture], values: FloatArray) -> FloatArray:
    """Return the values as floats, shape (N,).

    Raises:
        ValueError: fewer than ``MIN_SAMPLES``, unequal numbers of values and architectures, or a value that is not
            positive and finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(architectures),):
        raise ValueError(
            f"values must have one value for each architecture, shape ({len(architectures)},), but got {values.shape}."
        )
    if len(values) < MIN_SAMPLES:
        raise ValueError(f"a predictor must be fitted to at least {MIN_SAMPLES} samples, but got {len(values)}.")
    unfit = values[~(np.isfinite(values) & (values > 0))]
    if len(unfit):
        raise ValueError(f"values must be positive and finite, but got {unfit[0]}.")
    return values


def _placed(sums: FloatArray, gather: FloatArray) -> FloatArray:
    """Return sums by place, shape (N, places quantities), from ``layer_sums``."""
    placed: FloatArray = np.einsum("ngq,gp->npq", sums, gather, optimize=True)
    return placed.reshape(len(sums), gather.shape[1] * len(QUANTITIES))


def _codes(choice: Choice) -> FloatArray:
    """Return the columns of each option of a choice, shape (options, columns), each row of length 1 at most."""
    if is_of_names(choice):
        return part_columns([str(option) for option in choice.options])
    return np.eye(len(choice.options))


def _coded(options: IntArray, codes: Sequence[FloatArray]) -> FloatArray:
    """Return the columns of all choices, scaled so that an architecture's product with itself is at most 1."""
    columns = np.zeros((len(options), sum(code.shape[1] for code in codes)))
    start = 0
    for choice, code in enumerate(codes):
        active = np.flatnonzero(options[:, choice] >= 0)
        columns[active, start : start + code.shape[1]] = code[options[active, choice]]
        start += code.shape[1]
    scaled: FloatArray = columns / np.sqrt(max(len(codes), 1))
    return scaled


def _pools(choices: Sequence[Choice]) -> tuple[Mapping[int, int], int]:
    """Return the column of the first option of each choice that shares its options, and the number of columns."""
    by_options: dict[tuple[object, ...], list[int]] = {}
    for index, choice in enumerate(choices):
        by_options.setdefault(choice.options, []).append(index)
    start: dict[int, int] = {}
    width = 0
    for options, members in by_options.items():
        if len(members) > 1:
            start |= dict.fromkeys(members, width)
            width += len(options)
    return start, width


def _counts(options: IntArray, pools: tuple[Mapping[int, int], int]) -> FloatArray:
    """Count how often each option is taken among the choices that share it, shape (N, columns)."""
    start, width = pools
    counts = np.zeros((len(options), width))
    rows = np.arange(len(options))
    for choice, column in start.items():
        taken = options[:, choice]
        active = taken >= 0
        counts[rows[active], column + taken[active]] += 1.0
    return counts
