"""The latency by layer keeps its order, its sum and a bounded number of operators."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from nas.values.layer_times import LONGEST_NAME, MOST_LAYERS, LayerTime, LayerTimes

MILLISECONDS = st.floats(0, 1e6, allow_subnormal=False)


def times_of(milliseconds: list[float]) -> LayerTimes:
    """Return the times of operators, shortened as in a winner's row."""
    return LayerTimes.of([LayerTime(f"layer {k}", "Conv", ms, k) for k, ms in enumerate(milliseconds)]).shortened()


@given(st.lists(MILLISECONDS, max_size=90))
def test_the_longest_are_kept_in_order_and_the_sum_stays(milliseconds: list[float]) -> None:
    """What is not listed is no longer than what is, and is summed up; JSON gives the same back."""
    found = times_of(milliseconds)
    assert LayerTimes.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
    if not sum(milliseconds):
        assert found == LayerTimes(reason="the profiler reported no operator that took time.")
        return
    places = [int(layer.name.removeprefix("layer ")) for layer in found.layers]
    assert places == sorted(places)
    assert len(places) == min(len(milliseconds), MOST_LAYERS)
    assert len(places) + found.others == len(milliseconds)
    left_out = [ms for place, ms in enumerate(milliseconds) if place not in places]
    assert max(left_out, default=0.0) <= min(milliseconds[place] for place in places)
    assert found.total_ms == pytest.approx(sum(milliseconds), rel=1e-5)
    shares = [found.share(layer.ms) for layer in found.layers]
    assert sum(shares) + found.share(found.others_ms) == pytest.approx(1)


def test_all_operators_are_there_before_they_are_shortened() -> None:
    found = LayerTimes.of([LayerTime(str(k), "Conv", 1.0) for k in range(MOST_LAYERS + 5)])
    assert (len(found.layers), found.others) == (MOST_LAYERS + 5, 0)
    assert found.shortened().shortened() == found.shortened()
    assert LayerTimes(reason="why").shortened() == LayerTimes(reason="why")


def test_shares_divide_a_latency() -> None:
    """A profile of 4 ms, of which an operator has a quarter, gives it 0.5 ms of a latency of 2 ms."""
    found = times_of([1.0, 3.0])
    assert [layer.name for layer in found.longest(1)] == ["layer 1"]
    assert [found.scaled(layer.ms, 2.0) for layer in found.layers] == [0.5, 1.5]


def test_long_names_are_cut() -> None:
    """A name takes at most as many characters as the journal keeps."""
    (layer,) = LayerTimes.of([LayerTime("n" * 5000, "k" * 5000, 1.0)]).layers
    assert layer.name == f"{'n' * (LONGEST_NAME - 1)}…"
    assert len(layer.kind) == LONGEST_NAME


@pytest.mark.parametrize(
    "bad",
    [
        ("a", "b", math.nan),
        ("a", "b", -1.0),
        ("a", "b", "1"),
        (1, "b", 1.0),
        ("a", None, 1.0),
        ("a", "b", 1.0, -1),
        ("a", "b", 1.0, 0.5),
    ],
)
def test_what_is_no_time_is_refused(bad: Any) -> None:
    """A runtime of a user's own may answer anything."""
    with pytest.raises(ValueError, match="operator"):
        LayerTime(*bad)
