"""Throughput of a model, and its share of the machine's peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.values.measurement import Interval, Measurement


@dataclass(frozen=True)
class Throughput:
    """Items per second at the target's batch size, from a latency.

    ``share_of_peak`` is relative to the most multiply-accumulates per second that the runtime reached on this machine.
    ``share_of_roofline`` is relative to the attainable rate at the model's arithmetic intensity. The intensity assumes
    the least traffic: every weight and input moves once. Both are None where the peaks or the counts are unknown.
    """

    items_per_s: float
    interval: Interval
    share_of_peak: float | None = None
    share_of_roofline: float | None = None


def throughput_of(latency: Measurement, macs: float | None = None, least_bytes: float | None = None) -> Throughput:
    """Return the throughput for a measured ``latency_ms``.

    ``macs`` are of one item, ``least_bytes`` of one inference of the whole batch.
    """
    batch = int(latency.conditions.get("batch", 1))
    interval = Interval(batch * 1000 / latency.interval.upper, batch * 1000 / latency.interval.lower)
    items_per_s = batch * 1000 / latency.median
    peak = _positive(latency.conditions.get("peak_macs_per_s"))
    bandwidth = _positive(latency.conditions.get("bandwidth_bytes_per_s"))
    if macs is None or peak is None:
        return Throughput(items_per_s, interval)
    done_per_s = items_per_s * macs
    share_of_roofline = None
    if bandwidth is not None and least_bytes and macs > 0:
        share_of_roofline = done_per_s / min(peak, macs * batch / least_bytes * bandwidth)
    return Throughput(items_per_s, interval, done_per_s / peak, share_of_roofline)


def rate_text(items_per_s: float) -> str:
    """Format a rate: ``96,620``, or four digits below a thousand."""
    return f"{items_per_s:,.0f}" if items_per_s >= 1000 else f"{items_per_s:.4g}"


def share_text(share: float) -> str:
    """Format a share: ``43 %``, or below 10 % with two significant digits, such as ``0.21 %``."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None
