"""Comparing two models: ratios round by round, their intervals, and verdicts in sentences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas.values.measurement import OPERATORS, WEIGHT_BYTES, Interval, Measurement
from nas.values.paired_comparison import ALIKE, PAIR_DOUBT, UNLIKE, Comparison, compared, paired

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"


def latency(readings: list[float], drifts: tuple[float, ...] = (), metric: str = "latency_ms") -> Measurement:
    return Measurement(metric, TARGET, tuple((reading,) for reading in readings), drifts=drifts)


def together(first: Measurement, second: Measurement) -> Comparison:
    return compared(first.metric, ("a.onnx", first), ("b.onnx", second), together=True)


def test_a_machine_that_slows_down_does_not_hide_a_difference() -> None:
    """Both models run in the same rounds, so what changes from round to round cancels."""
    pace = np.linspace(1.0, 1.5, 12)
    found = together(latency((2.0 * pace).tolist()), latency((1.84 * pace).tolist()))
    assert found.ratio == pytest.approx(0.92)
    assert found.verdict == "lower"
    assert found.sentence == "b.onnx is 7 to 9 % faster than a.onnx."
    assert found.rounds == 12
    apart = compared("latency_ms", ("a.onnx", latency((2.0 * pace).tolist())),
                     ("b.onnx", latency((1.84 * pace).tolist())), together=False)  # fmt: skip
    assert apart.verdict == "same"


def test_drift_is_corrected_before_the_ratio() -> None:
    drifts = (1.0, 1.1, 1.2)
    one = latency([1.0, 1.1, 1.2], drifts)
    other = latency([2.0, 2.0, 2.0])
    assert paired(one, other).median == pytest.approx(2.0)


def test_what_no_clock_sees_widens_a_ratio_once() -> None:
    """Two models beside the same busy neighbour have most of that in common."""
    plain = together(latency([2.0] * 6), latency([1.9] * 6))
    busy = [replace(latency([value] * 6), unseen=unseen) for value, unseen in ((2.0, 0.03), (1.9, 0.02))]
    widened = together(*busy)
    assert plain.verdict == widened.verdict == "lower"
    assert widened.interval.upper == pytest.approx(0.95 * np.exp(np.hypot(PAIR_DOUBT, 0.03)))
    assert together(*(replace(each, unseen=0.06) for each in busy)).verdict == "same"


def test_what_no_clock_sees_mostly_cancels_between_models_that_are_alike() -> None:
    """They execute the same operators, in about the same time, with about as many weights."""

    def beside_others(value: float, weights: int | None, operators: tuple[str, ...] = ("Conv", "Relu")) -> Measurement:
        conditions = {OPERATORS: dict.fromkeys(operators, 3), WEIGHT_BYTES: weights}
        return replace(latency([value] * 6), unseen=0.06, conditions=conditions)

    def half(first: Measurement, second: Measurement) -> float:
        return paired(first, second).unseen

    one = beside_others(2.0, 1_000_000)
    assert half(one, beside_others(2.0, 1_000_000)) == pytest.approx(ALIKE * 0.06)
    assert ALIKE * 0.06 < half(one, beside_others(2.1, 1_000_000)) < half(one, beside_others(2.4, 1_000_000)) < 0.06
    assert half(one, beside_others(2.0, 1_400_000)) == half(beside_others(2.0, 1_400_000), one)
    for other in (
        beside_others(2.0 * UNLIKE, 1_000_000),
        beside_others(2.0, 2_000_000),
        beside_others(2.0, 1_000_000, ("Gemm", "Relu")),
        beside_others(2.0, None),
    ):
        assert half(one, other) == pytest.approx(0.06)
    untold = beside_others(2.0, 1_000_000, ())  # as by a runtime that does not say what it executes
    assert half(untold, untold) == pytest.approx(0.06)
    assert together(one, beside_others(1.9, 950_000)).verdict == "lower"
    assert together(one, beside_others(1.9, None)).verdict == "same"


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.995, 1.0, 1.005, 1.1, 3.0])
def test_copies_of_one_model_are_rarely_told_apart_and_others_are(factor: float) -> None:
    """Readings scatter by 1 %, and ratios by 0.3 % from one measurement to the next, as measured on two machines.

    At most one in twenty verdicts about models without a difference is wrong, and a tenth is always found.
    """
    rng = np.random.default_rng(7)
    verdicts, inside = [], 0
    for _ in range(200):
        shift = rng.normal(0, 0.0021, 2)
        one = latency((1.0 * (1 + shift[0]) * rng.normal(1, 0.01, 10)).tolist())
        other = latency((factor * (1 + shift[1]) * rng.normal(1, 0.01, 10)).tolist())
        found = together(one, other)
        verdicts.append(found.verdict)
        inside += found.interval.lower <= factor <= found.interval.upper
    assert inside >= 0.94 * len(verdicts)
    if factor == 1.0:
        assert verdicts.count("same") >= 0.95 * len(verdicts)
    if abs(factor - 1) >= 0.1:
        assert set(verdicts) == {"lower" if factor < 1 else "higher"}


def test_many_rounds_leave_an_interval_that_contains_95_of_100_ratios() -> None:
    """It is not much wider than that: the doubt that remains is that of a ratio, in which much cancels."""
    rng = np.random.default_rng(11)
    inside, widths = 0, []
    for _ in range(400):
        rounds = rng.normal(1, 0.002, (2, 30)) * (1 + rng.normal(0, 0.0021, 2))[:, None]
        found = together(*(latency(each.tolist()) for each in rounds))
        inside += found.interval.lower <= 1 <= found.interval.upper
        widths.append(found.interval.upper - found.interval.lower)
    assert 0.93 <= inside / 400 <= 0.975
    assert np.median(widths) < 0.016


def test_models_of_two_targets_share_no_rounds() -> None:
    """Though as many of both were measured: each precision has a bench of its own."""
    pace = np.linspace(1.0, 1.5, 12)
    plain, small = (latency((factor * pace).tolist()) for factor in (2.0, 1.84))
    other = Measurement("latency_ms", TARGET.replace("fp32", "int8"), small.rounds)
    found = compared("latency_ms", ("a", plain), ("b", other), together=True)
    assert found.rounds == 0
    assert found.verdict == "same"


SENTENCES = {
    (0.92, 0.91, 0.93): "b.onnx is 7 to 9 % faster than a.onnx.",
    (0.991, 0.985, 0.997): "b.onnx is 0.3 to 1.5 % faster than a.onnx.",
    (1.05, 1.03, 1.07): "b.onnx is 3 to 7 % slower than a.onnx.",
    (0.25, 0.2, 0.4): "b.onnx is 2.5 to 5.0 times as fast as a.onnx.",
    (3.0, 2.5, 3.5): "b.onnx takes 2.5 to 3.5 times as long as a.onnx.",
    (1.0, 0.98, 1.01): "b.onnx and a.onnx cannot be told apart in latency: the difference lies between 2.0 % less and "
    "1.0 % more.",
    (1.0, 1.0, 1.0): "b.onnx and a.onnx have the same latency.",
}


@pytest.mark.parametrize("values", SENTENCES)
def test_verdicts_are_sentences(values: tuple[float, float, float]) -> None:
    ratio, lower, upper = values
    found = Comparison("latency_ms", "a.onnx", "b.onnx", ratio, Interval(lower, upper))
    assert found.sentence == str(found) == SENTENCES[values]
    assert found.to_json()["interval_95"] == [lower, upper]


def test_sizes_and_energies_have_words_of_their_own() -> None:
    def said(metric: str, one: float, other: float) -> str:
        pair = [latency([value], metric=metric) for value in (one, other)]
        return compared(metric, ("a", pair[0]), ("b", pair[1]), together=True).sentence

    assert said("model_bytes", 100, 75) == "b is 25 % smaller than a."
    assert said("weight_bytes", 100, 150) == "b has 50 % more bytes of weights than a."
    assert said("energy_mj", 2, 1) == "b uses 50 % less energy than a."
    assert said("peak_memory_mib", 10, 10) == "b and a have the same peak memory."


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="the same rounds, at least 2, but got 3 and 2"):
        paired(latency([1.0, 1.0, 1.0]), latency([1.0, 1.0]))
    with pytest.raises(ValueError, match="compared by ratios, but the weights of one is 0"):
        compared("weight_bytes", ("a", latency([0.0], metric="weight_bytes")),
                 ("b", latency([1.0], metric="weight_bytes")), together=True)  # fmt: skip


def test_the_doubt_between_measurements_is_never_left_out() -> None:
    """Rounds without any scatter still leave the doubt that two sessions of one file differ."""
    found = together(latency([1.0] * 8), latency([1.0] * 8))
    assert found.verdict == "same"
    assert found.interval.upper == pytest.approx(np.exp(PAIR_DOUBT))
