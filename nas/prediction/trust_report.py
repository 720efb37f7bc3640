"""Trust reports: the held-out error of a predictor on one target, its worst cases, and what to measure next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from nas.prediction.next_measurements import SUGGESTED, Suggestion, advice, further_samples, suggestions
from nas.prediction.predictor import MIN_SAMPLES, Given, Predictor, PredictorMethod, given_by, grounds_of
from nas.prediction.samples import MeasuredDevice, Samples, fit_to, samples_of
from nas.prediction.trust import half_width_at, verdict, warning_about
from nas.progress import Progress
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.held_out import HeldOutError, finite_or_none
from nas.values.metric import METRICS, Metric
from nas.values.objective import Limit
from nas.values.profiled_network import LATENCY

CURVE_SIZES = 5
SMALLEST_SHARE = 0.15
"""Share of the samples at which the learning curve begins."""
WORST = 8
"""Number of the worst predictions that ``TrustReport.to_json`` includes."""


@dataclass(frozen=True)
class Case:
    """One measured architecture, with the prediction of a predictor that had not seen it."""

    architecture: Architecture
    measured: float
    mean: float
    lower: float
    upper: float

    @property
    def relative_error(self) -> float:
        """Predicted value divided by measured value, minus 1."""
        return self.mean / self.measured - 1

    @property
    def is_within(self) -> bool:
        """True if the measured value lies within the predicted bounds."""
        return self.lower <= self.measured <= self.upper


@final
@dataclass(frozen=True, eq=False)
class TrustReport:
    """Evidence for or against relying on one predictor of one metric.

    ``cases`` hold every sample, the largest relative error first. ``curve`` holds held-out errors for growing numbers
    of samples; its last entry uses all of them. ``doubts`` are reasons not to rely on the predictor, and ``advice``
    says what to do about them. There are no doubts if the predictor is good enough for ``limits``. ``to_measure`` are
    as many architectures as the advice asks for, the ``suggestions`` first. ``grounds`` say what predictions rest on.

    ``half_width`` is half the width of the bounds, relative to the mean, at the limit where they are widest. Without a
    limit it is the median over all samples.
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
    to_measure: tuple[Architecture, ...]
    doubts: tuple[str, ...]
    advice: str
    half_width: float
    grounds: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data for programs; a value that does not exist is null."""
        return {
            "metric": self.metric.name,
            "target": self.target,
            "predictor": self.method,
            "sources": list(self.sources),
            "grounds": list(self.grounds),
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
    """Fit a predictor to each metric of ``data``, and return it with the report on it.

    ``method`` fits the predictor; ``name`` is its name in the report. At most ``most`` measurements of a metric are
    used. If latency was measured, it is a feature for predicting energy.

    Raises:
        RecipeError: too few values for a predictor, or a value that is not positive.
    """
    samples_by_metric = {
        name: samples_of(METRICS[name], data.target, values, most=most, seed=seed, sources=data.sources.get(name, ()))
        for name, values in data.values.items()
    }
    found = []
    for metric_name, samples in samples_by_metric.items():
        progress.stage(f"fitting predictors of {samples.metric.title.lower()}", CURVE_SIZES)
        profiled = data.profiled if metric_name == LATENCY else ()
        samples = replace(samples, given=_given(metric_name, data, method, most, seed), profiled=profiled)
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
    samples = samples_of(METRICS[LATENCY], data.target, data.latencies, most=most, seed=seed)
    predictor = fit_to(replace(samples, profiled=data.profiled), data.space, method, seed)
    return (given_by(LATENCY, predictor, samples.architectures),)


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
    """Return the report on a ``predictor`` that ``method``, called ``name``, fitted to ``samples``.

    ``limits`` on other metrics are ignored. ``pool`` holds architectures that could be measured next. ``advance`` is
    called once for each size of the learning curve.
    """
    own = tuple(limit for limit in limits if limit.metric.name == samples.metric.name)
    curve = learning_curve(predictor, samples, space, method, seed, advance)
    each = predictor.held_out_predictions
    half_width = max((half_width_at(limit, each) for limit in own), default=predictor.held_out.width / 2)
    warning = warning_about(samples.metric, predictor.held_out)
    doubts = (*([warning] if warning else []), *verdict(samples.metric, predictor.held_out, each, own))
    asked = further_samples(curve, half_width) if doubts else SUGGESTED
    ranked = suggestions(predictor, space, own, pool, asked)
    suggested = ranked[:SUGGESTED]
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
        to_measure=tuple(each.architecture for each in ranked),
        doubts=doubts,
        advice=advice(curve, half_width, unused=unused, suggested=bool(suggested)) if doubts else "",
        half_width=half_width,
        grounds=grounds_of(predictor),
    )


def learning_curve(
    predictor: Predictor,
    samples: Samples,
    space: Describer,
    method: PredictorMethod,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> tuple[HeldOutError, ...]:
    """Return held-out errors of predictors fitted to nested random parts of the samples, the smallest part first.

    There are up to ``CURVE_SIZES`` sizes, each larger than the one before by the same factor. The last error is that of
    ``predictor`` itself. ``advance`` is called once for each size.
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
