"""Outliers: measurements that all others contradict, such as one during which the machine was busy with something else.

A predictor is fitted without them, names them, and still says how far off it is for them. Each sample is compared with
what a Gaussian process with usual hyperparameters tells of it from the others. If the difference is many times as large
as the usual one without this sample, the sample is an outlier. The usual difference leaves the sample out, as
externally studentised residuals do (Cook & Weisberg, "Residuals and Influence in Regression", 1982), so that an outlier
cannot hide behind the spread that it causes. The largest is taken first, and then the rest is looked at again. A sample
that the fit without it predicts within a factor of two (three with fewer than ten samples) is used after all, unless
there are many.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from scipy import linalg

from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import MIN_SAMPLES, FloatArray, Given, HeldOut, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.other_target import Source
from predictors.bounded import BoundedPredictor
from predictors.features import check_samples, feature_map
from predictors.processes.kernel import GRAPH, Inputs, Products
from predictors.processes.process import Roots, are_products
from predictors.source_models import models_of, sift

_FARTHEST = 5.0
"""An outlier differs by more than this many times the usual difference.

On NAS-Bench-201 and FBNet, eight devices, 10 to 100 samples: all that take a hundred times or a hundredth of their
time differ by more, and 96 % of those that take three times, but at most 0.4 % of the others.
"""
_LEAST_FACTOR = 2.0
"""An outlier is off by more than this factor, in either direction.

With 1.5, 8 of 400 detectors on an accelerator whose latencies jump were taken for outliers, and none with 2.
"""
_ONE_OF = 10
_LEAST_FACTOR_OF_FEW = 3.0
"""The same for fewer than ten samples. With 2, bounds of eight samples of a made-up device held 85 % of values on
average, because the slowest network was taken for an outlier.
"""
_TOGETHER = 400
"""Most samples that are compared with each other; more are compared in groups of this size at most."""
_EXAMINED = 4
_MOST_TO_RETURN = 200
"""With more samples, the predictor is not fitted again with those that it does tell; few of many are missing then."""
_TRIM, _TRIMMED_DEVIATION = 0.8, 0.66
"""The root mean square of the smallest 80 % of normal variables is 0.66 of their standard deviation."""
_LISTED = 3
TABLE = "table"
"""The target, or its beginning, of a search in a table. Its values are exact."""

IntArray = npt.NDArray[np.int64]


F = TypeVar("F", bound=Callable[..., BoundedPredictor])


def without_outliers(*, by_sources: bool) -> Callable[[F], F]:
    """Return what makes a method fit without outliers, and name them in its predictor's grounds.

    The method is one of ``nas.prediction.predictor.PredictorMethod`` that returns a predictor of this package, and is
    called with samples that were checked. The predictor's held-out predictions are of all samples, and so is their
    number in its held-out error; the errors and the bounds are those of the others. With ``by_sources``, other targets
    and given features help to find outliers.
    """
    return functools.partial(_without_outliers, by_sources=by_sources)


def _without_outliers(fit: F, *, by_sources: bool) -> F:
    @functools.wraps(fit)
    @one_thread()
    def robust(
        space: Describer,
        architectures: Sequence[Architecture],
        values: FloatArray,
        *,
        sources: Sequence[Source] = (),
        given: Sequence[Given] = (),
        seed: int,
        **told: Any,
    ) -> BoundedPredictor:
        def fit_without(outliers: IntArray) -> BoundedPredictor:
            kept = np.delete(np.arange(len(values)), outliers)
            used = [architectures[index] for index in kept.tolist()]
            return fit(space, used, values[kept], sources=sources, given=given, seed=seed, **told)

        values = check_samples(architectures, values)
        known = (sources, given) if by_sources else ((), ())
        inputs = _inputs(space, architectures, *known)
        outliers = find_outliers(inputs, values, seed, are_logs=are_products(space))
        fitted = fit_without(outliers)
        while len(outliers) and len(values) <= _MOST_TO_RETURN:
            predicted = fitted.predict([architectures[index] for index in outliers.tolist()]).mean
            are_confirmed = _factors(values[outliers], predicted) > _least_factor(len(values))
            if are_confirmed.all():
                break
            outliers = outliers[are_confirmed]
            fitted = fit_without(outliers)
        are_exact = str(told.get("target", "")).split(":")[0] == TABLE
        return _told(fitted, outliers, architectures, values, are_exact=are_exact) if len(outliers) else fitted

    return cast(F, robust)


def find_outliers(inputs: Inputs, values: FloatArray, seed: int, *, are_logs: bool = False) -> IntArray:
    """Return the indexes of outliers among N samples with positive values, shape (N,): at most N // 10 of them.

    Of six to nine samples it is one at most, and of fewer none. ``are_logs`` tells that costs multiply rather than add
    up.
    """
    groups = math.ceil(len(values) / _TOGETHER)
    found = [
        part[_outliers_of(inputs.take(part), values[part], are_logs)]
        for part in np.array_split(np.random.default_rng(seed).permutation(len(values)), groups)
    ]
    return np.sort(np.concatenate(found))


def _outliers_of(inputs: Inputs, values: FloatArray, are_logs: bool) -> IntArray:
    most = min(max(1, len(values) // _ONE_OF), len(values) - MIN_SAMPLES)
    covariance = Products(inputs, inputs).covariance(np.log(np.array(GRAPH)))
    noisy = covariance + GRAPH.noise * np.eye(len(values))
    # Too small values stand out in logarithms, and too large ones where costs add up.
    scales = (True,) if are_logs else (False, True)
    kept, found = np.arange(len(values)), list[int]()
    while len(found) < most:
        precision = linalg.inv(noisy[np.ix_(kept, kept)])
        each = [_farthest(precision, values[kept], are_logs=scale) for scale in scales]
        farthest = next((index for index in each if index is not None), None)
        if farthest is None:
            break
        found.append(int(kept[farthest]))
        kept = np.delete(kept, farthest)
    return np.array(found, dtype=np.int64)


def _farthest(precision: FloatArray, values: FloatArray, *, are_logs: bool) -> int | None:
    """Return the index of the sample that differs most from what the others tell, or None if all are plausible.

    ``precision`` is the inverse of the covariance of N samples, shape (N, N).
    """
    roots = Roots.robust(values, are_logs=are_logs)
    scaled = roots(values)
    # Leaving one out has a closed form (Rasmussen & Williams 2006, section 5.4.2).
    weights, variances = precision @ scaled, 1 / np.diag(precision)
    told = np.exp(roots.logs(scaled - weights * variances, np.zeros(len(values)))[0])
    differences = np.abs(weights) * np.sqrt(variances)
    strange = (_factors(values, told) > _least_factor(len(values))) & (np.abs(values - told) > _clock_step(values))
    best, farthest = None, _FARTHEST
    for index in np.argsort(-differences)[:_EXAMINED].tolist():
        if not strange[index]:
            continue
        without = _without(precision, index)
        others = np.abs(without @ np.delete(scaled, index)) / np.sqrt(np.diag(without))
        usual = np.sqrt((np.sort(others)[: math.ceil(_TRIM * len(others))] ** 2).mean()) / _TRIMMED_DEVIATION
        if differences[index] > farthest * usual:
            best, farthest = index, float(differences[index] / usual) if usual > 0 else np.inf
    return best


def _without(precision: FloatArray, index: int) -> FloatArray:
    """Return the inverse of the covariance without one sample, shape (N − 1, N − 1)."""
    kept = np.delete(np.arange(len(precision)), index)
    row = precision[index, kept]
    rest: FloatArray = precision[np.ix_(kept, kept)] - np.outer(row, row) / precision[index, index]
    return rest


def _clock_step(values: FloatArray) -> float:
    """Return the step of a coarse clock, such as whole milliseconds: on average two values share a reading; else 0."""
    distinct = np.unique(values)
    return float(np.diff(distinct).min()) if 1 < len(distinct) <= len(values) / 2 else 0.0


def _inputs(
    space: Describer, architectures: Sequence[Architecture], sources: Sequence[Source], given: Sequence[Given]
) -> Inputs:
    """Return all features of the samples, those of believable sources among them."""
    batch = batch_of(space, architectures, given)
    models = models_of(space, batch, sift(space, tuple(sources)).believable, tuple(given))
    return Inputs.of(feature_map(space).of(batch)) if models is None else Inputs.of(*models.describe(batch))


def _least_factor(samples: int) -> float:
    return _LEAST_FACTOR if samples >= _ONE_OF else _LEAST_FACTOR_OF_FEW


def _factors(values: FloatArray, told: FloatArray) -> FloatArray:
    """Return by which factor of at least 1 each value differs from what is told of it, shape (N,)."""
    factors: FloatArray = np.maximum(told / values, values / told)
    return factors


def _told(
    fitted: BoundedPredictor,
    outliers: IntArray,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    are_exact: bool,
) -> BoundedPredictor:
    """Return the predictor with held-out predictions of all samples, in their order, and a sentence on the outliers."""
    left_out = [architectures[index] for index in outliers.tolist()]
    predicted, seen = fitted.predict(left_out), fitted.held_out_predictions
    order = np.argsort(np.concatenate([np.delete(np.arange(len(values)), outliers), outliers]))
    parts = ((seen.mean, predicted.mean), (seen.lower, predicted.lower), (seen.upper, predicted.upper))
    held_out = HeldOut(values, *(np.concatenate(each)[order] for each in parts))
    sentence = _sentence(left_out, values[outliers], predicted.mean, len(values), are_exact=are_exact)
    error = replace(fitted.held_out, samples=len(values))
    return replace(fitted, held_out=error, held_out_predictions=held_out, grounds=(sentence, *fitted.grounds))


def _sentence(
    left_out: Sequence[Architecture], values: FloatArray, told: FloatArray, samples: int, *, are_exact: bool
) -> str:
    """Return which measurements are left out, and by which factor each differs from what is predicted.

    Exact values are of a table: they are right, and only the predictor learns nothing from them.
    """
    large, small = ("larger", "smaller") if are_exact else ("too large", "too small")
    each = [
        f"{architecture.id}, {_rounded(factor)} times {large if is_large else small}"
        for architecture, factor, is_large in zip(left_out, _factors(values, told), values > told, strict=True)
    ]
    more = [f"{len(each) - _LISTED} more"] if len(each) > _LISTED else []
    are, them = ("is", "it") if len(left_out) == 1 else ("are", "them")
    if are_exact:
        return (
            f"{len(left_out)} of {samples} values {are} left out of the predictor, because the others do not foretell "
            f"{them}: {'; '.join([*each[:_LISTED], *more])}. The table's own value counts wherever it was looked up."
        )
    return (
        f"{len(left_out)} of {samples} measurements {are} left out, because the others contradict {them}: "
        f"{'; '.join([*each[:_LISTED], *more])}. Measure {them} again."
    )


def _rounded(factor: float) -> str:
    return f"{factor:,.0f}" if factor >= 10 else f"{factor:.1f}"
