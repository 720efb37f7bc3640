"""Objectives, which are minimised, and limits, which must hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from nas.errors import RecipeError
from nas.values.metric import (
    HIGHER_IS_BETTER,
    METRICS,
    Metric,
    bare_name,
    metric_named,
    on_target,
    target_in,
    unknown_metric,
)
from nas.values.target import Target

_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?"


@dataclass(frozen=True)
class Objective:
    """A metric to minimise. ``accuracy`` becomes ``error``, and so on for all of ``HIGHER_IS_BETTER``."""

    metric: Metric

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Return the objective called ``text``. Raises RecipeError if no metric has that name."""
        target, name = _apart(text.strip())
        metric = metric_named(HIGHER_IS_BETTER.get(name, name))
        return cls(_on(target, metric))

    def on_target(self, target: str) -> Objective:
        """Return the same objective of another target, by the target's name."""
        return Objective(METRICS[self.metric.bare].on_target(target))

    def __str__(self) -> str:
        return self.metric.name


@dataclass(frozen=True)
class Limit:
    """An upper bound on a metric, in the metric's own unit. ``words`` are its text as it was given."""

    metric: Metric
    value: float
    words: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Return the limit that is written as ``latency_ms <= 2ms``.

        ``accuracy >= 95%`` bounds the error, and ``throughput_per_s >= 1000`` bounds the time for one item.

        Raises:
            RecipeError: not of that form, an unknown metric, a missing unit, or one that does not fit the metric.
        """
        match = re.fullmatch(r"\s*((?:[^\s<>≤≥]+/)?[A-Za-z_]\w*)\s*([<>=]=?|≤|≥)\s*([^\s<>=≤≥].*?)\s*", text)
        if match is None:
            raise RecipeError(_malformed(text))
        written, comparison, amount = match.groups()
        target, name = _apart(written)
        if target:
            return cls.parse(f"{name} {comparison} {amount}").on_target(target)
        if name in HIGHER_IS_BETTER:
            if comparison not in (">=", "≥"):
                raise RecipeError(
                    f"{name} is bounded from below with >=, but got {text.strip()!r}. {_how_to_write(name)}"
                )
            return cls(*_from_below(name, amount), f"{name} >= {''.join(amount.split())}")
        if name not in METRICS:
            raise RecipeError(unknown_metric(name, (*METRICS, *HIGHER_IS_BETTER)))
        if comparison not in ("<=", "≤"):
            raise RecipeError(
                f"limits are upper bounds written with <=, but got {comparison!r} in {text.strip()!r}. "
                f"{_how_to_write(name)}"
            )
        metric = METRICS[name]
        return cls(metric, _rounded(metric.parse(amount)), f"{name} <= {''.join(amount.split())}")

    def on_target(self, target: str) -> Limit:
        """Return the same limit for another target, by the target's name; the empty name is the first target's.

        Raises:
            RecipeError: the metric is the same on every target.
        """
        bare = METRICS[self.metric.bare]
        name, comparison, amount = str(self).split(maxsplit=2)
        return Limit(_on(target, bare), self.value, f"{on_target(target, bare_name(name))} {comparison} {amount}")

    def excess(self, value: float) -> float:
        """Return by how much ``value`` exceeds the limit, relative to the limit; at most 0 where the limit holds."""
        return (value - self.value) / self.value if self.value > 0 else value

    def holds(self, value: float) -> bool:
        """Return True if ``value`` is within the limit."""
        return value <= self.value

    @property
    def key(self) -> str:
        """The limit by its value alone, as rows of a run name it: ``latency_ms <= 0.06``."""
        return f"{self.metric.name} <= {self.value:.12g}"

    def __str__(self) -> str:
        return self.words or f"{self.key}{self.metric.unit}"


def _apart(text: str) -> tuple[str, str]:
    """Return the target before a metric, as short as it can be written, and the metric's name."""
    written, name = target_in(text), bare_name(text)
    return Target.parse(written).short if written else "", name


def _on(target: str, metric: Metric) -> Metric:
    """Return a metric of a further target. Raises RecipeError if it is the same on every target."""
    if target and on_target(target, metric.name) not in METRICS:
        raise RecipeError(
            f"a target stands before a metric that is measured on it, but {metric.name} is {metric.source}, and the "
            f"same on all: write {metric.name} alone."
        )
    return metric.on_target(target)


GivenLimits = Limit | str | Iterable[Limit | str]
"""Limits as a user passes them: one or several, each as an object or as text."""


def limits_of(given: GivenLimits) -> tuple[Limit, ...]:
    """Return the limits that a user passed, one or several.

    Raises:
        RecipeError: one is malformed, or is neither a limit nor text.
    """
    found = [given] if isinstance(given, (Limit, str)) else given
    if not isinstance(found, Iterable):
        raise RecipeError(f'limits are texts such as "latency_ms <= 2ms", but got {found!r:.80}.')
    return tuple(map(_limit_of, found))


def _limit_of(given: Limit | str) -> Limit:
    if isinstance(given, Limit):
        return given
    if not isinstance(given, str):
        raise RecipeError(f'a limit is a text such as "latency_ms <= 2ms", but got {given!r:.80}.')
    return Limit.parse(given)


def _from_below(name: str, amount: str) -> tuple[Metric, float]:
    """Return the metric and its upper bound, for a lower bound on a name of which higher is better."""
    metric = METRICS[HIGHER_IS_BETTER[name]]
    if metric.is_share:
        try:
            accuracy = metric.parse(amount)
        except RecipeError:
            accuracy = 0.0
        if accuracy == 0:
            what = "an accuracy" if name == "accuracy" else f"a limit on {name}"
            raise RecipeError(f"{what} lies in (0, 1], or is written like 95%, but got {amount!r}.")
        return metric, _rounded(1 - accuracy)
    number = re.fullmatch(rf"({_NUMBER})\s*(/s)?", amount)
    if number is None or not 0 < float(number[1]) < math.inf or math.isinf(1000 / float(number[1])):
        raise RecipeError(f"a throughput is a positive number of items per second, but got {amount!r}.")
    return metric, _rounded(1000 / float(number[1]))


def _malformed(text: str) -> str:
    """Return the error for a text that is no limit. A metric's name alone is what a shell leaves of an unquoted one."""
    name = text.strip()
    if name in METRICS or name in HIGHER_IS_BETTER:
        return (
            f"a limit is a metric and its bound, but got {text!r} alone. {_how_to_write(name)} "
            "Quote it on the command line, where a shell takes < and > for itself."
        )
    return f"a limit is written like 'latency_ms <= 2ms', but got {text[:60]!r}."


def _how_to_write(name: str) -> str:
    if name == "throughput_per_s":
        return "Write 'throughput_per_s >= 1000', or 'item_ms <= 1ms'."
    if name == "error":
        return "Write 'error <= 10%', or 'accuracy >= 90%'."
    if name in HIGHER_IS_BETTER:
        return f"Write '{name} >= 90%', or '{HIGHER_IS_BETTER[name]} <= 10%'."
    return f"Write '{name} <= {METRICS[name].example}'."


def _rounded(value: float) -> float:
    """Return the value with the digits that ``Limit.key`` has, so that 1 − 95 % is exactly 0.05."""
    return float(f"{value:.12g}")


def trained_metrics(objectives: Iterable[Objective], limits: Iterable[Limit]) -> tuple[str, ...]:
    """Return the names of the trained metrics among objectives and limits, each once."""
    return _named(objectives, limits, "trained")


def measured_metrics(objectives: Iterable[Objective], limits: Iterable[Limit]) -> tuple[str, ...]:
    """Return the names of the measured metrics among objectives and limits, each once."""
    return _named(objectives, limits, "measured")


def modelled_metrics(objectives: Iterable[Objective], limits: Iterable[Limit]) -> tuple[str, ...]:
    """Return the names of the metrics that are modelled for a target, among objectives and limits, each once."""
    return _named(objectives, limits, "modelled")


def _named(objectives: Iterable[Objective], limits: Iterable[Limit], source: str) -> tuple[str, ...]:
    metrics = [*(objective.metric for objective in objectives), *(limit.metric for limit in limits)]
    return tuple(dict.fromkeys(metric.name for metric in metrics if metric.source == source))


def quality_of(objectives: Iterable[Objective]) -> Metric:
    """Return the first trained objective, by which curves and stopping go; the error where none is trained."""
    trained = (objective.metric for objective in objectives if objective.metric.source == "trained")
    return next(trained, METRICS["error"])


def with_units(text: str) -> str:
    """Return a limit of a recipe that an older version wrote, ``latency_ms <= 2``, with its metric's unit added."""
    match = re.fullmatch(rf"([a-z_]+) <= ({_NUMBER})", text)
    return text if match is None or match[1] not in METRICS else f"{text}{METRICS[match[1]].unit}"


def reason_text(reason: str, limits: Iterable[Limit]) -> str:
    """Return the reason of a row that a limit turned away, with the limit as it was given instead of its ``key``."""
    for limit in limits:
        if reason == limit.key or reason.startswith(f"{limit.key}:"):
            return f"{limit}{reason.removeprefix(limit.key)}"
    return reason


MICRO = re.compile("^[uμ](?=[sJ]$)")
"""The spellings of micro, ``us`` and Greek ``μs``, that people write for ``µs``."""


def limit_text(limit: Limit) -> str:
    """Return the limit for people, as it was given: ``latency ≤ 60 µs``, or ``accuracy ≥ 95 %``."""
    written, comparison, amount = str(limit).split(maxsplit=2)
    name = bare_name(written)
    title = limit.metric.higher[1] if limit.metric.higher and name in HIGHER_IS_BETTER else limit.metric.title.lower()
    if limit.metric.is_share and "%" not in amount:
        amount = f"{100 * (1 - limit.value if name in HIGHER_IS_BETTER else limit.value):.6g}%"
    if name == "throughput_per_s":
        amount = f"{amount.removesuffix('/s')}/s"
    number = re.match(rf"[+-]?{_NUMBER}", amount)
    assert number is not None, amount
    unit = MICRO.sub("µ", amount[number.end() :])
    return f"{title} {'≥' if comparison == '>=' else '≤'} {number[0]} {unit}".strip()
