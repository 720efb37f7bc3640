"""Throughput and its shares of what the machine can do, by cases worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from nas.hardware.roofline import Throughput, rate_text, share_text, throughput_of
from nas.values.measurement import Measurement

PEAKS = {"peak_macs_per_s": 1e10, "bandwidth_bytes_per_s": 2e9}


def latency(milliseconds: float, **conditions: Any) -> Measurement:
    return Measurement("latency_ms", "cpu", ((0.9 * milliseconds,), (milliseconds,), (1.1 * milliseconds,)), conditions)


def shares(macs: float | None, least_bytes: float | None, **conditions: Any) -> tuple[float | None, float | None]:
    """Of the peak and of the roofline, for 2 ms at batch 4, which is 2,000 items a second."""
    found = throughput_of(latency(2, batch=4, **conditions), macs, least_bytes)
    return found.share_of_peak, found.share_of_roofline


def test_throughput_counts_every_item_of_a_batch() -> None:
    """Its interval is the latency's, turned round."""
    measured = latency(2, batch=4)
    found = throughput_of(measured)
    assert found.items_per_s == pytest.approx(2000)
    assert found.interval.lower == pytest.approx(4000 / measured.interval.upper)
    assert found.interval.upper == pytest.approx(4000 / measured.interval.lower)
    assert throughput_of(latency(2)).items_per_s == pytest.approx(500)


def test_work_that_is_bound_by_the_processor_is_held_against_the_peak() -> None:
    """Ten products a byte could do 20 G/s by the memory, so the peak of 10 G/s is the bound: 2 G/s are a fifth."""
    assert shares(1e6, 4e5, **PEAKS) == (pytest.approx(0.2), pytest.approx(0.2))


def test_work_that_is_bound_by_the_memory_is_held_against_its_slope() -> None:
    """One product a byte: the memory feeds 2 G/s, which is what was done, and a fifth of the peak."""
    assert shares(1e6, 4e6, **PEAKS) == (pytest.approx(0.2), pytest.approx(1.0))


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
    """None, and never a share of something else; a model without products has no place on the roofline."""
    assert shares(macs, least_bytes, **conditions) == pytest.approx(expected)


def test_a_throughput_without_shares_is_one() -> None:
    """The shares are None unless they are given."""
    found = throughput_of(latency(1))
    assert found == Throughput(found.items_per_s, found.interval)


def test_rates_are_written_without_exponents() -> None:
    """From slow models to fast ones."""
    assert [rate_text(rate) for rate in (0.25, 12.3456, 96618.4)] == ["0.25", "12.35", "96,618"]
    assert [share_text(share) for share in (0.00214, 0.099, 0.43, 1.0)] == ["0.21 %", "9.9 %", "43 %", "100 %"]
