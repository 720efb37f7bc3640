"""Advice on measuring: which architectures to measure next to improve a predictor, and how many."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError
from nas.prediction.predictor import Predictor
from nas.prediction.trust import LARGEST_HALF_WIDTH
from nas.space.architecture import Architecture
from nas.space.description import POPULATION, TRACED_POPULATION, Describer
from nas.space.search_space import HasLayers, sample
from nas.values.evaluation import PredictedValue
from nas.values.held_out import HeldOutError, finite_or_none, reach_text
from nas.values.objective import Limit

SUGGESTED = 8
MOST_SUGGESTED = 100
"""The most architectures that a report lists for the next measurements."""
POOL_FROM_TABLE = 2000
"""Most rows without a value that are considered for measuring next."""
_CHOSEN_FROM = 4
"""Suggestions are chosen from this many times as many architectures, those with the widest bounds."""
_HOPELESS = 10
"""Measuring more than this many times the existing samples is never advised."""
_FLAT = 0.05
"""Smallest power of the sample count by which bounds narrow usefully; ten times the samples narrow them by 11 %."""


@dataclass(frozen=True)
class Suggestion:
    """An architecture that is worth measuring, with the reason."""

    architecture: Architecture
    predicted: PredictedValue
    reason: str

    @property
    def relative_width(self) -> float:
        """Distance between the bounds, relative to the mean."""
        return (self.predicted.upper - self.predicted.lower) / self.predicted.mean

    def to_json(self) -> dict[str, Any]:
        """Return plain data; a bound that does not exist is null."""
        return {
            "id": self.architecture.id,
            "architecture": dict(self.architecture),
            "predicted": self.predicted.mean,
            "lower": finite_or_none(self.predicted.lower),
            "upper": finite_or_none(self.predicted.upper),
            "known": self.predicted.known,
            "reason": self.reason,
        }


def pool_of(space: Describer, without: Mapping[Architecture, object], seed: int) -> list[Architecture]:
    """Return random architectures that can be built and are not in ``without``; a small space may have none left."""
    rng = np.random.default_rng((seed, 2))
    count = POPULATION if isinstance(space.space, HasLayers) else TRACED_POPULATION
    drawn = dict.fromkeys(sample(space.space, rng) for _ in range(count))
    return buildable(space, [architecture for architecture in drawn if architecture not in without])


def buildable(
    space: Describer, architectures: Sequence[Architecture], advance: Callable[[], None] = lambda: None
) -> list[Architecture]:
    """Return the architectures that can be built. ``advance`` is called after each one."""
    found = []
    for architecture in architectures:
        try:
            space.describe([architecture])
        except CandidateError:
            pass
        else:
            found.append(architecture)
        advance()
    return found


def suggestions(
    predictor: Predictor,
    space: Describer,
    limits: Sequence[Limit],
    pool: Sequence[Architecture],
    most: int = SUGGESTED,
) -> tuple[Suggestion, ...]:
    """Return up to ``most`` architectures of the pool to measure next, the most useful first.

    The first are unlike all measured ones. Then come those with a limit between their bounds, and then those with the
    widest bounds relative to the mean. Within each of these kinds, suggestions differ in as many choices as possible.
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
        missing = most - len(chosen)
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
    """Return up to ``count`` candidates by farthest-first traversal; the distance is the share of differing choices."""
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


def further_samples(curve: Sequence[HeldOutError], half: float) -> int:
    """Return the number of measurements that ``advice`` asks for, between ``SUGGESTED`` and ``MOST_SUGGESTED``."""
    last = curve[-1].samples
    needed = 2.0 * last if half <= LARGEST_HALF_WIDTH else _samples_needed(curve, half)[0]
    if needed > _HOPELESS * last:
        return SUGGESTED
    return max(SUGGESTED, min(MOST_SUGGESTED, _rounded_up(needed - last)))


def advice(curve: Sequence[HeldOutError], half: float, *, unused: int, suggested: bool) -> str:
    """Return a sentence that says how many more measurements would make the bounds narrow enough.

    ``half`` is half the width of the bounds at the limit, relative to the mean. It is assumed to fall as the same power
    of the sample count as the widths of the learning curve. ``unused`` measurements exist already. ``suggested`` is
    true if the report names architectures to measure first.
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
    """Return the samples that are needed for narrow enough bounds, and how the bounds narrowed so far, as text."""
    points = [(each.samples, each.width) for each in curve if 0 < each.width < math.inf]
    if len(points) < 2:
        return math.inf, "how they narrow with samples cannot be told yet"
    sizes, widths = np.log(np.array(points, dtype=np.float64)).T
    power = -float(np.polyfit(sizes, widths, 1)[0])
    (few, wide), (many, narrow) = points[0], points[-1]
    seen = f"with {few} samples they {reach_text(wide / 2, few)}, with {many} they {reach_text(narrow / 2, many)}"
    if power <= _FLAT or not math.isfinite(half):
        return math.inf, seen
    return curve[-1].samples * (half / LARGEST_HALF_WIDTH) ** (1 / power), seen


def _rounded_up(count: float) -> int:
    """Round up to a multiple of five above ten, and of fifty above a hundred; the estimate is no more precise."""
    step = 50 if count > 100 else 5 if count > 10 else 1
    return max(1, math.ceil(round(count / step, 6)) * step)
