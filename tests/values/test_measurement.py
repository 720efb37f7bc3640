"""A measurement derives median and interval from raw samples, and refuses impossible ones."""

from __future__ import annotations

import json
import math
import statistics
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nas.values.measurement import (
    CLOCK,
    SESSION_DOUBT,
    SPREAD_DOUBT,
    THREAD,
    USUAL_SPREAD,
    WALL,
    Interval,
    Measurement,
)

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"
TRUTH_MS = 2.0

positive = st.floats(1e-6, 1e9)
rounds_strategy = st.lists(st.lists(positive, min_size=1, max_size=8).map(tuple), min_size=1, max_size=6).map(tuple)


def measurement_of(*rounds: tuple[float, ...], drifts: tuple[float, ...] = ()) -> Measurement:
    return Measurement("latency_ms", TARGET, rounds, drifts=drifts)


def synthetic(
    rng: np.random.Generator, rounds: int, samples: int, between: float, within: float
) -> tuple[tuple[float, ...], ...]:
    """Return samples around each session's level, with these levels around the truth."""
    levels = TRUTH_MS * rng.lognormal(0, between, rounds)
    return tuple(tuple((level * rng.lognormal(0, within, samples)).tolist()) for level in levels)


@pytest.mark.parametrize(
    ("rounds", "samples", "between", "within"),
    [
        (5, 100, 0.03, 0.05),
        (5, 100, 0.03, 0.01),
        (5, 20, 0.0, 0.05),
        (3, 1, 0.01, 0.0),
        (10, 50, 0.03, 0.05),
    ],
)
def test_95_percent_of_the_intervals_hold_the_truth(rounds: int, samples: int, between: float, within: float) -> None:
    """95 % of the intervals hold the truth, whichever noise is larger. 2,000 runs show this to ±1.5 %."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        interval = measurement_of(*synthetic(rng, rounds, samples, between, within)).interval
        held += interval.lower <= TRUTH_MS <= interval.upper
    assert 0.935 <= held / 2000 <= 0.965


@pytest.mark.parametrize("between", [0.005, 0.015, 0.05])
def test_the_interval_holds_the_truth_when_rounds_are_added_until_it_is_narrow(between: float) -> None:
    """At least 90 % do so with 5 to 15 rounds until ±1 %: stopping when readings agree by chance costs up to 5 %."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        rounds = synthetic(rng, 15, 20, between, 0.01)
        enough = next((n for n in range(5, 15) if measurement_of(*rounds[:n]).scatter <= 0.01), 15)
        interval = measurement_of(*rounds[:enough]).interval
        held += interval.lower <= TRUTH_MS <= interval.upper
    assert held / 1000 >= 0.90


def test_one_round_is_judged_by_its_samples() -> None:
    """With a single session, the interval is about the level of that session."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        interval = measurement_of(*synthetic(rng, 1, 30, 0.0, 0.05)).interval
        held += interval.lower <= TRUTH_MS <= interval.upper
    assert 0.93 <= held / 1000 <= 0.97


def test_the_interval_is_cheap() -> None:
    """Five rounds of a hundred samples take less than 10 ms, in the best of five tries on a busy machine."""
    rounds = synthetic(np.random.default_rng(0), 5, 100, 0.03, 0.05)
    durations_s = []
    for _ in range(5):
        start = time.perf_counter()
        assert measurement_of(*rounds).interval.upper > TRUTH_MS / 2
        durations_s.append(time.perf_counter() - start)
    assert min(durations_s) < 0.01


@given(rounds_strategy)
def test_the_interval_holds_the_median(rounds: tuple[tuple[float, ...], ...]) -> None:
    """The median of the rounds' medians never lies outside the interval."""
    one, other = measurement_of(*rounds), measurement_of(*rounds)
    assert one.interval == other.interval
    assert one.median == pytest.approx(statistics.median(statistics.median(samples) for samples in rounds))
    assert one.interval.lower <= one.median <= one.interval.upper
    assert one.interval.lower >= 0


@given(st.lists(positive, min_size=2, max_size=6), st.floats(0.01, 100))
def test_the_interval_scales_with_the_unit(readings: list[float], factor: float) -> None:
    """A change of the unit scales the interval by the same factor."""
    here = measurement_of(*((reading,) for reading in readings))
    there = measurement_of(*((factor * reading,) for reading in readings))
    assert there.interval.lower == pytest.approx(factor * here.interval.lower, rel=1e-6)
    assert there.interval.upper == pytest.approx(factor * here.interval.upper, rel=1e-6)


@given(positive, st.integers(1, 5))
def test_equal_readings_give_a_point(reading: float, rounds: int) -> None:
    """Sizes in bytes, and readings that agree to the last bit, have a point as interval."""
    interval = measurement_of(*((reading,) for _ in range(rounds))).interval
    assert interval == Interval(reading, reading)


def test_derived_values_are_corrected_for_drift() -> None:
    """Each round is corrected by its own drift, and the samples stay as they were read."""
    rounds = ((1.0, 1.0), (1.1, 1.1), (2.4, 2.4))
    measurement = measurement_of(*rounds, drifts=(1.0, 1.1, 1.2))
    assert measurement.median == pytest.approx(1.0)
    assert (measurement.raw_median, measurement.drift, measurement.rounds) == (1.1, 1.1, rounds)
    assert measurement.p95 == pytest.approx(2.0)
    assert measurement_of(*rounds).drift == 1.0
    assert measurement_of(*rounds).median == measurement_of(*rounds).raw_median == 1.1


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("drift", [1.21, 1 / 1.21])
def test_half_of_a_drift_is_doubt(count: int, drift: float) -> None:
    """Exact readings on a machine that is 21 % slower or faster are known to a factor of 1.1, and the session noise."""
    reach = math.hypot(SESSION_DOUBT, math.log(1.1))
    measurement = measurement_of(*[(2 * drift,)] * count, drifts=(drift,) * count)
    assert measurement.median == pytest.approx(2.0)
    if count == 1:  # the interval of a single reading is a point
        assert measurement.interval == Interval(measurement.median, measurement.median)
    else:
        assert measurement.interval.lower == pytest.approx(2 * math.exp(-reach))
        assert measurement.interval.upper == pytest.approx(2 * math.exp(reach))
        assert measurement.half_width == pytest.approx(math.sinh(reach))
        assert measurement.scatter == 0


def test_one_disturbed_round_does_not_widen_the_interval() -> None:
    """One round that took twice as long changes little beside fourteen within ±1 %."""
    calm = [(2 * (1 + 0.001 * step),) for step in range(-7, 8)]
    disturbed = [*calm[:10], (4.0,), *calm[11:]]
    assert measurement_of(*disturbed).half_width < 1.5 * measurement_of(*calm).half_width < 0.01


def test_rounds_that_differ_for_a_reason_widen_the_interval() -> None:
    """The rounds are as far apart as sessions may be, so that many rounds of one session do not make it sure."""
    calm = measurement_of(*[(2 * math.exp(0.005 * step),) for step in range(-7, 8)], drifts=(1.0,) * 15)
    moving = measurement_of(*[(2 * math.exp(0.01 * step),) for step in range(-7, 8)], drifts=(1.0,) * 15)
    assert calm.spread == pytest.approx(1.4826 * 0.02)
    assert moving.spread == pytest.approx(1.4826 * 0.04)
    for measurement in (calm, moving):
        least = SPREAD_DOUBT * math.sqrt(measurement.spread**2 - USUAL_SPREAD**2)
        assert measurement.interval.upper >= 2 * math.exp(least)
        assert measurement.interval.lower <= 2 * math.exp(-least)
    assert moving.scatter < moving.half_width / 2


def test_a_usual_spread_of_rounds_leaves_the_interval_as_it_is() -> None:
    """Chance explains rounds that differ by 1 %, and a single round or a single disturbed one shows no spread."""
    chance = [(2 * (1 + 0.001 * step),) for step in range(-7, 8)]
    found = measurement_of(*chance, drifts=(1.0,) * 15)
    assert 0 < found.spread < USUAL_SPREAD
    assert math.log(found.interval.upper / 2) == pytest.approx(math.hypot(SESSION_DOUBT, found.scatter), rel=0.05)
    disturbed = measurement_of(*chance[:10], (4.0,), *chance[11:], drifts=(1.0,) * 15)
    assert disturbed.spread < USUAL_SPREAD
    assert measurement_of((1.0, 2.0)).spread == 0


@given(rounds_strategy, st.floats(0.5, 2))
def test_the_doubt_never_narrows_an_interval(rounds: tuple[tuple[float, ...], ...], drift: float) -> None:
    """An even drift scales the median, and the interval is at least as wide as without it."""
    plain, drifted = measurement_of(*rounds), measurement_of(*rounds, drifts=(drift,) * len(rounds))
    assert drifted.median == pytest.approx(plain.median / drift)
    assert drifted.interval.lower <= plain.interval.lower / drift * (1 + 1e-9)
    assert drifted.interval.upper >= plain.interval.upper / drift * (1 - 1e-9)


@pytest.mark.parametrize("drifts", [(1.0,), (1.0, 1.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (math.nan, 1.0), (math.inf, 1.0)])
def test_refuses_other_drifts(drifts: tuple[float, ...]) -> None:
    """Drifts are one positive ratio for each round, or there are none."""
    with pytest.raises(ValueError, match=r"drifts must be one positive ratio for each of 2 rounds, got \("):
        measurement_of((1.0,), (2.0,), drifts=drifts)


def test_p95_is_over_all_samples() -> None:
    """The tail is that of all rounds together."""
    assert measurement_of(tuple(range(1, 51)), tuple(range(51, 102))).p95 == 96


@given(rounds_strategy, st.lists(st.text()).map(tuple), st.none() | st.floats(0.1, 10))
def test_a_measurement_survives_json(
    rounds: tuple[tuple[float, ...], ...], flags: tuple[str, ...], drift: float | None
) -> None:
    """The JSON of a measurement gives an equal measurement."""
    drifts = () if drift is None else (drift,) * len(rounds)
    measurement = Measurement("latency_ms", TARGET, rounds, {"threads": 1, "cores": [0, 1]}, flags, drifts)
    text = json.dumps(measurement.to_json())
    assert Measurement.from_json(json.loads(text)) == measurement


def test_a_stopwatch_shows_the_time_for_which_others_had_the_core() -> None:
    """Raw and corrected values stand side by side where they differ by a tenth, and both survive JSON."""
    found = Measurement(
        "latency_ms",
        "t",
        ((1.0, 1.0), (1.02, 1.0)),
        {CLOCK: THREAD},
        drifts=(1.0, 1.0),
        walls=((5.0, 1.0, 4.0), (6.0,)),
        unseen=0.05,
    )
    assert found.raw_median == 5.0
    assert found.raw_beside == 5.0
    assert found.clock == THREAD
    assert found.half_width >= 0.05
    again = Measurement.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found
    summary = found.summary()
    assert summary["raw_median"] == 5.0
    assert summary["clock"] == THREAD
    assert summary["interval_95"] == [found.interval.lower, found.interval.upper]


def test_a_small_correction_is_not_shown_beside() -> None:
    """Nor is there any where nothing was corrected; older rows are of the wall clock."""
    corrected = measurement_of((1.0, 1.0), (1.0, 1.02), drifts=(1.05, 1.05))
    assert corrected.raw_beside is None
    assert measurement_of((1.0, 1.0), (1.0, 1.02), drifts=(1.2, 1.2)).raw_beside == pytest.approx(1.005)
    assert measurement_of((1.0, 1.0)).raw_beside is None
    assert corrected.clock == WALL
    assert Measurement("weight_bytes", "t", ((0.0,),)).clock is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"walls": ((1.0,),)}, "walls must be samples for each of 2 rounds, got 1"),
        ({"walls": ((1.0,), ())}, "walls must be samples for each of 2 rounds"),
        ({"unseen": -0.1}, "unseen must be finite and at least 0, but got -0.1"),
        ({"unseen": math.inf}, "unseen must be finite and at least 0"),
    ],
)
def test_refuses_impossible_walls_and_doubts(changes: dict[str, Any], message: str) -> None:
    """A damaged row must not become a measurement."""
    with pytest.raises(ValueError, match=message):
        Measurement("latency_ms", "t", ((1.0,), (1.0,)), **changes)


def test_rows_without_drifts_are_read() -> None:
    """Such rows have no drifts."""
    row = measurement_of((1.0, 2.0), (3.0,)).to_json()
    del row["drifts"]
    assert Measurement.from_json(row) == measurement_of((1.0, 2.0), (3.0,))


def test_people_find_the_derived_figures_in_the_row() -> None:
    """The JSON has median, interval and tail beside the samples."""
    row = measurement_of((1.0, 2.0, 3.0), (2.0, 2.0)).to_json()
    assert (row["median"], row["interval_95"], row["p95"]) == (2.0, [2.0, 2.0], pytest.approx(2.8))


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        ((), "a measurement must have at least one sample in each round, but got none"),
        (((1.0,), ()), "a measurement must have at least one sample in each round"),
        (((1.0, math.nan),), "samples of latency_ms must be finite and positive, but got nan"),
        (((1.0,), (math.inf,)), "but got inf"),
        (((0.0,),), "but got 0.0"),
        (((-1.0,),), "but got -1.0"),
    ],
)
def test_refuses_what_no_instrument_reads(rounds: tuple[tuple[float, ...], ...], message: str) -> None:
    """A failure is never a value: no samples, NaN and zero are refused."""
    with pytest.raises(ValueError, match=message):
        measurement_of(*rounds)


def test_an_interval_has_its_bounds_in_order() -> None:
    """The lower bound comes first, and NaN is no bound."""
    with pytest.raises(ValueError, match=r"lower must not exceed upper, but got 2\.0 and 1\.0"):
        Interval(2.0, 1.0)
    with pytest.raises(ValueError, match="lower must not exceed upper"):
        Interval(math.nan, 1.0)


def test_conditions_cannot_be_changed() -> None:
    """They can be neither assigned nor changed through the mapping that they were made from."""
    conditions = {"threads": 1}
    measurement = Measurement("latency_ms", TARGET, ((1.0,),), conditions)
    conditions["threads"] = 2
    assert measurement.conditions["threads"] == 1
    with pytest.raises(TypeError, match="does not support item assignment"):
        measurement.conditions["threads"] = 3  # type: ignore[index]
