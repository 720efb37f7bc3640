"""Objectives and limits are read from one line each, and their text is read as the same."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from nas.errors import RecipeError
from nas.values.metric import METRICS
from nas.values.objective import Limit, Objective, limit_text, reason_text, with_units


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
        ("latency_ms", "a limit is a metric and its bound, but got 'latency_ms' alone. Write 'latency_ms <= 2ms'"),
        ("latency", "a limit is written like 'latency_ms <= 2ms', but got 'latency'"),
        ("latency_ms <=", "a limit is written like"),
        ("<= 2ms", "a limit is written like"),
        ("", "a limit is written like"),
        ("latency_ms >= 2ms", "limits are upper bounds written with <=, but got '>=' in 'latency_ms >= 2ms'"),
        ("latency_ms < 2ms", "but got '<'"),
        ("latency_ms == 2ms", "but got '=='"),
        ("latency_ms = 2ms", "but got '='"),
        ("latency_ms <= 2mJ", "but got 'mJ'"),
        ("latency <= 2ms", "unknown metric 'latency'. Did you mean 'latency_ms'"),
        ("latency_ms <= 60", r"needs a unit, such as 2ms, but got '60'\. Write 60ms if you mean that"),
        ("item_ms <= 1e3", "Write 1e3ms if you mean that"),
        ("peak_memory_mib <= 64", "needs a unit, such as 64MiB, but got '64'"),
        ("model_bytes <= 100000", "Write 100000B if you mean that"),
        ("energy_mj <= 1", "Write 1mJ if you mean that"),
        ("dram_traffic_bytes <= 1", "needs a unit"),
        ("acuracy >= 90%", "unknown metric 'acuracy'. Did you mean 'accuracy'"),
        ("throughput >= 5", "Did you mean 'throughput_per_s'"),
        ("latency_ms >= 2ms", "Write 'latency_ms <= 2ms'"),
        ("error >= 5%", "Write 'error <= 10%', or 'accuracy >= 90%'"),
        ("accuracy <= 95%", "Write 'accuracy >= 90%', or 'error <= 10%'"),
        ("latency_ms", "Quote it on the command line, where a shell takes < and > for itself"),
        ("accuracy", "Write 'accuracy >= 90%', or 'error <= 10%'. Quote it"),
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
        ("error <= 5", "or is written like 5%, but got '5'"),
    ],
)
def test_refuses_other_limits(text: str, message: str) -> None:
    """The error says the rule and then the value. A number is not enough where units differ."""
    with pytest.raises(RecipeError, match=message):
        Limit.parse(text)


amounts = st.floats(0, 1e15) | st.integers(0, 10**15)


@given(st.sampled_from(sorted(name for name, metric in METRICS.items() if not metric.is_share)), amounts)
def test_a_limit_that_was_read_is_written_exactly(name: str, amount: float) -> None:
    """A recipe has the same limit after it was written and read."""
    limit = Limit.parse(f"{name} <= {amount!r}{METRICS[name].unit}")
    assert Limit.parse(str(limit)) == limit
    assert Limit.parse(str(Limit(limit.metric, limit.value))) == limit
    assert limit.value == pytest.approx(amount, rel=1e-11)


@given(
    st.sampled_from(("error <=", "accuracy >=", "balanced_error <=", "top5_accuracy >=", "r2 >=")), st.floats(0.01, 1)
)
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


@pytest.mark.parametrize(
    ("given", "written", "shown"),
    [
        ("latency_ms<=60us", "latency_ms <= 60us", "latency ≤ 60 µs"),
        ("latency_ms <= 60μs", "latency_ms <= 60μs", "latency ≤ 60 µs"),
        ("energy_mj <= 2uJ", "energy_mj <= 2uJ", "energy ≤ 2 µJ"),
        ("latency_ms ≤ 2000 µs", "latency_ms <= 2000µs", "latency ≤ 2000 µs"),
        ("model_bytes <= 1.5 MB", "model_bytes <= 1.5MB", "model size ≤ 1.5 MB"),
        ("macs <= 30M", "macs <= 30M", "multiply-accumulates ≤ 30 M"),
        ("params <= 2000", "params <= 2000", "parameters ≤ 2000"),
        ("error <= 0.05", "error <= 0.05", "error ≤ 5 %"),
        ("error <= 5%", "error <= 5%", "error ≤ 5 %"),
        ("accuracy>=95 %", "accuracy >= 95%", "accuracy ≥ 95 %"),
        ("accuracy >= 0.95", "accuracy >= 0.95", "accuracy ≥ 95 %"),
        ("throughput_per_s >= 1e3", "throughput_per_s >= 1e3", "throughput ≥ 1e3 /s"),
        ("throughput_per_s >= 250 /s", "throughput_per_s >= 250/s", "throughput ≥ 250 /s"),
        ("latency_ms <= +5ms", "latency_ms <= +5ms", "latency ≤ +5 ms"),
        ("params <= -0", "params <= -0", "parameters ≤ -0"),
        ("accuracy >= +95%", "accuracy >= +95%", "accuracy ≥ +95 %"),
    ],
)
def test_a_limit_is_said_back_in_the_unit_that_was_given(given: str, written: str, shown: str) -> None:
    """In recipes and messages, and for people."""
    assert str(Limit.parse(given)) == written
    assert str(Limit.parse(written)) == written
    assert limit_text(Limit.parse(given)) == shown


def test_a_limit_without_words_has_the_unit_of_its_metric() -> None:
    """A limit that a program makes is written so that it can be read again."""
    assert str(Limit(METRICS["latency_ms"], 0.06)) == "latency_ms <= 0.06ms"
    assert limit_text(Limit(METRICS["error"], 0.05)) == "error ≤ 5 %"


def test_rows_name_a_limit_by_its_value_and_readers_by_its_words() -> None:
    """So rows do not depend on the unit that was typed, and runs of older versions go on."""
    limits = [Limit.parse("latency_ms <= 60us"), Limit.parse("latency_ms <= 600us")]
    assert [limit.key for limit in limits] == ["latency_ms <= 0.06", "latency_ms <= 0.6"]
    assert reason_text("latency_ms <= 0.06: too near to tell", limits) == "latency_ms <= 60us: too near to tell"
    assert reason_text("latency_ms <= 0.6", limits) == "latency_ms <= 600us"
    assert reason_text("macs <= 5", limits) == "macs <= 5"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("latency_ms <= 1.3", "latency_ms <= 1.3ms"),
        ("model_bytes <= 1500000", "model_bytes <= 1500000B"),
        ("peak_memory_mib <= 64", "peak_memory_mib <= 64MiB"),
        ("energy_mj <= 1e-05", "energy_mj <= 1e-05mJ"),
        ("macs <= 30000000", "macs <= 30000000"),
        ("error <= 0.05", "error <= 0.05"),
        ("latency_ms <= 60us", "latency_ms <= 60us"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_limit_of_an_older_version_gets_its_unit(old: str, new: str) -> None:
    """Older versions wrote limits in their metric's unit, without its name."""
    assert with_units(old) == new


def test_a_target_stands_before_its_metric() -> None:
    """It is written as short as it can be, and the limit is told with it."""
    limit = Limit.parse("pi/onnxruntime-cpu:fp32:threads=2/latency_ms<=30 ms")
    assert str(limit) == "pi/onnxruntime-cpu:threads=2/latency_ms <= 30ms"
    assert limit.key == "pi/onnxruntime-cpu:threads=2/latency_ms <= 30"
    assert Limit.parse(str(limit)) == limit
    assert str(limit.on_target("pi")) == "pi/latency_ms <= 30ms"
    assert str(limit.on_target("")) == "latency_ms <= 30ms"
    assert limit_text(limit.on_target("pi")) == "latency on pi ≤ 30 ms"
    assert limit_text(Limit.parse("pi/throughput_per_s >= 100")) == "throughput on pi ≥ 100 /s"
    assert str(Objective.parse("pi/throughput_per_s")) == "pi/item_ms"
    with pytest.raises(RecipeError, match="params is counted, and the same on all: write params alone"):
        Limit.parse("pi/params <= 5")
    with pytest.raises(RecipeError, match="the name of a device begins with a small letter"):
        Limit.parse("Pi/x/latency_ms <= 5ms")
