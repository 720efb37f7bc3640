"""Models of sources, which are other targets: their smoothed measurements become features for a new target.

Devices differ in few ways: four principal components of nine devices' latencies hold 99.6 % of the variance over
NAS-Bench-201. So each source gets a model, and the models' predictions are features for a new target. This is
"multi-target" transfer as in HELP (Lee et al., 2021, arXiv:2106.08630), without its fixed set of architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from scipy import linalg

from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import Batch, FloatArray, Given, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.other_target import Source
from predictors.features import Blocks, FeatureMap, check_samples, feature_map
from predictors.processes.kernel import GRAPH, FloatingArray, Inputs, Products, SourceBlocks
from predictors.processes.process import Roots, are_products, settle_shared

_MOST_ROWS = 1000
_CLIPPED = 4.0
"""Values beyond this many standard deviations are clipped, so that one stalled measurement does not spoil a source."""
_NOISES = np.geomspace(1e-4, 3.0, 14)
_MOST_CENTRES = 400
"""Most rows that predictions use as centres of the kernel; with all 900, predicting takes twice as long."""
_LEAST_SKILL, _FEWEST_TO_JUDGE = 0.05, 20
"""Sources with less skill are ignored, if they have this many rows at least; fewer do not show it.

Of 800 rows, shuffled values and random numbers have a skill of at most 0.01, and devices one of at least 0.4.
"""
_RCOND = 1e-7
_KEPT = 1e-6
_MOST_WHITENED = 6


@final
@dataclass(frozen=True)
class SourceGroup:
    """Sources that measured the same architectures; they share a kernel and have ``weights``, shape (rows, sources).

    ``skills``, shape (sources,), say how well each source's values follow from the others of its own rows: 1 if they do
    to the last digit, and 0 if they are no better predicted than by their mean.
    """

    names: tuple[str, ...]
    scales: tuple[Roots, ...]
    skills: FloatArray
    inputs: Inputs
    logs: FloatArray
    weights: FloatingArray

    def predict(self, inputs: Inputs) -> FloatingArray:
        """Return standardised values, shape (N, sources)."""
        return inputs.weighted(self.inputs, self.logs, self.weights.astype(np.float32))


@final
@dataclass(frozen=True, eq=False)
class SourceModels:
    """All sources and given features, as blocks of features."""

    features: FeatureMap
    groups: tuple[SourceGroup, ...]
    centre: FloatArray
    scale: FloatArray
    common_size: float
    axes: FloatArray
    deviations: FloatArray

    def describe(self, batch: Batch) -> tuple[Blocks, SourceBlocks]:
        """Return the features of N architectures."""
        return self.features.of(batch), self._source_blocks(self._values(batch))

    def each(self, batch: Batch) -> list[tuple[str, FloatArray]]:
        """Return what each source alone would say of N architectures: its name, and values, shape (N,), in order."""
        names = [name for group in self.groups for name in group.names]
        return list(zip(names, self._values(batch).T[: len(names)], strict=True))

    @property
    def are_products(self) -> bool:
        """True if costs multiply in this space, as ``predictors.processes.process.are_products`` says."""
        return any(scale.are_logs for group in self.groups for scale in group.scales)

    def logs(self, batch: Batch) -> FloatArray:
        """Return logarithms of what N architectures cost on the sources, relative to medians, shape (N, sources)."""
        scales = [scale for group in self.groups for scale in group.scales]
        values = zip(scales, self.each(batch), strict=True)
        logs = [scale.logs(each, np.zeros(len(each)))[0] - scale.log_median for scale, (_, each) in values]
        return np.column_stack([np.empty((len(batch), 0)), *logs])

    def _values(self, batch: Batch) -> FloatArray:
        """Return the predictions of all sources and the given features, and cache them in the batch."""
        if self not in batch.memo:
            batch.memo[self] = _values(self.groups, self.features.of(batch), batch)
        values: FloatArray = batch.memo[self]
        return values

    def _source_blocks(self, values: FloatArray) -> SourceBlocks:
        standardised = (values - self.centre) * self.scale
        components = standardised @ self.axes
        whitened = components[:, :_MOST_WHITENED] / self.deviations[:_MOST_WHITENED]
        return SourceBlocks(
            common=standardised.mean(axis=1, keepdims=True) / self.common_size,
            components=components / np.sqrt((self.deviations**2).sum()),
            whitened=whitened / np.sqrt(whitened.shape[1]),
        )


@lru_cache(maxsize=16)
def source_models(space: Describer, sources: tuple[Source, ...], given: tuple[Given, ...]) -> SourceModels:
    """Return models of the sources, fitted once for all targets that learn from them.

    Raises:
        ValueError: a source with too few values, or with a value that is not positive and finite.
    """
    seen = list(dict.fromkeys(a for source in sources for a in source.architectures))
    return _centred(feature_map(space), _fit_groups(space, sources), batch_of(space, seen, given))


def models_of(
    space: Describer, batch: Batch, sources: tuple[Source, ...], given: tuple[Given, ...]
) -> SourceModels | None:
    """Return models of believable sources and given features, centred over the samples in ``batch`` if given alone.

    None if there is neither.
    """
    if sources:
        return source_models(space, sources, given)
    return given_alone(space, batch) if given else None


@final
@dataclass(frozen=True)
class Sifted:
    """Sources whose values follow from their own layers and options, and the names of the others, which are noise."""

    believable: tuple[Source, ...]
    ignored: tuple[str, ...]


@lru_cache(maxsize=16)
def sift(space: Describer, sources: tuple[Source, ...]) -> Sifted:
    """Return which sources can tell something of other targets, before the first measurement there.

    If a source's own values cannot be told from the rest of its rows, another target's cannot be told from it either.
    Raises ValueError as ``source_models`` does.
    """
    pairs = zip(_grouped(sources), _fit_groups(space, sources), strict=True)
    skilled = {
        source: skill >= _LEAST_SKILL or len(source.values) < _FEWEST_TO_JUDGE
        for members, group in pairs
        for source, skill in zip(members, group.skills.tolist(), strict=True)
    }
    believable = tuple(source for source in sources if skilled[source])
    return Sifted(believable, tuple(source.target for source in sources if not skilled[source]))


@lru_cache(maxsize=16)
def _fit_groups(space: Describer, sources: tuple[Source, ...]) -> tuple[SourceGroup, ...]:
    """Fit the sources' models. They are cached separately, because ``given`` is a new object after each latency fit."""
    for source in sources:
        try:
            check_samples(source.architectures, source.values)
        except ValueError as error:
            raise ValueError(f"source {source.target}: {error}") from error
    return tuple(_fit_group(space, feature_map(space), members) for members in _grouped(sources))


def _grouped(sources: Sequence[Source]) -> list[list[Source]]:
    """Return the sources, those that measured the same architectures together."""
    groups: dict[tuple[str, ...], list[Source]] = {}
    for source in sources:
        groups.setdefault(tuple(a.id for a in source.architectures), []).append(source)
    return list(groups.values())


def given_alone(space: Describer, batch: Batch) -> SourceModels:
    """Return given features without any sources, centred over the samples in ``batch``."""
    return _centred(feature_map(space), (), batch)


def _centred(features: FeatureMap, groups: tuple[SourceGroup, ...], batch: Batch) -> SourceModels:
    """Return source models whose blocks are centred, scaled and rotated over the architectures of ``batch``."""
    values = _values(groups, features.of(batch), batch)
    centre, spread = values.mean(axis=0), values.std(axis=0)
    scale = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0.0)
    standardised = (values - centre) * scale
    _, sizes, axes = np.linalg.svd(standardised, full_matrices=False)
    kept = max(1, int((sizes**2 > _KEPT * (sizes**2).sum()).sum()))
    deviations = np.maximum(sizes[:kept] / np.sqrt(len(batch)), 1e-9)
    common_size = max(float(standardised.mean(axis=1).std()), 1e-9)
    return SourceModels(features, groups, centre, scale, common_size, axes[:kept].T, deviations)


@one_thread()
def logs_elsewhere(space: Describer, architectures: Sequence[Architecture], sources: Sequence[Source]) -> FloatArray:
    """Return logarithms of what N architectures cost on believable sources, relative to medians, shape (N, sources)."""
    believable = sift(space, tuple(sources)).believable
    if not believable:
        return np.empty((len(architectures), 0))
    return source_models(space, believable, ()).logs(batch_of(space, architectures))


def _fit_group(space: Describer, features: FeatureMap, sources: Sequence[Source]) -> SourceGroup:
    """Fit one kernel to all sources; each source gets the noise with the smallest held-out error."""
    rng = np.random.default_rng(0)
    # Rows are drawn at random, because tables may be sorted.
    count = len(sources[0].architectures)
    rows = np.arange(count) if count <= _MOST_ROWS else np.sort(rng.choice(count, _MOST_ROWS, replace=False))
    architectures = [sources[0].architectures[row] for row in rows.tolist()]
    are_logs = are_products(space)
    scales = tuple(Roots.of(source.values[rows], are_logs=are_logs) for source in sources)
    scaled = [scale(source.values[rows]) for scale, source in zip(scales, sources, strict=True)]
    targets = np.clip(np.column_stack(scaled), -_CLIPPED, _CLIPPED)
    inputs = Inputs.of(features(space.describe(architectures)))
    logs = settle_shared(inputs, targets, GRAPH, rng)
    covariance = Products(inputs, inputs).covariance(logs)
    values, vectors = linalg.eigh(covariance, check_finite=False)
    values = np.maximum(values, 0.0)
    smoothed = [_smoothed(values, vectors, targets[:, index]) for index in range(len(sources))]
    smooth = np.column_stack([smooth for smooth, _ in smoothed])
    kept = np.sort(rng.choice(len(inputs), min(_MOST_CENTRES, len(inputs)), replace=False))
    weights, *_ = np.linalg.lstsq(covariance[:, kept], smooth, rcond=_RCOND)
    names = tuple(source.target for source in sources)
    return SourceGroup(
        names, scales, np.array([skill for _, skill in smoothed]), inputs.take(kept).as_type(np.float32), logs, weights
    )


def _smoothed(values: FloatArray, vectors: FloatArray, targets: FloatArray) -> tuple[FloatArray, float]:
    """Return the values without noise, and the skill: the share of their variance that left-out rows still have.

    The noise has the smallest squared error when each row is left out.
    """
    turned = vectors.T @ targets
    best, least = np.zeros_like(targets), np.inf
    for noise in _NOISES:
        weights = vectors @ (turned / (values + noise))
        left_out = weights / ((vectors**2) @ (1 / (values + noise)))
        error = float((left_out**2).mean())
        if error < least:
            best, least = targets - noise * weights, error
    return best, (max(0.0, 1 - least / float(targets.var())) if targets.any() else 0.0)


def _values(groups: Sequence[SourceGroup], blocks: Blocks, batch: Batch) -> FloatArray:
    """Return the predictions of all sources and the given features, shape (N, sources + given)."""
    inputs = Inputs.of(blocks, dtype=np.float32)
    columns = [group.predict(inputs) for group in groups]
    return np.hstack([*columns, batch.given]).astype(np.float64)
