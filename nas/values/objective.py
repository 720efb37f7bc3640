"""Objectives, which are minimised, and limits, which must hold."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from nas.errors import RecipeError
from nas.values.metric import Metric, metric_named

_LOSSES = {"accuracy": "error", "throughput_per_s": "item_ms"}
"""Names of which higher is better, and the metric that is minimised in their place."""


@dataclass(frozen=True)
class Objective:
    """A metric to minimise. ``accuracy`` becomes ``error``, and ``throughput_per_s`` becomes ``item_ms``."""

    metric: Metric

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Return the objective called ``text``. Raises RecipeError if no metric has that name."""
        name = text.strip()
        return cls(metric_named(_LOSSES.get(name, name)))

    def __str__(self) -> str:
        return self.metric.name


@dataclass(frozen=True)
class Limit:
    """An upper bound on a metric, in the metric's own unit."""

    metric: Metric
    value: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Return the limit that is written as ``latency_ms <= 2ms``.

        ``accuracy >= 95%`` bounds the error, and ``throughput_per_s >= 1000`` bounds the time for one item.

        Raises:
            RecipeError: not of that form, an unknown metric, or a unit that does not fit it.
        """
        match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*([<>=]=?|≤|≥)\s*([^\s<>=≤≥].*?)\s*", text)
        if match is None:
            raise RecipeError(f"a limit is written like 'latency_ms <= 2ms', but got {text!r}.")
        name, comparison, amount = match.groups()
        if name == "accuracy":
            if comparison not in (">=", "≥"):
                raise RecipeError(f"accuracy is bounded from below with >=, but got {text.strip()!r}.")
            try:
                accuracy = metric_named("error").parse(amount)
            except RecipeError:
                accuracy = 0.0
            if accuracy == 0:
                raise RecipeError(f"an accuracy lies in (0, 1], or is written like 95%, but got {amount!r}.")
            return cls(metric_named("error"), _rounded(1 - accuracy))
        if name == "throughput_per_s":
            if comparison not in (">=", "≥"):
                raise RecipeError(f"throughput_per_s is bounded from below with >=, but got {text.strip()!r}.")
            number = re.fullmatch(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(/s)?", amount)
            if number is None or not 0 < float(number[1]) < math.inf:
                raise RecipeError(f"a throughput is a positive number of items per second, but got {amount!r}.")
            return cls(metric_named("item_ms"), _rounded(1000 / float(number[1])))
        if comparison not in ("<=", "≤"):
            raise RecipeError(f"limits are upper bounds written with <=, but got {comparison!r} in {text.strip()!r}.")
        metric = metric_named(name)
        return cls(metric, _rounded(metric.parse(amount)))

    def excess(self, value: float) -> float:
        """Return by how much ``value`` exceeds the limit, relative to the limit; at most 0 where the limit holds."""
        return (value - self.value) / self.value if self.value > 0 else value

    def holds(self, value: float) -> bool:
        """Return True if ``value`` is within the limit."""
        return value <= self.value

    def __str__(self) -> str:
        return f"{self.metric.name} <= {self.value:.12g}"


def _rounded(value: float) -> float:
    """Return the value as ``Limit`` writes it, so that reading gives it back, and 1 − 95 % is exactly 0.05."""
    return float(f"{value:.12g}")


def limit_text(limit: Limit) -> str:
    """Return the limit for people: ``latency ≤ 2 ms``, or ``accuracy ≥ 95 %`` for a limit on the error."""
    if limit.metric.name == "error":
        return f"accuracy ≥ {100 * (1 - limit.value):.6g} %"
    return f"{limit.metric.title.lower()} ≤ {limit.metric.format(limit.value)}"
