"""Raw samples of one metric on one target; the median and its interval are derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 400


@dataclass(frozen=True)
class Interval:
    """Two bounds that hold the truth with the confidence that their maker states."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:
            raise ValueError(f"lower must not exceed upper, but got {self.lower} and {self.upper}.")


@dataclass(frozen=True)
class Measurement:
    """What was read off one target for one model.

    ``rounds`` holds the raw samples, one tuple for each round: a round has a session of its own, and
    sessions of one file differ by more than the samples within one do. ``target`` is the target's text.
    ``conditions`` say under what circumstances (processor, threads, versions, pressure …); ``flags`` are
    doubts that a reader must see, such as a machine that stayed busy.
    """

    metric: str
    target: str
    rounds: tuple[tuple[float, ...], ...]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.rounds or not all(self.rounds):
            raise ValueError("a measurement must have at least one sample in each round, but got none.")
        if not all(np.isfinite(sample) for samples in self.rounds for sample in samples):
            raise ValueError(f"samples of {self.metric} must be finite, but got {self.rounds}.")
        object.__setattr__(self, "conditions", MappingProxyType(dict(self.conditions)))

    @cached_property
    def median(self) -> float:
        """Median of the rounds' medians."""
        return float(np.median([np.median(samples) for samples in self.rounds]))

    @cached_property
    def interval(self) -> Interval:
        """95 % bootstrap interval of the median, resampling rounds and then samples within them.

        Resampling both levels keeps the spread between sessions in the interval (Kalibera & Jones,
        "Rigorous benchmarking in reasonable time", ISMM 2013). One exact reading gives a point.
        """
        if all(len(samples) == 1 for samples in self.rounds) and len(self.rounds) == 1:
            return Interval(self.median, self.median)
        rng = np.random.default_rng(0)
        chosen = rng.integers(len(self.rounds), size=(RESAMPLES, len(self.rounds)))
        medians_RK = np.stack([_resampled_medians(np.asarray(samples), rng, RESAMPLES) for samples in self.rounds])
        resampled = np.median(medians_RK[chosen, np.arange(RESAMPLES)[:, None]], axis=1)
        lower, upper = np.quantile(resampled, (0.025, 0.975))
        return Interval(float(min(lower, self.median)), float(max(upper, self.median)))

    @property
    def p95(self) -> float:
        """95th percentile of all samples."""
        return float(np.quantile(np.concatenate([np.asarray(samples) for samples in self.rounds]), 0.95))

    def to_json(self) -> dict[str, Any]:
        """Plain data that ``from_json`` takes back; the derived figures are added for human readers."""
        return {
            "metric": self.metric,
            "target": self.target,
            "rounds": [list(samples) for samples in self.rounds],
            "conditions": dict(self.conditions),
            "flags": list(self.flags),
            "median": self.median,
            "interval_95": [self.interval.lower, self.interval.upper],
            "p95": self.p95,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """The measurement that ``to_json`` wrote."""
        rounds = tuple(tuple(float(sample) for sample in samples) for samples in data["rounds"])
        return cls(data["metric"], data["target"], rounds, data["conditions"], tuple(data["flags"]))


def _resampled_medians(samples: FloatArray, rng: np.random.Generator, count: int) -> FloatArray:
    """Medians of ``count`` resamples with replacement, shape (count,)."""
    picks = rng.integers(len(samples), size=(count, len(samples)))
    medians: FloatArray = np.median(samples[picks], axis=1)
    return medians
