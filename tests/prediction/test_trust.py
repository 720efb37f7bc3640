"""Checks that decide if a predictor is good enough for a limit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from nas.prediction.predictor import HeldOut
from nas.prediction.trust import ENOUGH, LARGEST_HALF_WIDTH, NEAREST, half_width_at, verdict, warning_about
from nas.values.held_out import HeldOutError
from nas.values.metric import METRICS
from nas.values.objective import Limit

LATENCY = METRICS["latency_ms"]
LIMIT = Limit.parse("latency_ms <= 10ms")


def held_out(samples: int = 30, spearman: float = 0.95, coverage: float = 0.9) -> HeldOutError:
    """Return held-out errors with these figures."""
    return HeldOutError(samples, 0.05, spearman, 0.8, 0.6, 0.9, coverage, 0.2)


def predictions(half_width: float, far: float | None = None) -> HeldOut:
    """Return ``NEAREST`` predictions near 10 ms with bounds of ``half_width``, and as many at 100 ms with ``far``."""
    mean = np.concatenate([np.linspace(9, 11, NEAREST), np.full(NEAREST, 100.0)])
    halves = np.repeat([half_width, half_width if far is None else far], NEAREST)
    return HeldOut(mean, mean, mean * (1 - halves), mean * (1 + halves))


def test_a_good_predictor_needs_no_words() -> None:
    """Narrow bounds at the limit, a good ranking and good coverage leave no doubts."""
    assert verdict(LATENCY, held_out(), predictions(0.99 * LARGEST_HALF_WIDTH), [LIMIT]) == []


@pytest.mark.parametrize(
    ("half_width", "words"),
    [
        (0.22, "22 % to each side"),
        (2.9, "290 % to each side"),
        (19.57, "are unknown (too few measurements: 5)"),
        (math.inf, "are open"),
    ],
)
def test_wide_bounds_at_the_limit_are_not_good_enough(half_width: float, words: str) -> None:
    """Many samples and a good ranking do not make up for wide bounds."""
    (sentence,) = verdict(LATENCY, held_out(5), predictions(half_width), [LIMIT])
    assert sentence.startswith("The latency predictor is not good enough for latency ≤ 10 ms: near the limit")
    assert words in sentence


def test_wide_bounds_far_from_the_limit_do_no_harm() -> None:
    """Bounds count only near the limit."""
    assert verdict(LATENCY, held_out(), predictions(0.1, far=0.9), [LIMIT]) == []
    assert half_width_at(LIMIT, predictions(0.1, far=0.9)) == pytest.approx(0.1)
    assert half_width_at(Limit.parse("latency_ms <= 100ms"), predictions(0.1, far=0.9)) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("poor", "words"),
    [
        ({"spearman": 0.5}, "its Spearman correlation on held-out measurements is 0.50"),
        ({"coverage": 0.7}, "its 90 % bounds hold 70 % of the held-out measurements"),
    ],
)
def test_ranking_and_coverage_count_once_there_are_enough_samples(poor: dict[str, float], words: str) -> None:
    """With few samples both figures are luck, so they are ignored."""
    (sentence,) = verdict(LATENCY, held_out(ENOUGH, **poor), predictions(0.1), [LIMIT])
    assert words in sentence
    assert verdict(LATENCY, held_out(ENOUGH - 1, **poor), predictions(0.1), [LIMIT]) == []


def test_values_that_do_not_vary_have_no_order_to_get_wrong() -> None:
    """A correlation of NaN raises no doubt."""
    assert verdict(LATENCY, held_out(spearman=math.nan), predictions(0.1), [LIMIT]) == []


def test_without_a_limit_on_the_metric_there_is_nothing_to_say() -> None:
    """Limits on other metrics are ignored."""
    others = [Limit.parse("energy_mj <= 2mJ"), Limit.parse("params <= 1k")]
    assert verdict(LATENCY, held_out(spearman=0.1), predictions(0.9), others) == []


def test_a_limit_of_nothing_is_judged_by_the_lowest_predictions() -> None:
    """A limit of 0 has no logarithm, so the lowest predictions count."""
    lowest = half_width_at(Limit.parse("latency_ms <= 0ms"), predictions(0.1, far=0.9))
    assert lowest == pytest.approx(0.1)


def test_a_predictor_that_is_far_off_is_not_to_be_used() -> None:
    """Whether or not there is a limit; the sentence has the figure, what is asked for, and what to do."""
    far = replace(held_out(16), mape=27.0)
    sentence = warning_about(LATENCY, far)
    assert sentence is not None
    assert sentence.startswith(
        "Do not use the latency predictor: on 16 held-out architectures it was off by 2,700 % on average, and should "
        "be by 50 % at most. "
    )
    assert "Measure more architectures" in sentence
    assert warning_about(LATENCY, replace(far, mape=0.5)) is None
    assert "an unknown share" in str(warning_about(LATENCY, replace(far, mape=math.inf)))


def test_wide_bounds_do_no_harm_where_nothing_is_near_the_limit() -> None:
    """With 40 % to each side, all of 9 to 11 ms is surely below 30 ms, and 100 ms surely above."""
    assert verdict(LATENCY, held_out(), predictions(0.4), [Limit.parse("latency_ms <= 30ms")]) == []
    assert verdict(LATENCY, held_out(), predictions(0.4), [Limit.parse("latency_ms <= 200ms")]) == []
    (sentence,) = verdict(LATENCY, held_out(), predictions(0.4), [Limit.parse("latency_ms <= 13ms")])
    assert "near the limit its 90 % bounds reach 40 % to each side" in sentence
