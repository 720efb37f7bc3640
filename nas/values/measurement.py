"""Raw samples of one metric on one target; the median and its interval are derived."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.values.metric import METRICS, TIMED

OPERATORS = "executed_operators"
"""The condition of a measurement that says how many operators of each type a runtime executed."""
SESSION_DOUBT = 0.008
"""Half of a 95 % interval: how far latencies differ between sessions beyond the spread of rounds and the drift.

``experiments.repeatability`` measured it."""
DRIFT_DOUBT = 0.5
"""The share of a drift's correction that counts as doubt. Models respond differently to a slower machine."""
USUAL_SPREAD, SPREAD_DOUBT = 0.01, 2.0
"""The spread of rounds that chance explains, and how many times the rest of it counts as doubt.

If rounds differ by more, the latency depends on something that changes slowly, such as the share of the processor's
last cache that other tenants of the machine leave. A session of a minute sees a part of that change, and averaging
more rounds does not remove it. ``experiments.repeatability`` measured it.
"""
CLOCK, WALL, THREAD = "clock", "wall", "processor time of the thread"
"""The condition that names the clock of a latency, and the two clocks. Some devices have clocks of their own."""
WEIGHT_BYTES = "weight_bytes"
"""The condition of a latency that tells the bytes of the model's weights, if they are known."""
MUCH_CORRECTED = 1.1
"""From this factor on, the value that a stopwatch showed stands beside the corrected one."""
_NORMAL = 1.4826
"""Ratio of the standard deviation to the median distance from the median, of normal readings."""


@dataclass(frozen=True)
class Interval:
    """Two bounds that contain the true value with a stated confidence."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:
            raise ValueError(f"lower must not exceed upper, but got {self.lower} and {self.upper}.")

    @property
    def is_point(self) -> bool:
        """True if both bounds are the same value."""
        return self.lower == self.upper

    def to_json(self) -> list[float]:
        """Return both bounds as plain data."""
        return [self.lower, self.upper]


@dataclass(frozen=True)
class Estimate:
    """A value with the 95 % interval around it. An exact value, such as a count, has a point as its interval."""

    value: float
    interval: Interval

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """Return a value without doubt."""
        return cls(value, Interval(value, value))

    @classmethod
    def within(cls, value: float, lower: float, upper: float) -> Estimate:
        """Return a value between two bounds."""
        return cls(value, Interval(lower, upper))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"value": self.value, "interval_95": self.interval.to_json()}


@dataclass(frozen=True, repr=False)
class Measurement:
    """Raw samples of one metric for one model on one target.

    Attributes:
        metric: the name of the metric.
        target: the target, as text.
        rounds: the raw samples, one tuple for each session. A session has a process of its own, because sessions of
            one file differ by more than the samples within a session.
        conditions: the circumstances: processor, threads, versions, pressure and so on.
        flags: doubts that a reader must see, such as a machine that stayed busy.
        drifts: for each session, how much slower the machine was than when the target's reference was recorded: 1.02 is
            2 % slower. Derived values are corrected by it; samples stay raw. Empty where no drift was found.
        walls: for each session, the times of all inferences by the wall clock, if ``rounds`` are by the clock of the
            thread because other programs had the core. Else empty.
        unseen: half of a 95 % interval, as a logarithm: by how much the truth may differ for reasons that neither the
            rounds nor the clock show, such as caches that other programs fill.
        reference_doubt: the same, for a doubtful reference speed. All models of a session share it, so it cancels in
            their ratios.
    """

    metric: str
    target: str
    rounds: tuple[tuple[float, ...], ...]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    drifts: tuple[float, ...] = ()
    walls: tuple[tuple[float, ...], ...] = ()
    unseen: float = 0.0
    reference_doubt: float = 0.0

    def __post_init__(self) -> None:
        if self.walls and (len(self.walls) != len(self.rounds) or not all(self.walls)):
            raise ValueError(f"walls must be samples for each of {len(self.rounds)} rounds, got {len(self.walls)}.")
        for name in ("unseen", "reference_doubt"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and at least 0, but got {getattr(self, name)}.")
        if self.drifts and (len(self.drifts) != len(self.rounds) or not all(0 < d < math.inf for d in self.drifts)):
            raise ValueError(
                f"drifts must be one positive ratio for each of {len(self.rounds)} rounds, got {self.drifts}."
            )
        if not self.rounds or not all(self.rounds):
            raise ValueError("a measurement must have at least one sample in each round, but got none.")
        smallest = 0.0 if self.metric.endswith("_bytes") else math.ulp(0.0)  # a model may have no weights
        strange = [
            sample for samples in (*self.rounds, *self.walls) for sample in samples if not smallest <= sample < math.inf
        ]
        if strange:
            raise ValueError(f"samples of {self.metric} must be finite and positive, but got {strange[0]}.")
        object.__setattr__(self, "conditions", MappingProxyType(dict(self.conditions)))

    def __repr__(self) -> str:
        doubts = f", {len(self.flags)} doubt{'s' * (len(self.flags) != 1)}" if self.flags else ""
        count = len(self.rounds)
        sessions = f"{count} session{'s' * (count != 1)}"
        return f"Measurement {self.metric} {self.text}, {sessions} on {self.target}{doubts}"

    @property
    def text(self) -> str:
        """The median with its interval for people: ``0.21 ms (0.2088 ms to 0.2131 ms)``."""
        form = METRICS[self.metric].format if self.metric in METRICS else "{:.4g}".format
        bounds = "" if self.interval.is_point else f" ({form(self.interval.lower)} to {form(self.interval.upper)})"
        return f"{form(self.median)}{bounds}"

    @property
    def range_text(self) -> str:
        """The bounds for people, empty for a point; and the raw value beside them where it differs by a tenth."""
        metric, interval, raw = METRICS[self.metric], self.interval, self.raw_beside
        bounds = [] if interval.is_point else [metric.format_range(interval.lower, interval.upper)]
        return "; ".join([*bounds, *([] if raw is None else [f"{metric.format(raw)} by a stopwatch"])])

    @property
    def estimate(self) -> Estimate:
        """The median with its interval."""
        return Estimate(self.median, self.interval)

    @cached_property
    def median(self) -> float:
        """The median of the rounds' medians, each corrected by the drift of its round."""
        return float(statistics.median(self.readings.tolist()))

    @property
    def table(self) -> str | None:
        """The table that the value was read from; None if it was measured."""
        return self.conditions.get("table")

    @property
    def raw_median(self) -> float:
        """The median of the rounds' medians as a stopwatch shows it: by the wall clock, and not corrected."""
        return float(statistics.median([statistics.median(samples) for samples in self.walls or self.rounds]))

    @property
    def clock(self) -> str | None:
        """The clock of a latency; None for other metrics. Until version 0.8 it was the wall clock, and not named."""
        return self.conditions.get(CLOCK, WALL) if self.metric in TIMED else None

    @property
    def raw_beside(self) -> float | None:
        """The raw median where it differs from the median by a tenth or more, so that a reader must see both."""
        if not self.drifts and not self.walls:
            return None
        return self.raw_median if abs(math.log(self.raw_median / self.median)) >= math.log(MUCH_CORRECTED) else None

    @property
    def drift(self) -> float:
        """The median of the rounds' drifts; 1 if there are none."""
        return float(statistics.median(self.drifts)) if self.drifts else 1.0

    @cached_property
    def interval(self) -> Interval:
        """The 95 % interval of the median, from the spread between the rounds' medians.

        Rounds are the unit because sessions of one file differ by more than the samples within a session (Kalibera &
        Jones, "Rigorous benchmarking in reasonable time", ISMM 2013). A single round is judged by its samples, and a
        single exact reading gives a point.

        Where drift was corrected, three doubts that no number of rounds removes are added in quadrature:
        ``SESSION_DOUBT``; ``DRIFT_DOUBT`` of the correction, since a slower machine may affect a model more or less
        than the reference, or what is ``unseen`` if that is more; and ``SPREAD_DOUBT`` of a spread between rounds above
        ``USUAL_SPREAD``.
        """
        if len(self._judged) == 1:
            return Interval(self.median, self.median)
        lower, upper = logs_around_median(self._judged / self.median)
        doubt = 0.0
        if self.drifts:
            unexplained = SPREAD_DOUBT * math.sqrt(max(0.0, self.spread**2 - USUAL_SPREAD**2))
            unseen = max(DRIFT_DOUBT * abs(math.log(self.drift)), math.hypot(self.unseen, self.reference_doubt))
            doubt = math.hypot(SESSION_DOUBT, unseen, unexplained)
        lower, upper = (
            self.median * math.exp(-math.hypot(lower, doubt)),
            self.median * math.exp(math.hypot(upper, doubt)),
        )
        return Interval(min(lower, self.median), max(upper, self.median))

    @cached_property
    def scatter(self) -> float:
        """Half the width of the interval by rounds alone, relative to the median. More rounds make it narrower."""
        if len(self._judged) == 1:
            return 0.0
        lower, upper = logs_around_median(self._judged / self.median)
        return (lower + upper) / 2

    @cached_property
    def spread(self) -> float:
        """The standard deviation of a round's median, relative to the median; 0 for a single round.

        From six rounds on it is found from the median distance, so that one disturbed round does not count.
        """
        if len(self.rounds) == 1:
            return 0.0
        logs = np.log(self.readings / self.median)
        if len(logs) < 6:
            return float(logs.std(ddof=1))
        return _NORMAL * float(np.median(np.abs(logs - np.median(logs))))

    @property
    def half_width(self) -> float:
        """Half the width of the interval, relative to the median: 0.01 is ±1 %."""
        return (self.interval.upper - self.interval.lower) / 2 / self.median

    @property
    def p95(self) -> float:
        """The 95th percentile of all corrected samples. A sample is one inference unless conditions say otherwise."""
        drifts = self.drifts or (1.0,) * len(self.rounds)
        corrected = [np.asarray(samples) / drift for samples, drift in zip(self.rounds, drifts, strict=True)]
        return float(np.quantile(np.concatenate(corrected), 0.95))

    @cached_property
    def _judged(self) -> npt.NDArray[np.float64]:
        """The values behind the interval: the medians of rounds, or the samples of a single round."""
        return self.readings if len(self.rounds) > 1 else np.asarray(self.rounds[0]) / self.drift

    @cached_property
    def readings(self) -> npt.NDArray[np.float64]:
        """The corrected median of each round, shape (rounds,)."""
        # NumPy's median takes 15 times as long for a few samples.
        medians = np.array([statistics.median(samples) for samples in self.rounds], dtype=np.float64)
        return medians / np.array(self.drifts) if self.drifts else medians

    def summary(self) -> dict[str, Any]:
        """Return the derived figures as plain data, without samples. A value of a table has no interval.

        ``raw_median`` is what a stopwatch showed, and ``clock`` the one that the median was read by.
        """
        return {
            "median": self.median,
            "interval_95": self.interval.to_json() if self.table is None else None,
            "p95": self.p95,
            "raw_median": self.raw_median,
            "clock": self.clock,
            "sessions": len(self.rounds),
            "target": self.target,
            "flags": list(self.flags),
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain data that ``from_json`` takes back. Derived figures are added for human readers."""
        return {
            "metric": self.metric,
            "target": self.target,
            "rounds": [list(samples) for samples in self.rounds],
            "conditions": dict(self.conditions),
            "flags": list(self.flags),
            "drifts": list(self.drifts),
            **({"walls": [list(samples) for samples in self.walls]} if self.walls else {}),
            **{name: getattr(self, name) for name in ("unseen", "reference_doubt") if getattr(self, name)},
            "median": self.median,
            "interval_95": self.interval.to_json(),
            "p95": self.p95,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Return the measurement that ``to_json`` wrote."""
        rounds = tuple(tuple(float(sample) for sample in samples) for samples in data["rounds"])
        drifts = tuple(float(drift) for drift in data.get("drifts", ()))
        walls = tuple(tuple(float(sample) for sample in samples) for samples in data.get("walls", ()))
        doubts = [float(data.get(name, 0.0)) for name in ("unseen", "reference_doubt")]
        return cls(
            data["metric"], data["target"], rounds, data["conditions"], tuple(data["flags"]), drifts, walls, *doubts
        )


def logs_around_median(ratios_N: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return how far the 95 % interval of a median reaches down and up, in logarithms; both at least 0.

    From six readings on, it lies between order statistics, interpolated to 95 % (Hettmansperger & Sheather,
    "Confidence intervals based on interpolated order statistics", 1986). It assumes no distribution, and a single
    disturbed round, caused by other tenants of a machine, does not widen it. With fewer readings no such interval
    exists, and Student's t is used.

    In simulations that add rounds until ±1 % is reached, it contains the truth in 92 to 95 % of the cases, also with
    every twentieth round disturbed. The bootstrap of the median gives the same order statistics, but for 3 readings
    it contains the truth in only 75 %.
    """
    from scipy.special import bdtr, stdtrit

    logs_N = np.sort(np.log(ratios_N))
    count = len(logs_N)
    if count < 6:
        middle, reach = logs_N.mean(), stdtrit(count - 1, 0.975) * logs_N.std(ddof=1) / np.sqrt(count)
        lower, upper = middle - reach, middle + reach
    else:
        coverages = [1 - 2 * float(bdtr(k - 1, count, 0.5)) for k in range(1, count // 2 + 1)] + [0.0]
        k = max(index for index, coverage in enumerate(coverages, start=1) if coverage >= 0.95)
        part = (coverages[k - 1] - 0.95) / (coverages[k - 1] - coverages[k])
        inward = (count - k) * part / (k + (count - 2 * k) * part)
        lower = (1 - inward) * logs_N[k - 1] + inward * logs_N[k]
        upper = (1 - inward) * logs_N[count - k] + inward * logs_N[count - k - 1]
    return max(0.0, -float(lower)), max(0.0, float(upper))
