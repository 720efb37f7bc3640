"""Amounts are read with their units. A wrong unit or an impossible number is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from nas.errors import RecipeError
from nas.values.metric import METRICS, metric_named, readable


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("latency_ms", "2ms", 2.0),
        ("latency_ms", " 1.5 s ", 1500.0),
        ("latency_ms", "250µs", 0.25),  # the micro sign
        ("latency_ms", "250μs", 0.25),  # the Greek letter, which looks the same
        ("latency_ms", "250us", 0.25),
        ("latency_ms", "3e5ns", 0.3),
        ("energy_mj", "0.5 mJ", 0.5),
        ("energy_mj", "2µJ", 0.002),
        ("modelled_energy_mj", "3 J", 3000.0),
        ("weight_bytes", "250kB", 250_000),
        ("dram_traffic_bytes", "2 MB", 2_000_000),
        ("model_bytes", "1.5MB", 1_500_000),
        ("model_bytes", "1MiB", 1_048_576),
        ("model_bytes", "100B", 100),
        ("peak_memory_mib", "64MiB", 64),
        ("peak_memory_mib", "1 GiB", 1024),
        ("peak_memory_mib", "1048576B", 1),
        ("macs", "30 MMACs", 30_000_000),
        ("macs", "30M", 30_000_000),
        ("macs", "1.5GMACs", 1_500_000_000),
        ("macs", "7MACs", 7),
        ("params", "1.2M", 1_200_000),
        ("params", "5kparams", 5_000),
        ("error", "5%", 0.05),
        ("error", ".5 %", 0.005),
        ("error", "0.05", 0.05),
        ("error", "100%", 1),
    ],
)
def test_reads_amounts(name: str, text: str, value: float) -> None:
    """Every amount is converted to the unit that ends the metric's name. Counts and shares need none."""
    assert METRICS[name].parse(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("latency_ms", "2mJ", r"the unit of latency_ms is one of ns, us, .*, but got 'mJ' in '2mJ'"),
        ("latency_ms", "2MS", "but got 'MS'"),
        ("latency_ms", "2", "needs a unit, such as 2ms, but got '2'"),
        ("model_bytes", "3", "Write 3B if you mean that"),
        ("model_bytes", "2Mb", "but got 'Mb'"),
        ("macs", "30MFLOPs", r"but got 'MFLOPs' .*One multiply-accumulate is two FLOPs\."),
        ("macs", "30Mparams", "but got 'Mparams'"),
        ("latency_ms", "-2ms", "must be finite and not negative, but got '-2ms'"),
        ("latency_ms", "1e999", "must be finite and not negative, but got '1e999'"),
        ("latency_ms", "nan", "is a number with a unit, such as 2ms, but got 'nan'"),
        ("latency_ms", "inf", "is a number with a unit"),
        ("energy_mj", "little", "is a number with a unit, such as 0.5mJ, but got 'little'"),
        ("latency_ms", "", "is a number with a unit"),
        ("latency_ms", "1,5ms", "is a number with a unit"),
        ("latency_ms", "2ms 3ms", "is a number with a unit"),
        ("error", "5", r"an error lies in \[0, 1\], or is written like 5%, but got '5'"),
        ("error", "101%", r"an error lies in \[0, 1\]"),
    ],
)
def test_refuses_other_amounts(name: str, text: str, message: str) -> None:
    """The error says the rule and then the value."""
    with pytest.raises(RecipeError, match=message):
        METRICS[name].parse(text)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_the_example_in_the_message_can_be_read(metric: object) -> None:
    """The example in an error message is accepted."""
    assert metric.parse(metric.example) > 0  # type: ignore[attr-defined]


@given(st.sampled_from(sorted(METRICS)), st.text())
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    """Any text gives a finite, non-negative number or a RecipeError."""
    try:
        value = METRICS[name].parse(text)
    except RecipeError:
        return
    assert 0 <= value < float("inf")


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    """The message has the wrong word, the nearest known one, and all known ones."""
    with pytest.raises(
        RecipeError, match=r"unknown metric 'latency'\. Did you mean 'latency_ms'\? Known: balanced_error, "
    ):
        metric_named("latency")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("latency_ms", 1.23456, "1.235 ms"),
        ("error", 0.0345, "3.45 %"),
        ("params", 999, "999"),
        ("params", 1_234_567, "1.23 M"),
        ("macs", 5e12, "5 T"),
        ("macs", 999_999, "1 M"),
        ("model_bytes", 1500, "1.5 kB"),
        ("model_bytes", 12, "12 B"),
        ("model_bytes", 0, "0 B"),
        ("peak_memory_mib", 64.0, "64 MiB"),
        ("energy_mj", 0.00234, "2.34 µJ"),
        ("energy_mj", 1.5, "1.5 mJ"),
        ("modelled_energy_mj", 12_345, "12.3 J"),
        ("dram_traffic_bytes", 2_340_000, "2.34 MB"),
    ],
)
def test_writes_amounts_for_people(name: str, value: float, text: str) -> None:
    """Text has few digits and a unit of the right size."""
    assert METRICS[name].format(value) == text


@pytest.mark.parametrize(
    ("name", "values", "texts"),
    [
        ("model_bytes", (1_003_000, 1_000_000), ("1.003 MB", "1 MB")),
        ("params", (1_203_000, 1_200_000), ("1.203 M", "1.2 M")),
        ("latency_ms", (1.00004, 1.0), ("1.00004 ms", "1 ms")),
        ("latency_ms", (2.0, 1.0), ("2 ms", "1 ms")),
        ("latency_ms", (1.0, 1.0), ("1 ms", "1 ms")),
    ],
)
def test_values_that_differ_are_written_differently(
    name: str, values: tuple[float, float], texts: tuple[str, str]
) -> None:
    """They get as many digits as they need to differ, so that no text says that a value exceeds itself."""
    assert METRICS[name].format_apart(*values) == texts


def test_measured_and_modelled_never_share_a_name() -> None:
    """A modelled metric has that word in its name or title, a measured one in neither, and all titles differ."""
    for metric in METRICS.values():
        assert ("(modelled)" in metric.title) == (metric.source == "modelled")
    assert METRICS["energy_mj"].source == METRICS["weight_bytes"].source == "measured"
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize(
    ("grams", "text"),
    [(0, "0 g"), (1e-12, "0.001 ng"), (0.0021, "2.1 mg"), (0.9996, "1 g"), (2300, "2.3 kg"), (-0.5, "-500 mg")],
)
def test_any_quantity_can_be_made_readable(grams: float, text: str) -> None:
    """The prefix is chosen after rounding, so that 999.6 mg is not written as 1e+03 mg."""
    assert readable(grams, "g") == text


def test_a_metric_of_a_further_target_has_the_target_before_it() -> None:
    """Those that are measured, and the error, are found under such a name; others are the same on all targets."""
    metric = METRICS["pi/latency_ms"]
    assert (metric.bare, metric.on, metric.title, metric.source) == ("latency_ms", "pi", "Latency on pi", "measured")
    assert METRICS["pi/torch-cpu:int8/latency_ms"].on == "pi/torch-cpu:int8"
    assert "pi/error" in METRICS
    for name in ("pi/params", "pi/log_loss", "pi/dram_traffic_bytes", "/latency_ms", "pi/", "pi"):
        assert name not in METRICS
    assert "pi/latency_ms" not in list(METRICS)
    names = ["params", "pi/latency_ms", "latency_ms", "other", "error"]
    assert [each.name for each in METRICS.among(names)] == ["error", "latency_ms", "pi/latency_ms", "params"]
