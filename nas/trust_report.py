"""How far a predictor can be trusted on one target: its held-out error, its worst cases, what to measure next."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nas.architecture import Architecture
from nas.description import POPULATION, TRACED_POPULATION, Describer
from nas.errors import CandidateError, RecipeError
from nas.evaluation import PredictedValue
from nas.metric import METRICS, Metric
from nas.objective import Limit
from nas.predictor import MIN_SAMPLES, Given, HeldOutError, Predictor, PredictorMethod, Source, given_by
from nas.progress import Progress
from nas.search_space import HasLayers, sample
from nas.trust import LARGEST_HALF_WIDTH, half_width_at, verdict

FloatArray = npt.NDArray[np.float64]

MOST_SAMPLES = 300
"""So many measurements are used unless more are asked for: fits and their learning curve then end within minutes."""
SUGGESTED = 8
POOL_FROM_TABLE = 2000
"""So many rows without a value are looked at for what to measure next."""
CURVE_SIZES = 5
SMALLEST_SHARE = 0.15
"""The learning curve begins at this share of the samples."""
_CHOSEN_FROM = 4
"""So many times what is suggested, the widest bounds first, are spread out."""
_HOPELESS = 10
"""More than so many times the measurements that there are is no advice."""
_FLAT = 0.05
"""Where the width falls slower than samples to this power, ten times as many narrow it by 11 % at most."""


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


@dataclass(frozen=True)
class Suggestion:
    """An architecture whose measurement would teach much, and why."""

    architecture: Architecture
    predicted: PredictedValue
    reason: str

    @property
    def relative_width(self) -> float:
        return (self.predicted.upper - self.predicted.lower) / self.predicted.mean


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
            "held_out": held_out_json(self.held_out),
            "good_enough": not self.doubts,
            "doubts": list(self.doubts),
            "advice": self.advice,
            "half_width": _finite(self.half_width),
            "learning_curve": [held_out_json(each) for each in self.curve],
            "worst": [_case_json(case) for case in self.cases[:SUGGESTED]],
            "measure_next": [_suggestion_json(each) for each in self.suggestions],
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


def pool_of(space: Describer, without: Mapping[Architecture, object], seed: int) -> list[Architecture]:
    """Random architectures of the space that can be built and are not in ``without``; a small space may have none."""
    rng = np.random.default_rng((seed, 2))
    count = POPULATION if isinstance(space.space, HasLayers) else TRACED_POPULATION
    drawn = dict.fromkeys(sample(space.space, rng) for _ in range(count))
    return fit_ones(space, [architecture for architecture in drawn if architecture not in without])


def fit_ones(
    space: Describer, architectures: Sequence[Architecture], advance: Callable[[], None] = lambda: None
) -> list[Architecture]:
    """Those that can be built."""
    fit = []
    for architecture in architectures:
        try:
            space.describe([architecture])
        except CandidateError:
            pass
        else:
            fit.append(architecture)
        advance()
    return fit


def suggestions(
    predictor: Predictor, space: Describer, limits: Sequence[Limit], pool: Sequence[Architecture]
) -> tuple[Suggestion, ...]:
    """Up to ``SUGGESTED`` of the pool to measure next, those of the most use first.

    First those unlike all measured ones; then those whose bounds hold a limit between them; then those with the
    widest bounds, relative to the mean. Within each kind they differ in as many choices as can be.
    """
    if not pool:
        return ()
    predicted = predictor.predict(pool)
    each = [predicted[index] for index in range(len(predicted))]
    reasons = [_reason(value, limits) for value in each]
    ranks = {reason: rank for rank, reason in enumerate((_UNKNOWN, *(_near(limit) for limit in limits), _WIDE))}
    options = space.describe(pool).live_options
    chosen: list[int] = []
    for reason in ranks:
        missing = SUGGESTED - len(chosen)
        kind = [index for index in range(len(pool)) if reasons[index] == reason]
        kind.sort(key=lambda index: (each[index].lower - each[index].upper) / each[index].mean)
        chosen += _spread(options, kind[: _CHOSEN_FROM * missing], missing)
    return tuple(Suggestion(pool[index], each[index], reasons[index]) for index in chosen)


_UNKNOWN = "unlike all that was measured"
_WIDE = "widest bounds"


def _near(limit: Limit) -> str:
    return f"near {limit}"


def _reason(value: PredictedValue, limits: Sequence[Limit]) -> str:
    if not value.known:
        return _UNKNOWN
    return next((_near(limit) for limit in limits if value.lower <= limit.value <= value.upper), _WIDE)


def _spread(options: npt.NDArray[np.int16], candidates: Sequence[int], count: int) -> list[int]:
    """Up to ``count`` of the candidates by farthest-first traversal over the share of choices that differ."""
    if not candidates or count < 1:
        return []
    rows = options[list(candidates)]
    chosen = [0]
    distances = (rows != rows[0]).mean(axis=1)
    while len(chosen) < min(count, len(candidates)):
        distances[chosen] = -1.0
        farthest = int(np.argmax(distances))
        chosen.append(farthest)
        distances = np.minimum(distances, (rows != rows[farthest]).mean(axis=1))
    return [candidates[index] for index in chosen]


def advice(curve: Sequence[HeldOutError], half: float, *, unused: int, suggested: bool) -> str:
    """How many more measurements would make the bounds narrow enough, by how they narrowed so far.

    ``half`` is half their width at the limit, relative to the mean. It is taken to fall as a power of the number of
    samples, the one that the widths of the learning curve fall by. ``unused`` measurements are there already;
    ``suggested`` says whether some are named to be taken first.
    """
    last = curve[-1]
    first = ", those named here first" if suggested else ""
    if half <= LARGEST_HALF_WIDTH:
        more, then = last.samples, "then look again: the bounds are narrow enough, the rest is not."
    else:
        needed, seen = _samples_needed(curve, half)
        if needed > _HOPELESS * last.samples:
            return (
                f"More measurements alone may not narrow the bounds enough: {seen}. Add other targets' measurements as "
                f"sources, try another predictor, or measure more{first}."
            )
        more = _rounded_up(needed - last.samples)
        then = (
            f"as the learning curve goes, the bounds then reach {100 * LARGEST_HALF_WIDTH:.0f} % to each side at most."
        )
    if unused >= more:
        return f"Use about {more} more of the {unused} measurements that were left out; {then}"
    return f"Measure about {more} more{first}; {then}"


def _samples_needed(curve: Sequence[HeldOutError], half: float) -> tuple[float, str]:
    """Samples at which bounds of now ``half`` to each side are narrow enough, and what was seen of their narrowing."""
    points = [(each.samples, each.width) for each in curve if 0 < each.width < math.inf]
    if len(points) < 2:
        return math.inf, "how they narrow with samples cannot be told yet"
    sizes, widths = np.log(np.array(points, dtype=np.float64)).T
    power = -float(np.polyfit(sizes, widths, 1)[0])
    (few, wide), (many, narrow) = points[0], points[-1]
    seen = f"with {few} samples they reach {50 * wide:.0f} % to each side, with {many} samples {50 * narrow:.0f} %"
    if power <= _FLAT or not math.isfinite(half):
        return math.inf, seen
    return curve[-1].samples * (half / LARGEST_HALF_WIDTH) ** (1 / power), seen


def held_out_json(held_out: HeldOutError) -> dict[str, Any]:
    """Plain data; what is not a number is null."""
    return {name: value if math.isfinite(value) else None for name, value in vars(held_out).items()}


def _rounded_up(count: float) -> int:
    """At least 1; to a multiple of five above ten, and of fifty above a hundred: more digits would be a pretence."""
    step = 50 if count > 100 else 5 if count > 10 else 1
    return max(1, math.ceil(round(count / step, 6)) * step)


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
        "lower": _finite(case.lower),
        "upper": _finite(case.upper),
        "relative_error": case.relative_error,
    }


def _suggestion_json(each: Suggestion) -> dict[str, Any]:
    return {
        "id": each.architecture.id,
        "architecture": dict(each.architecture),
        "predicted": each.predicted.mean,
        "lower": _finite(each.predicted.lower),
        "upper": _finite(each.predicted.upper),
        "known": each.predicted.known,
        "reason": each.reason,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
