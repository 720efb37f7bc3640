"""Objectives and limits are read from one line each, and their text is read as the same."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from nas.errors import RecipeError
from nas.values.metric import METRICS
from nas.values.objective import Limit, Objective


def test_accuracy_is_read_as_error() -> None:
    """The sign of an objective is flipped here and nowhere else."""
    assert Objective.parse("accuracy") == Objective.parse(" error ") == Objective(METRICS["error"])
    assert str(Objective.parse("accuracy")) == "error"


def test_throughput_is_read_as_the_time_of_an_item() -> None:
    """So it is minimised like all others, and different batch sizes compare."""
    assert Objective.parse("throughput_per_s") == Objective.parse("item_ms") == Objective(METRICS["item_ms"])


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("throughput_per_s >= 1000", "item_ms", 1),
        ("throughput_per_s ≥ 250 /s", "item_ms", 4),
        ("throughput_per_s >= 2.5e3/s", "item_ms", 0.4),
        ("item_ms <= 400 µs", "item_ms", 0.4),
        ("latency_ms <= 2ms", "latency_ms", 2),
        ("  latency_ms<=2000 µs ", "latency_ms", 2),
        ("energy_mj ≤ 0.5 mJ", "energy_mj", 0.5),
        ("macs <= 30 MMACs", "macs", 30_000_000),
        ("error <= 5%", "error", 0.05),
        ("accuracy >= 95%", "error", 0.05),
        ("accuracy ≥ 0.95", "error", 0.05),
        ("accuracy >= 100%", "error", 0),
    ],
)
def test_reads_limits(text: str, name: str, value: float) -> None:
    """A limit is an upper bound in the metric's own unit, free of rounding errors."""
    assert Limit.parse(text) == Limit(METRICS[name], value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency_ms", "a limit is written like 'latency_ms <= 2ms', but got 'latency_ms'"),
        ("latency_ms <=", "a limit is written like"),
        ("<= 2ms", "a limit is written like"),
        ("", "a limit is written like"),
        ("latency_ms >= 2ms", "limits are upper bounds written with <=, but got '>=' in 'latency_ms >= 2ms'"),
        ("latency_ms < 2ms", "but got '<'"),
        ("latency_ms == 2ms", "but got '=='"),
        ("latency_ms = 2ms", "but got '='"),
        ("latency_ms <= 2mJ", "but got 'mJ'"),
        ("latency <= 2ms", "unknown metric 'latency'. Did you mean 'latency_ms'"),
        ("accuracy <= 95%", "accuracy is bounded from below with >=, but got 'accuracy <= 95%'"),
        ("accuracy >= 95", "an accuracy lies in .*, or is written like 95%, but got '95'"),
        ("accuracy >= 0", "an accuracy lies in"),
        (
            "throughput_per_s <= 1000",
            "throughput_per_s is bounded from below with >=, but got 'throughput_per_s <= 1000'",
        ),
        ("throughput_per_s > 1000", "throughput_per_s is bounded from below with >="),
        ("throughput_per_s >= 0", "a throughput is a positive number of items per second, but got '0'"),
        ("throughput_per_s >= -5", "a throughput is a positive number of items per second, but got '-5'"),
        ("throughput_per_s >= 5 ms", "a throughput is a positive number of items per second, but got '5 ms'"),
        ("throughput_per_s >= 1e999", "a throughput is a positive number of items per second, but got '1e999'"),
        ("throughput >= 5", r"but got '>='"),
        ("error <= 5", "or is written like 5%, but got '5'"),
    ],
)
def test_refuses_other_limits(text: str, message: str) -> None:
    """The error says the rule and then the value."""
    with pytest.raises(RecipeError, match=message):
        Limit.parse(text)


amounts = st.floats(0, 1e15) | st.integers(0, 10**15)


@given(st.sampled_from(sorted(set(METRICS) - {"error"})), amounts)
def test_a_limit_that_was_read_is_written_exactly(name: str, amount: float) -> None:
    """A recipe has the same limit after it was written and read."""
    limit = Limit.parse(f"{name} <= {amount!r}")
    assert Limit.parse(str(limit)) == limit
    assert limit.value == pytest.approx(amount, rel=1e-11)


@given(st.sampled_from(("error <=", "accuracy >=")), st.floats(0.01, 1))
def test_a_limit_on_the_error_is_written_exactly(beginning: str, amount: float) -> None:
    """A limit on the accuracy is written as one on the error."""
    limit = Limit.parse(f"{beginning} {amount!r}")
    assert Limit.parse(str(limit)) == limit


@given(st.floats(1e-6, 1e9))
def test_a_limit_on_the_throughput_is_written_exactly(per_s: float) -> None:
    """It is written as a limit on the time of one item, which is read as the same."""
    limit = Limit.parse(f"throughput_per_s >= {per_s!r}")
    assert limit.metric.name == "item_ms"
    assert limit.value == pytest.approx(1000 / per_s)
    assert Limit.parse(str(limit)) == limit
    assert limit.holds(1000 / (1.01 * per_s))
    assert not limit.holds(1000 / (0.99 * per_s))


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_excess_says_whether_a_limit_holds(bound: float, value: float) -> None:
    """The excess is positive exactly where the limit does not hold."""
    limit = Limit(METRICS["latency_ms"], bound)
    assert limit.holds(value) == (limit.excess(value) <= 0)


def test_excess_is_relative() -> None:
    """3 ms exceed 2 ms by a half; so limits in different units compare."""
    assert Limit.parse("latency_ms <= 2ms").excess(3.0) == pytest.approx(0.5)
