"""By how much a measurement moved: with an interval, and only beyond doubt."""

from __future__ import annotations

import math

import pytest

from nas.bundles.changes import Moved, differences, moved_between
from nas.values.comparison import ratio_of
from nas.values.measurement import Estimate, Interval, Measurement
from nas.values.metric import METRICS


def latency(value: float, spread: float = 0.002, **conditions: str) -> Measurement:
    rounds = tuple((value * (1 + spread * step),) for step in (-1.0, -0.5, 0.0, 0.5, 1.0, 0.2))
    return Measurement("latency_ms", "cpu", rounds, conditions)


def test_a_ratio_has_the_halves_that_face_each_other() -> None:
    """Both as logarithms: 2 (1.9 to 2.2) over 1 (0.8 to 1.05)."""
    found = ratio_of(Estimate(2.0, Interval(1.9, 2.2)), Estimate(1.0, Interval(0.8, 1.05)))
    assert found.value == 2
    assert math.log(2 / found.interval.lower) == pytest.approx(math.hypot(math.log(2 / 1.9), math.log(1.05)))
    assert math.log(found.interval.upper / 2) == pytest.approx(math.hypot(math.log(1.1), math.log(1 / 0.8)))


@pytest.mark.parametrize(
    ("now", "says"),
    [(1.1, "% more"), (0.8, "% less"), (3.0, "times as much"), (1.0005, "not told apart"), (1.0, "unchanged")],
)
def test_a_move_is_told_in_words(now: float, says: str) -> None:
    moved = Moved(METRICS["latency_ms"], latency(1.0), latency(now))
    assert says in moved.change
    assert moved.is_sure == ("not" not in says and "unchanged" not in says)
    assert moved.text.startswith("latency 1 ms → ")


def test_the_bounds_of_a_move_contain_it() -> None:
    ratio = Moved(METRICS["latency_ms"], latency(1.0), latency(1.1)).ratio
    assert ratio is not None
    assert 1.09 < ratio.interval.lower < 1.1 < ratio.interval.upper < 1.11


def test_bytes_that_were_none_have_no_ratio() -> None:
    nothing, some = (Measurement("weight_bytes", "cpu", ((value,),)) for value in (0.0, 8.0))
    moved = Moved(METRICS["weight_bytes"], nothing, some)
    assert moved.ratio is None
    assert moved.is_sure
    assert moved.change == "changed"
    assert moved.to_json()["ratio"] is None


def test_what_changed_since_then_is_named() -> None:
    then, now = latency(1.0, runtime="r 1", processor="p"), latency(1.0, runtime="r 2", processor="p")
    assert differences({"latency_ms": then}, {"latency_ms": now}) == ("runtime: r 1 → r 2",)
    assert list(moved_between({"latency_ms": then}, {"latency_ms": now, "model_bytes": now})) == ["latency_ms"]
