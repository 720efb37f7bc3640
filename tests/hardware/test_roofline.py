"""Throughput and its shares of the machine's peaks, in cases computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from nas.hardware.roofline import Throughput, rate_text, share_text, throughput_of
from nas.values.measurement import Measurement

PEAKS = {"peak_macs_per_s": 1e10, "bandwidth_bytes_per_s": 2e9, "cache_bytes": 1e5}
CACHES = {"cache_bytes": 1e7, "cache_bandwidth_bytes_per_s": 8e9}


def latency(milliseconds: float, **conditions: Any) -> Measurement:
    return Measurement("latency_ms", "cpu", ((0.9 * milliseconds,), (milliseconds,), (1.1 * milliseconds,)), conditions)


def shares(macs: float | None, least_bytes: float | None, **conditions: Any) -> tuple[float | None, float | None]:
    """Return the shares of the peak and the roofline for 2 ms at batch 4, or 2,000 items a second."""
    found = throughput_of(latency(2, batch=4, **conditions), macs, least_bytes)
    return found.share_of_peak, found.share_of_roofline


def test_throughput_counts_every_item_of_a_batch() -> None:
    """Throughput counts all items of a batch, and its interval is the inverse of the latency's."""
    measured = latency(2, batch=4)
    found = throughput_of(measured)
    assert found.items_per_s == pytest.approx(2000)
    assert found.interval.lower == pytest.approx(4000 / measured.interval.upper)
    assert found.interval.upper == pytest.approx(4000 / measured.interval.lower)
    assert throughput_of(latency(2)).items_per_s == pytest.approx(500)


def test_work_that_is_bound_by_the_processor_is_held_against_the_peak() -> None:
    """At ten MACs a byte memory allows 20 G/s, so the peak of 10 G/s is the bound, and 2 G/s are a fifth of it."""
    assert shares(1e6, 4e5, **PEAKS) == (pytest.approx(0.2), pytest.approx(0.2))


def test_work_that_is_bound_by_the_memory_is_held_against_its_slope() -> None:
    """At one MAC a byte memory allows 2 G/s, which is all of the roofline and a fifth of the peak."""
    assert shares(1e6, 4e6, **PEAKS) == (pytest.approx(0.2), pytest.approx(1.0))


def test_a_model_that_lies_in_a_cache_is_held_against_the_cache() -> None:
    """Its weights are read four times as fast as from memory. Held against memory, a model had 163 %."""
    assert shares(1e6, 4e6, **{**PEAKS, **CACHES}) == (pytest.approx(0.2), pytest.approx(0.25))
    assert shares(1e6, 2e7, **{**PEAKS, **CACHES})[1] == pytest.approx(5.0)


def test_only_the_peak_bounds_a_cached_model_if_the_rate_of_the_cache_is_unknown() -> None:
    """So it is in measurements of older versions, which do not tell the size of the cache either."""
    old = {"peak_macs_per_s": 1e10, "bandwidth_bytes_per_s": 2e9}
    assert shares(1e6, 4e6, **old) == (pytest.approx(0.2), pytest.approx(0.2))
    assert shares(1e6, 1e9, **old)[1] == pytest.approx(250)


def test_a_share_above_100_percent_is_explained() -> None:
    """The bound is what probes reached, and a model may be faster."""
    assert throughput_of(latency(2, batch=4, **PEAKS), 1e6, 4e6).beyond_bound is None
    beyond = throughput_of(latency(2, batch=4, **PEAKS), 1e6, 8e6).beyond_bound
    assert beyond is not None
    assert beyond.startswith("More than 100 % means that the probe models, which found the bound, ran slower")
    assert "--renew" in beyond
    assert throughput_of(latency(2, batch=4, **PEAKS), 1e8).beyond_bound == beyond
    assert throughput_of(latency(2)).beyond_bound is None


@pytest.mark.parametrize(
    ("macs", "least_bytes", "conditions", "expected"),
    [
        (None, 4e6, PEAKS, (None, None)),
        (1e6, 4e6, {}, (None, None)),
        (1e6, 4e6, {"peak_macs_per_s": None, "bandwidth_bytes_per_s": None}, (None, None)),
        (1e6, None, PEAKS, (0.2, None)),
        (1e6, 4e6, {"peak_macs_per_s": 1e10}, (0.2, None)),
        (0, 4e6, PEAKS, (0.0, None)),
    ],
    ids=["no count", "no peaks", "peaks not found", "no traffic", "no bandwidth", "no products"],
)
def test_shares_are_unknown_where_a_part_of_them_is(
    macs: float | None, least_bytes: float | None, conditions: dict[str, Any], expected: tuple[float | None, ...]
) -> None:
    """A share is None where one of its values is unknown, or where a model has no MACs."""
    assert shares(macs, least_bytes, **conditions) == pytest.approx(expected)


def test_a_throughput_without_shares_is_one() -> None:
    """The shares are None by default."""
    found = throughput_of(latency(1))
    assert found == Throughput(found.items_per_s, found.interval)


def test_rates_are_written_without_exponents() -> None:
    """Rates of slow and fast models have no exponents."""
    assert [rate_text(rate) for rate in (0.25, 12.3456, 96618.4)] == ["0.25", "12.35", "96,618"]
    assert [share_text(share) for share in (0.00214, 0.099, 0.43, 1.0)] == ["0.21 %", "9.9 %", "43 %", "100 %"]
