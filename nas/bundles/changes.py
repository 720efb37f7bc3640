"""A model's measurement then and now: by how much it moved, with an interval, and what else has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.values.comparison import ratio_of
from nas.values.measurement import CLOCK, Estimate, Measurement
from nas.values.metric import METRICS, Metric

CIRCUMSTANCES = ("processor", "system", "runtime", "governor", "threads", "batch", "executed_precision", CLOCK)
"""The conditions of a measurement that explain another value."""


@dataclass(frozen=True)
class Moved:
    """One metric of a model, measured then and now."""

    metric: Metric
    then: Measurement
    now: Measurement

    @property
    def is_sure(self) -> bool:
        """True if the values differ by more than their joint 95 % interval."""
        ratio = self.ratio
        if ratio is None:
            return self.then.median != self.now.median
        return ratio.interval.lower > 1 or ratio.interval.upper < 1

    @property
    def ratio(self) -> Estimate | None:
        """How many times the value is what it was, with its 95 % interval; None if either is 0."""
        if not self.then.median or not self.now.median:
            return None
        return ratio_of(self.now.estimate, self.then.estimate)

    @property
    def text(self) -> str:
        """The change in words: ``latency 0.21 → 0.23 ms: 7 to 11 % more``."""
        then, now = self.metric.format_apart(self.then.median, self.now.median)
        return f"{self.metric.title.lower()} {then} → {now}: {self.change}"

    @property
    def change(self) -> str:
        """By how much the value moved, with the bounds of the interval."""
        if self.then.median == self.now.median:
            return "unchanged"
        if not self.is_sure:
            return f"not told apart ({_bounds(self.ratio)})" if self.ratio else "not told apart"
        if self.ratio is None:
            return "changed"
        return change_text(self.ratio)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with the raw samples of now."""
        ratio, then = self.ratio, self.then.summary()
        return {
            "then": {key: then[key] for key in ("median", "interval_95", "target")},
            "now": self.now.to_json(),
            "ratio": None if ratio is None else ratio.value,
            "ratio_95": None if ratio is None else ratio.interval.to_json(),
            "moved": self.is_sure,
        }


def change_text(ratio: Estimate) -> str:
    """Return a ratio that is surely above or below 1: ``7 to 11 % more``, or ``2.1 to 2.3 times as much``."""
    low, high = ratio.interval.lower, ratio.interval.upper
    if high > 2:
        return f"{low:.3g} to {high:.3g} times as much"
    word = "more" if ratio.value > 1 else "less"
    percents = sorted((100 * abs(low - 1), 100 * abs(high - 1)))
    numbers = [f"{each:.2g}" if each < 10 else f"{each:.0f}" for each in percents]
    return f"{numbers[0]} % {word}" if numbers[0] == numbers[1] else f"{numbers[0]} to {numbers[1]} % {word}"


def moved_between(then: Mapping[str, Measurement], now: Mapping[str, Measurement]) -> dict[str, Moved]:
    """Return the metrics that were measured both times."""
    return {name: Moved(METRICS[name], then[name], now[name]) for name in now if name in then and name in METRICS}


def differences(then: Mapping[str, Measurement], now: Mapping[str, Measurement]) -> tuple[str, ...]:
    """Return the circumstances that have changed in between, in words."""
    found = []
    for name in ("latency_ms", "item_ms", "peak_memory_mib"):
        if name not in then or name not in now:
            continue
        before, after = ({**each.conditions, CLOCK: each.clock} for each in (then[name], now[name]))
        for key in CIRCUMSTANCES:
            if before.get(key) != after.get(key) and before.get(key) is not None:
                found.append(f"{key.replace('_', ' ')}: {before[key]} → {after.get(key)}")
        recorded = before.get("reference_ms"), after.get("reference_ms")
        if all(isinstance(each, int | float) for each in recorded) and recorded[0] != recorded[1]:
            found.append(
                f"recorded reference speed, in ms of the reference model: {recorded[0]:.4g} → {recorded[1]:.4g}"
            )
        break
    return tuple(dict.fromkeys(found))


def is_same_place(then: Measurement, now: Measurement) -> bool:
    """Return True if both were taken with the same processor, runtime and version."""
    return all(then.conditions.get(key) == now.conditions.get(key) for key in ("processor", "runtime"))


def _bounds(ratio: Estimate) -> str:
    low, high = (100 * (each - 1) for each in (ratio.interval.lower, ratio.interval.upper))
    return f"{low:+.2g} to {high:+.2g} %"
