"""How far a predictor can be trusted on one target: its held-out error, its worst cases, what to measure next."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nas.errors import RecipeError
from nas.prediction.measure_next import Suggestion, advice, suggestions
from nas.prediction.predictor import (
    MIN_SAMPLES,
    Given,
    HeldOutError,
    Predictor,
    PredictorMethod,
    finite_or_none,
    given_by,
)
from nas.prediction.trust import half_width_at, verdict
from nas.progress import Progress
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.metric import METRICS, Metric
from nas.values.objective import Limit
from nas.values.source import Source

FloatArray = npt.NDArray[np.float64]

MOST_SAMPLES = 300
"""So many measurements are used unless more are asked for: fits and their learning curve then end within minutes."""
CURVE_SIZES = 5
WORST = 8
"""So many of the worst predictions are in the form for programs."""
SMALLEST_SHARE = 0.15
"""The learning curve begins at this share of the samples."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Measured values of one metric on one target, shape (N,), and what a predictor may learn from beside them.

    ``measured`` counts all that there are, of which these are a random part where it is more than N.
    """

    metric: Metric
    target: str
    architectures: Sequence[Architecture]
    values: FloatArray
    measured: int
    sources: Sequence[Source] = ()
    given: Sequence[Given] = ()

    def take(self, index: npt.NDArray[np.int64]) -> Samples:
        """Those at ``index``."""
        chosen = [self.architectures[i] for i in index.tolist()]
        return replace(self, architectures=chosen, values=self.values[index])


@dataclass(frozen=True)
class Case:
    """One measured architecture, and what was predicted of it by a predictor that had not seen it."""

    architecture: Architecture
    measured: float
    mean: float
    lower: float
    upper: float

    @property
    def relative_error(self) -> float:
        """Predicted over measured, less 1."""
        return self.mean / self.measured - 1


@dataclass(frozen=True, eq=False)
class MeasuredDevice:
    """What was measured on one target.

    ``values`` holds for each metric what was measured by architecture, ``sources`` other targets' values of it, and
    ``pool`` architectures of which it could be measured next. ``latencies`` are all known ones, a feature of energy.
    """

    space: Describer
    target: str
    values: Mapping[str, Mapping[Architecture, float]]
    limits: Sequence[Limit] = ()
    sources: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    pool: Mapping[str, Sequence[Architecture]] = field(default_factory=dict)
    latencies: Mapping[Architecture, float] = field(default_factory=dict)


@final
@dataclass(frozen=True, eq=False)
class TrustReport:
    """What is known of one predictor of one metric.

    ``cases`` hold every sample, the largest relative error first. ``curve`` holds the held-out errors of predictors of
    ever more samples, the last of all. ``doubts`` are reasons not to rely on it, none where it is good enough for
    ``limits``; ``advice`` says what to do about them. ``half_width`` is half the width of the bounds where they are
    widest of those near a limit, relative to the mean; without a limit the median of all.
    """

    metric: Metric
    target: str
    method: str
    sources: tuple[str, ...]
    limits: tuple[Limit, ...]
    measured: int
    held_out: HeldOutError
    cases: tuple[Case, ...]
    curve: tuple[HeldOutError, ...]
    suggestions: tuple[Suggestion, ...]
    doubts: tuple[str, ...]
    advice: str
    half_width: float

    def to_json(self) -> dict[str, Any]:
        """Plain data for programs; what does not exist is null."""
        return {
            "metric": self.metric.name,
            "target": self.target,
            "predictor": self.method,
            "sources": list(self.sources),
            "limits": [str(limit) for limit in self.limits],
            "measured": self.measured,
            "held_out": self.held_out.to_json(),
            "good_enough": not self.doubts,
            "doubts": list(self.doubts),
            "advice": self.advice,
            "half_width": finite_or_none(self.half_width),
            "learning_curve": [each.to_json() for each in self.curve],
            "worst": [_case_json(case) for case in self.cases[:WORST]],
            "measure_next": [each.to_json() for each in self.suggestions],
        }


def trust_reports(
    data: MeasuredDevice,
    method: PredictorMethod,
    name: str,
    *,
    limits: Sequence[Limit],
    most: int,
    seed: int,
    progress: Progress,
) -> list[tuple[TrustReport, Predictor]]:
    """For each metric of ``data`` the predictor that ``method``, called ``name``, fits to it, and the report on it.

    At most ``most`` of the measurements are used. Energy is predicted from the latency too, where that was measured.

    Raises:
        RecipeError: too few values for a predictor, or one that is not positive.
    """
    samples_by_metric = {
        name: samples_of(METRICS[name], data.target, values, most=most, seed=seed, sources=data.sources.get(name, ()))
        for name, values in data.values.items()
    }
    found = []
    for metric_name, samples in samples_by_metric.items():
        progress.stage(f"fitting predictors of {samples.metric.title.lower()}", CURVE_SIZES)
        samples = replace(samples, given=_given(metric_name, data, method, most, seed))
        predictor = fit_to(samples, data.space, method, seed)
        report = report_on(
            predictor,
            samples,
            data.space,
            method,
            name=name,
            limits=limits,
            pool=data.pool.get(metric_name, ()),
            seed=seed,
            advance=progress.advance,
        )
        progress.close()
        found.append((report, predictor))
    return found


def _given(metric: str, data: MeasuredDevice, method: PredictorMethod, most: int, seed: int) -> tuple[Given, ...]:
    if metric != "energy_mj" or len(data.latencies) < MIN_SAMPLES:
        return ()
    samples = samples_of(METRICS["latency_ms"], data.target, data.latencies, most=most, seed=seed)
    predictor = fit_to(samples, data.space, method, seed)
    return (given_by("latency_ms", predictor, samples.architectures),)


def samples_of(
    metric: Metric,
    target: str,
    values: Mapping[Architecture, float],
    *,
    most: int,
    seed: int,
    sources: Sequence[Source] = (),
) -> Samples:
    """At most ``most`` of the measured ``values``, drawn at random where there are more.

    Raises:
        RecipeError: fewer than a predictor needs, or a value that is not positive.
    """
    what = f"{metric.name} on {target}"
    if len(values) < MIN_SAMPLES:
        raise RecipeError(f"a predictor needs {MIN_SAMPLES} measured architectures, but {what} has {len(values)}.")
    strange = [value for value in values.values() if not 0 < value < math.inf]
    if strange:
        raise RecipeError(f"a predictor is fitted to positive values, but {what} has {strange[0]:g}.")
    samples = Samples(metric, target, list(values), np.array(list(values.values())), len(values), tuple(sources))
    if len(values) <= most:
        return samples
    drawn = np.random.default_rng((seed, 0)).choice(len(values), most, replace=False)
    return samples.take(np.sort(drawn))


def fit_to(samples: Samples, space: Describer, method: PredictorMethod, seed: int) -> Predictor:
    """The predictor that ``method`` fits to these samples."""
    return method(
        space,
        samples.architectures,
        samples.values,
        target=samples.target,
        sources=samples.sources,
        given=samples.given,
        seed=seed,
    )


def report_on(
    predictor: Predictor,
    samples: Samples,
    space: Describer,
    method: PredictorMethod,
    *,
    name: str,
    limits: Sequence[Limit],
    pool: Sequence[Architecture],
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> TrustReport:
    """The report on a ``predictor`` that ``method``, called ``name``, fitted to ``samples``.

    ``limits`` on other metrics are passed over. ``pool`` holds architectures that could be measured next. ``advance``
    is called ``CURVE_SIZES`` times.
    """
    own = tuple(limit for limit in limits if limit.metric.name == samples.metric.name)
    curve = learning_curve(predictor, samples, space, method, seed, advance)
    each = predictor.held_out_predictions
    half_width = max((half_width_at(limit, each) for limit in own), default=predictor.held_out.width / 2)
    doubts = tuple(verdict(samples.metric, predictor.held_out, each, own))
    suggested = suggestions(predictor, space, own, pool)
    unused = samples.measured - len(samples.values)
    return TrustReport(
        metric=samples.metric,
        target=samples.target,
        method=name,
        sources=tuple(source.target for source in samples.sources),
        limits=own,
        measured=samples.measured,
        held_out=predictor.held_out,
        cases=_cases(predictor, samples),
        curve=curve,
        suggestions=suggested,
        doubts=doubts,
        advice=advice(curve, half_width, unused=unused, suggested=bool(suggested)) if doubts else "",
        half_width=half_width,
    )


def learning_curve(
    predictor: Predictor,
    samples: Samples,
    space: Describer,
    method: PredictorMethod,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> tuple[HeldOutError, ...]:
    """Held-out errors of predictors of nested random parts of the samples, the smallest first.

    Up to ``CURVE_SIZES`` sizes, each larger than the one before by the same factor; the last is ``predictor`` itself.
    """
    total = len(samples.values)
    smallest = max(MIN_SAMPLES, round(SMALLEST_SHARE * total))
    sizes = sorted({round(size) for size in np.geomspace(min(smallest, total), total, CURVE_SIZES)})
    order = np.random.default_rng((seed, 1)).permutation(total)
    curve = []
    for size in sizes[:-1]:
        curve.append(fit_to(samples.take(np.sort(order[:size])), space, method, seed).held_out)
        advance()
    advance()
    return (*curve, predictor.held_out)


def _cases(predictor: Predictor, samples: Samples) -> tuple[Case, ...]:
    held_out = predictor.held_out_predictions
    rows = zip(
        samples.architectures,
        samples.values.tolist(),
        held_out.mean.tolist(),
        held_out.lower.tolist(),
        held_out.upper.tolist(),
        strict=True,
    )
    return tuple(sorted((Case(*row) for row in rows), key=lambda case: -abs(case.relative_error)))


def _case_json(case: Case) -> dict[str, Any]:
    return {
        "id": case.architecture.id,
        "architecture": dict(case.architecture),
        "measured": case.measured,
        "predicted": case.mean,
        "lower": finite_or_none(case.lower),
        "upper": finite_or_none(case.upper),
        "relative_error": case.relative_error,
    }
