"""The reference models' readings over all visits of a measurement, and the drift that they show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nas.hardware.drift import FloatArray, smoothed
from nas.hardware.target_profile import LAYER_BYTES, LAYERS, TargetProfile

QUICK_SHARE = 0.6
"""Models that take less than this share of the large reference model's time are compared with the medium one."""
SHARED_CACHE_PART = 0.5
"""Weights that take more than this part of the shared cache come from memory each time."""
QUICK, COLD_QUICK, STREAMED, COLD_STREAMED = (0.4, 0.4), (1.2, 0.6), (1.0, 0.3), (0.3, 0.2)
CACHED, MOST_INTENSE = (0.3, 1.1), 1.5
CACHED_DEVIATION = 0.15, 0.3
"""Means and deviations of responses to a larger reference model: by how much it slows a network, of the same slowness.

``experiments.busy_desk`` found them on an AMD EPYC, beside memory traffic and beside programs that share the core. Cold
ones are for networks whose caches are cold, because other programs often have their core. Quick networks, of 0.1 to
0.5 ms with 1 to 6 MB of weights, are compared with the medium reference. Streamed ones had 22 to 100 MB. Between them,
with 9 to 16 MB that stay in the shared cache, the response grows with a network's intensity: the bytes of weights that
it reads in a millisecond, divided by those of the large reference model, and at most ``MOST_INTENSE``. The pairs
``CACHED`` and ``CACHED_DEVIATION`` hold the value without any weights, and what each unit of intensity adds.
"""
SMALLEST_L3_BYTES = 2 * 2**20


@dataclass(frozen=True)
class _Visit:
    """The readings of the reference models during one visit.

    ``larger`` names the larger one that was read, if one was. Readings are NaN where there were too few inferences with
    warm caches; ``cold_ms`` is of all inferences of the small one.
    """

    small_ms: float
    cold_ms: float
    larger: str | None
    larger_ms: float
    is_warm: bool


@final
class References:
    """Readings of the reference models in the order of time.

    ``log_drifts`` are the logarithms of the machine's slowness at each visit, shape (visits,), by the small reference.
    ``log_largers`` are those by a larger one, NaN where none was read. Both are smoothed, each reference model for
    itself, and readings with warm caches apart from others.
    """

    def __init__(self) -> None:
        self._visits: list[_Visit] = []
        self.log_drifts: FloatArray = np.empty(0)
        self.log_largers: FloatArray = np.empty(0)

    def add(self, reply: Mapping[str, Any]) -> int:
        """Add the readings of a visit, and return its position."""
        small_ms, larger_ms = (
            math.nan if reply[name] is None else reply[name] for name in ("reference_ms", "larger_reference_ms")
        )
        cold_ms, larger = reply["reference_cold_ms"], reply["larger_reference"]
        self._visits.append(_Visit(small_ms, cold_ms, larger, larger_ms, reply["is_warm"]))
        return len(self._visits) - 1

    def settle(self, profile: TargetProfile) -> None:
        """Find the drifts of all visits so far. There are none yet if every model has failed."""
        if not self._visits:
            return
        small_N = np.log([visit.small_ms for visit in self._visits])
        if np.isnan(small_N).all():
            small_N = np.log([visit.cold_ms for visit in self._visits])
        drifts_N = self._smoothed(small_N, "")
        drifts_N = np.where(np.isnan(drifts_N), np.nanmedian(drifts_N), drifts_N)
        self.log_drifts = drifts_N - (drifts_N.min() if profile.doubtful else math.log(profile.reference_ms))
        self.log_largers = np.full(len(self._visits), np.nan)
        logs_N = np.log([visit.larger_ms for visit in self._visits])
        for name in dict.fromkeys(visit.larger for visit in self._visits if visit.larger is not None):
            further_N = self._smoothed(logs_N, name) - self.log_drifts
            recorded_ms = profile.larger_ms(name)
            known_N = further_N[~np.isnan(further_N)]
            fastest = known_N.min() if len(known_N) else 0.0
            further_N -= fastest if recorded_ms is None else math.log(recorded_ms)
            self.log_largers = np.where(np.isnan(further_N), self.log_largers, self.log_drifts + further_N)

    def _smoothed(self, logs_N: FloatArray, larger: str) -> FloatArray:
        """Return smoothed logarithms of a reference's readings, with warm caches and others apart.

        ``larger`` is the name of a larger reference; nothing stands for the small one. Visits in which it could not be
        read are like those before and after; those of which none of their kind could be read are NaN.
        """
        found_N = np.full(len(logs_N), np.nan)
        is_its_N = np.array([not larger or visit.larger == larger for visit in self._visits])
        warm_N = np.array([visit.is_warm for visit in self._visits])
        for kind_N in (warm_N, ~warm_N):
            read_N = is_its_N & kind_N & ~np.isnan(logs_N)
            if read_N.any():
                places = np.flatnonzero(is_its_N & kind_N)
                found_N[places] = np.interp(places, np.flatnonzero(read_N), smoothed(logs_N[read_N]))
        return found_N


def usual_response(
    weight_bytes: int, typical_ms: float, profile: TargetProfile, reply: Mapping[str, Any], shared_cache_bytes: int
) -> tuple[float, float]:
    """Return the mean and the deviation of how much models of this kind respond to the larger reference model."""
    if reply["larger_reference"] == "medium":
        return QUICK if reply["is_warm"] else COLD_QUICK
    if weight_bytes > SHARED_CACHE_PART * max(shared_cache_bytes, SMALLEST_L3_BYTES):
        return STREAMED if reply["is_warm"] else COLD_STREAMED
    assert profile.large_reference_ms is not None
    large = LAYERS["large"] * LAYER_BYTES / profile.large_reference_ms
    intensity = min(weight_bytes / typical_ms / large, MOST_INTENSE)
    mean, deviation = (least + added * intensity for least, added in (CACHED, CACHED_DEVIATION))
    return mean, deviation
