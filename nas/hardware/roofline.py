"""Throughput of a model, and its share of the machine's peak."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nas.values.measurement import Interval, Measurement

UNKNOWN_CACHE_BYTES = 64 * 2**20
"""A model of this size may lie in a cache where the system does not tell how large caches are."""
LEAST_BEYOND = 0.02
"""A share of the bound that exceeds 1 by less is rounding and noise."""


@dataclass(frozen=True)
class Throughput:
    """Items per second at the target's batch size, from a latency.

    ``share_of_peak`` is relative to the most multiply-accumulates per second that the runtime reached on this machine.
    ``share_of_roofline`` is relative to the attainable rate at the model's arithmetic intensity. The intensity assumes
    the least traffic: every weight and input moves once. Both are None where the peaks or the counts are unknown.

    A model that fits into the largest cache finds its weights there at the next inference. Memory does not bound it,
    but the cache does ("Cache-aware roofline model", Ilic et al., 2014). Where the rate of the cache is unknown, as in
    measurements of versions before 0.7, only the peak bounds it.
    """

    items_per_s: float
    interval: Interval
    share_of_peak: float | None = None
    share_of_roofline: float | None = None

    @property
    def beyond_bound(self) -> str | None:
        """A sentence if the model is faster than a bound, which probes have measured; None for any other model."""
        shares = (self.share_of_peak, self.share_of_roofline)
        if not any(share is not None and share > 1 + LEAST_BEYOND for share in shares):
            return None
        return (
            "More than 100 % means that the probe models, which found the bound, ran slower than this model, as on a "
            "busy machine. Measure the bound again on an idle one with: nas target show TARGET --renew"
        )


def throughput_of(latency: Measurement, macs: float | None = None, least_bytes: float | None = None) -> Throughput:
    """Return the throughput for a measured ``latency_ms``.

    ``macs`` are of one item, ``least_bytes`` of one inference of the whole batch.
    """
    batch = int(latency.conditions.get("batch", 1))
    interval = Interval(batch * 1000 / latency.interval.upper, batch * 1000 / latency.interval.lower)
    items_per_s = batch * 1000 / latency.median
    peak = _positive(latency.conditions.get("peak_macs_per_s"))
    if macs is None or peak is None:
        return Throughput(items_per_s, interval)
    done_per_s = items_per_s * macs
    share_of_roofline = None
    bandwidth = _bandwidth(latency, least_bytes)
    if bandwidth is not None and least_bytes and macs > 0:
        share_of_roofline = done_per_s / min(peak, macs * batch / least_bytes * bandwidth)
    return Throughput(items_per_s, interval, done_per_s / peak, share_of_roofline)


def _bandwidth(latency: Measurement, least_bytes: float | None) -> float | None:
    """Return the bytes per second that bound a model of that size: of the largest cache if it fits in, or of memory."""
    memory = _positive(latency.conditions.get("bandwidth_bytes_per_s"))
    size = _positive(latency.conditions.get("cache_bytes")) or UNKNOWN_CACHE_BYTES
    if memory is None or least_bytes is None or least_bytes > size:
        return memory
    return _positive(latency.conditions.get("cache_bandwidth_bytes_per_s")) or math.inf


def rate_text(items_per_s: float) -> str:
    """Format a rate: ``96,620``, or four digits below a thousand."""
    return f"{items_per_s:,.0f}" if items_per_s >= 1000 else f"{items_per_s:.4g}"


def share_text(share: float) -> str:
    """Format a share: ``43 %``, or below 10 % with two significant digits, such as ``0.21 %``."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None
