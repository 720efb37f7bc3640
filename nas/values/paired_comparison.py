"""Comparing two models by their measurements: the ratio with its interval, and a verdict in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from nas.values.comparison import ratio_of
from nas.values.measurement import (
    OPERATORS,
    SPREAD_DOUBT,
    USUAL_SPREAD,
    WEIGHT_BYTES,
    Interval,
    Measurement,
    logs_around_median,
)
from nas.values.metric import METRICS, SUSTAINED, TIMED
from nas.values.pareto import FloatArray

PAIR_DOUBT = 0.006
"""Half of a 95 % interval: how far the ratio of two models differs between measurements beyond its rounds' spread.

``experiments.pair_verdicts`` measured it, on pairs whose rounds alone fix the ratio to 1 %: only there this doubt
decides. On two machines, two measurements then agree within their joint interval in 96 % of the cases, and also where
rounds fix the ratio to 0.6 %. With 0.004 that is 88 to 94 %. The doubts of two models on their own, in quadrature,
would be 0.011, but what both have in common cancels in the ratio.
"""
ALIKE, UNLIKE = 0.3, 1.5
"""The share of what is unseen that remains in the ratio of two models that are alike, and the ratio of latencies or of
weights from which on they are not alike at all.

``experiments.near_twins`` checks it: on ratios of networks of 19 and of 20 equal layers, beside eight other programs.
"""
MUCH = 2.0
"""From this ratio on, a verdict says how many times as fast, and not by how many per cent."""
Verdict = Literal["lower", "higher", "same"]


@final
@dataclass(frozen=True)
class Ratios:
    """The ratio of two latencies in each round, shape (N,): the second model's by the first one's.

    ``unseen`` is half of a 95 % interval, as a logarithm, of what neither rounds nor clocks show of the ratio.
    """

    values: FloatArray
    unseen: float = 0.0

    @property
    def median(self) -> float:
        """The median of the rounds' ratios."""
        return float(np.median(self.values))

    @property
    def scatter(self) -> float:
        """Half the width of the interval by rounds alone, relative to the median. More rounds make it narrower."""
        lower, upper = logs_around_median(self.values / self.median)
        return (lower + upper) / 2

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the ratio: of the rounds, widened by what no number of rounds shows."""
        lower, upper = logs_around_median(self.values / self.median)
        logs = np.log(self.values / self.median)
        spread = float(logs.std(ddof=1))
        doubt = math.hypot(PAIR_DOUBT, self.unseen, SPREAD_DOUBT * math.sqrt(max(0.0, spread**2 - USUAL_SPREAD**2)))
        return Interval(
            self.median * math.exp(-math.hypot(lower, doubt)), self.median * math.exp(math.hypot(upper, doubt))
        )


def paired(first: Measurement, second: Measurement) -> Ratios:
    """Return the ratios of two models that were measured in the same rounds, the second by the first.

    Both are corrected for the drift of their rounds. How much slower the machine is than when its reference speed was
    recorded does not matter for a ratio: both models run on the machine as it is.

    Raises:
        ValueError: they do not have the same rounds, or fewer than two.
    """
    count = len(first.rounds)
    if count != len(second.rounds) or count < 2:
        raise ValueError(f"two models are compared in the same rounds, at least 2, but got {count} and "
                         f"{len(second.rounds)}.")  # fmt: skip
    readings = second.readings / first.readings
    return Ratios(readings, max(first.unseen, second.unseen) * _unlikeness(first, second, float(np.median(readings))))


def _unlikeness(first: Measurement, second: Measurement, ratio: float) -> float:
    """Return the share of what is unseen of two models that does not cancel in their ratio.

    Caches that other programs fill slow two models alike if both execute the same operators, in about the same time and
    with about as many weights. Some runtimes do not tell what they execute.
    """
    sizes = [each.conditions.get(WEIGHT_BYTES) or 0 for each in (first, second)]
    operators = [set(each.conditions.get(OPERATORS) or ()) for each in (first, second)]
    if min(sizes) <= 0 or not operators[0] or operators[0] != operators[1]:
        return 1.0
    apart = max(abs(math.log(ratio)), abs(math.log(sizes[1] / sizes[0]))) / math.log(UNLIKE)
    return ALIKE + (1 - ALIKE) * min(1.0, apart)


@final
@dataclass(frozen=True, repr=False)
class Comparison:
    """A second model compared with a first one by one metric.

    Attributes:
        metric: the name of the metric.
        first: the name of the first model.
        second: the name of the second one.
        ratio: the second model's value by the first one's, such as 0.92.
        interval: the 95 % interval of the ratio.
        rounds: the rounds in which both were measured together; 0 where they were measured apart.
        doubts: doubts about either measurement.
    """

    metric: str
    first: str
    second: str
    ratio: float
    interval: Interval
    rounds: int = 0
    doubts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Comparison: {self.sentence}"

    def __str__(self) -> str:
        return self.sentence

    @property
    def verdict(self) -> Verdict:
        """``lower`` if the second model surely has the lower value, ``higher`` if the higher one, else ``same``."""
        if self.interval.upper < 1:
            return "lower"
        return "higher" if self.interval.lower > 1 else "same"

    @property
    def sentence(self) -> str:
        """The verdict for people: ``b.onnx is 7 to 9 % faster than a.onnx.``"""
        (better, worse), title = METRICS[self.metric].differs, METRICS[self.metric].title.lower()
        if self.interval.is_point and self.ratio == 1:
            return f"{self.second} and {self.first} have the same {title}."
        if self.verdict == "same":
            return (
                f"{self.second} and {self.first} cannot be told apart in {title}: the difference lies between "
                f"{_signed(self.interval.lower)} and {_signed(self.interval.upper)}."
            )
        low, high = self.interval.lower, self.interval.upper
        if self.verdict == "lower":
            if high < 1 / MUCH and self.metric in TIMED:
                return f"{self.second} is {_range(1 / high, 1 / low, 1)} times as fast as {self.first}."
            return f"{self.second} {better.format(_range(100 * (1 - high), 100 * (1 - low)))} than {self.first}."
        if low > MUCH and self.metric in TIMED:
            return f"{self.second} takes {_range(low, high, 1)} times as long as {self.first}."
        return f"{self.second} {worse.format(_range(100 * (low - 1), 100 * (high - 1)))} than {self.first}."

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "metric": self.metric,
            "first": self.first,
            "second": self.second,
            "ratio": self.ratio,
            "interval_95": self.interval.to_json(),
            "verdict": self.verdict,
            "sentence": self.sentence,
            "rounds": self.rounds,
            "doubts": list(self.doubts),
        }


def compared(
    metric: str, first: tuple[str, Measurement], second: tuple[str, Measurement], *, together: bool
) -> Comparison:
    """Return the second model compared with the first; each is a name and a measurement of the same metric.

    Latencies that were measured ``together``, in the same rounds, are compared round by round. Sustained ones come one
    after the other. They and all others are compared by their intervals: the halves that face each other are added in
    quadrature, as logarithms. So are those of two targets, such as two precisions, which never share rounds.

    Raises:
        ValueError: a value is zero, so that there is no ratio.
    """
    (first_name, one), (second_name, other) = first, second
    if one.median <= 0 or other.median <= 0:
        raise ValueError(f"models are compared by ratios, but the {METRICS[metric].title.lower()} of one is 0.")
    doubts = tuple(dict.fromkeys((*one.flags, *other.flags)))
    shares_rounds = together and one.target == other.target and len(one.rounds) == len(other.rounds) > 1
    if shares_rounds and metric in TIMED and metric != SUSTAINED:
        ratios = paired(one, other)
        return Comparison(metric, first_name, second_name, ratios.median, ratios.interval, len(ratios.values), doubts)
    ratio = ratio_of(other.estimate, one.estimate)
    return Comparison(metric, first_name, second_name, ratio.value, ratio.interval, 0, doubts)


def _range(low: float, high: float, digits: int = 0) -> str:
    """Return two numbers with enough digits to differ: ``7 to 9``, or one of them where they are equal."""
    if high - low < 1e-9 * high:
        return f"{high:.3g}"
    for more in range(digits, digits + 3):
        texts = f"{low:.{more}f}", f"{high:.{more}f}"
        if texts[0] != texts[1] and float(texts[0]) > 0:
            return f"{texts[0]} to {texts[1]}"
    return texts[1]


def _signed(ratio: float) -> str:
    """Return a ratio as a difference from 1 in words: ``2.1 % less`` or ``0.4 % more``."""
    share = 100 * (ratio - 1)
    return f"{abs(share):.1f} % {'less' if share < 0 else 'more'}"
