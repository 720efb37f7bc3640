"""Running a model without a pause until its latency no longer changes: what a device reaches once it is warm."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from nas.hardware.runtimes.heat import Heat, between as heat_between
from nas.hardware.runtimes.neighbours import between, moment
from nas.hardware.runtimes.stopwatch import Presence, Sample, undisturbed
from nas.values.measurement import WALL

Item = TypeVar("Item")
WINDOWS, LEAST, LAST = 36, 12, 6
"""The stated time has so many windows. A model runs for ``LEAST`` of them at least, and the ``LAST`` ones count."""
STEADY, STEADY_C, END = 0.02, 1.0, 3
"""A latency is steady if it changes by less over the last ``LEAST`` windows, and the temperature too.

The medians of the first and of the last ``END`` of them tell. A large board becomes hot slowly: over a few windows,
it would seem steady long before it is.
"""
MOST_SAMPLES = 100
"""So many inferences of a window are kept, evenly spread."""


@dataclass
class Course:
    """What was read in each window so far: the median latency, and the temperature, which may be unknown."""

    medians_ms: list[float] = field(default_factory=list)
    temperatures_c: list[float | None] = field(default_factory=list)

    @property
    def is_steady(self) -> bool:
        """True if neither latency nor temperature changed over the last windows."""
        if len(self.medians_ms) < LEAST:
            return False
        early, late = (float(np.median(end)) for end in _ends(self.medians_ms))
        if abs(late / early - 1) >= STEADY:
            return False
        known = [[each for each in end if each is not None] for end in _ends(self.temperatures_c)]
        return not all(known) or abs(float(np.median(known[1])) - float(np.median(known[0]))) < STEADY_C

    @property
    def is_over(self) -> bool:
        """True once it is steady. Without a thermometer it goes on: a latency may be steady until the device is hot."""
        return self.is_steady and all(each is not None for each in self.temperatures_c[-LEAST:])


def _ends(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    return items[-LEAST : END - LEAST], items[-END:]


def sustain(
    run_for: Callable[[float, Presence], list[Sample]],
    stated_s: float,
    heat_now: Callable[[], Heat],
    why_wall: str,
    cores: Collection[int],
) -> dict[str, Any]:
    """Run a model for ``stated_s``, or until it is steady, and return its last windows and the course of all.

    ``run_for`` runs it for some seconds. Each window has the keys that ``time_model`` returns, without references.
    """
    course, windows = Course(), []
    presence, began_s = Presence(), time.perf_counter()
    gc.disable()
    try:
        for _ in range(WINDOWS):
            before, cool = moment(), heat_now()
            samples = run_for(stated_s / WINDOWS, presence)
            warm = heat_now()
            found = undisturbed(samples)
            course.medians_ms.append(float(np.median(found.times_ms)))
            course.temperatures_c.append(warm.temperature_c)
            windows.append(
                {
                    **between(before, moment(), cores),
                    "samples": _thinned(found.times_ms),
                    "walls": [] if found.clock == WALL else _thinned([each.wall_ms for each in samples]),
                    "clock": found.clock,
                    "is_warm": found.is_warm,
                    "waited": found.waited,
                    "why_wall": why_wall,
                    "heat": heat_between(cool, warm),
                }
            )
            if course.is_over:
                break
    finally:
        gc.enable()
    return {
        "windows": windows[-LAST:],
        "medians_ms": course.medians_ms,
        "temperatures_c": course.temperatures_c,
        "is_steady": course.is_steady,
        "took_s": time.perf_counter() - began_s,
    }


def _thinned(times_ms: Sequence[float]) -> list[float]:
    """Return evenly spread times, at most ``MOST_SAMPLES``."""
    return list(times_ms[:: -(-len(times_ms) // MOST_SAMPLES)])
