"""Raw samples of one metric on one target; the median and its interval are derived."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

OPERATORS = "executed_operators"
"""The condition of a measurement that says how many operators of each type a runtime executed."""
SESSION_DOUBT = 0.008
"""What the latencies of one machine differ by from session to session beyond what their rounds show and a reference
model corrects, as half of a 95 % interval: found by ``experiments.repeatability``."""
DRIFT_DOUBT = 0.5
"""Share of a drift's correction that counts as doubt: models respond to a slower machine in different degrees."""


@dataclass(frozen=True)
class Interval:
    """Two bounds that hold the truth with the confidence that their maker states."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:
            raise ValueError(f"lower must not exceed upper, but got {self.lower} and {self.upper}.")

    @property
    def is_point(self) -> bool:
        """Whether there is no more than one value."""
        return self.lower == self.upper


@dataclass(frozen=True)
class Measurement:
    """What was read off one target for one model.

    ``rounds`` holds the raw samples, one tuple for each round: a round has a process and a session of its own, and
    sessions of one file differ by more than the samples within one do. ``drifts``, where there are any, say for each
    round how much slower the machine was than when the target's reference was recorded: 1.02 is 2 % slower. What is
    derived is corrected by them, while the samples stay raw. ``target`` is the target's text.
    ``conditions`` say under what circumstances (processor, threads, versions, pressure …); ``flags`` are
    doubts that a reader must see, such as a machine that stayed busy.
    """

    metric: str
    target: str
    rounds: tuple[tuple[float, ...], ...]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    drifts: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.drifts and (len(self.drifts) != len(self.rounds) or not all(0 < d < math.inf for d in self.drifts)):
            raise ValueError(
                f"drifts must be one positive ratio for each of {len(self.rounds)} rounds, got {self.drifts}."
            )
        if not self.rounds or not all(self.rounds):
            raise ValueError("a measurement must have at least one sample in each round, but got none.")
        smallest = 0.0 if self.metric.endswith("_bytes") else math.ulp(0.0)  # a model without weights has none
        strange = [sample for samples in self.rounds for sample in samples if not smallest <= sample < math.inf]
        if strange:
            raise ValueError(f"samples of {self.metric} must be finite and positive, but got {strange[0]}.")
        object.__setattr__(self, "conditions", MappingProxyType(dict(self.conditions)))

    @cached_property
    def median(self) -> float:
        """Median of the rounds' medians, each corrected by its round's drift."""
        return float(np.median(self._readings))

    @property
    def table(self) -> str | None:
        """The table that the value was read from; None where it was measured here."""
        return self.conditions.get("table")

    @property
    def raw_median(self) -> float:
        """Median of the rounds' medians as they were read."""
        return float(np.median([np.median(samples) for samples in self.rounds]))

    @property
    def drift(self) -> float:
        """The middle one of the rounds' drifts; 1 where none was found."""
        return float(np.median(self.drifts)) if self.drifts else 1.0

    @cached_property
    def interval(self) -> Interval:
        """95 % interval of the median, from the spread between the rounds' medians.

        Sessions of one file differ by more than the samples within one do, hence rounds as the unit (Kalibera & Jones,
        "Rigorous benchmarking in reasonable time", ISMM 2013). One round is judged by its samples; one exact reading
        gives a point.

        Where drift was corrected two doubts are added, in quadrature, that no number of rounds removes:
        ``SESSION_DOUBT``; and ``DRIFT_DOUBT`` of the correction, for a model may feel a slower machine more or less
        than the reference does.
        """
        if len(self._judged) == 1:
            return Interval(self.median, self.median)
        lower, upper = _logs_around_median(self._judged / self.median)
        doubt = math.hypot(SESSION_DOUBT, DRIFT_DOUBT * math.log(self.drift)) if self.drifts else 0.0
        lower, upper = (
            self.median * math.exp(-math.hypot(lower, doubt)),
            self.median * math.exp(math.hypot(upper, doubt)),
        )
        return Interval(min(lower, self.median), max(upper, self.median))

    @cached_property
    def scatter(self) -> float:
        """Half the width of the interval that rounds alone give, relative to the median: what more rounds narrow."""
        if len(self._judged) == 1:
            return 0.0
        lower, upper = _logs_around_median(self._judged / self.median)
        return (lower + upper) / 2

    @property
    def half_width(self) -> float:
        """Half the interval's width, relative to the median: 0.01 is ±1 %."""
        return (self.interval.upper - self.interval.lower) / 2 / self.median

    @property
    def p95(self) -> float:
        """95th percentile of all samples, corrected; of single inferences unless the conditions say otherwise."""
        drifts = self.drifts or (1.0,) * len(self.rounds)
        corrected = [np.asarray(samples) / drift for samples, drift in zip(self.rounds, drifts, strict=True)]
        return float(np.quantile(np.concatenate(corrected), 0.95))

    @cached_property
    def _judged(self) -> npt.NDArray[np.float64]:
        """What the interval is found from: the rounds' readings, or the samples of a single round."""
        return self._readings if len(self.rounds) > 1 else np.asarray(self.rounds[0]) / self.drift

    @cached_property
    def _readings(self) -> npt.NDArray[np.float64]:
        """Each round's corrected median, shape (rounds,)."""
        medians = np.array([np.median(samples) for samples in self.rounds])
        return medians / np.array(self.drifts) if self.drifts else medians

    def to_json(self) -> dict[str, Any]:
        """Plain data that ``from_json`` takes back; the derived figures are added for human readers."""
        return {
            "metric": self.metric,
            "target": self.target,
            "rounds": [list(samples) for samples in self.rounds],
            "conditions": dict(self.conditions),
            "flags": list(self.flags),
            "drifts": list(self.drifts),
            "median": self.median,
            "interval_95": [self.interval.lower, self.interval.upper],
            "p95": self.p95,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """The measurement that ``to_json`` wrote."""
        rounds = tuple(tuple(float(sample) for sample in samples) for samples in data["rounds"])
        drifts = tuple(float(drift) for drift in data.get("drifts", ()))
        return cls(data["metric"], data["target"], rounds, data["conditions"], tuple(data["flags"]), drifts)


def _logs_around_median(ratios_N: npt.NDArray[np.float64]) -> tuple[float, float]:
    """How far the 95 % interval of a median reaches down and up, in logs; both at least 0.

    From six readings on, between order statistics, interpolated to 95 % (Hettmansperger & Sheather, "Confidence
    intervals based on interpolated order statistics", 1986): it needs no distribution, and a single disturbed round,
    as other tenants of a machine cause them, does not widen it. Fewer readings have no such interval, and get
    Student's t. In simulations with rounds added until ±1 % is reached it holds the truth in 92 to 95 % of the cases,
    with every twentieth round disturbed too; the bootstrap of the median comes to the same order statistics, but only
    has 75 % for 3 readings.
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
