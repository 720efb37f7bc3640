"""Energy over windows of repeated inferences.

A window begins and ends with an update of the meter, lasts for many updates, and has the idle power subtracted.
An implausible reading raises an error with its reason and never becomes a number. The measuring process loads this
module too, so it needs only the standard library and numpy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, final

from nas.errors import CandidateError, TargetError

MIN_WINDOW_S = 2.0
"""Windows of two seconds and more repeat with a coefficient of variation below 3 %, the best published value."""
ASKED_UPDATES = 12
"""A window is lengthened to this number of updates. It is above ten because updates come early and late."""
WATCHED_UPDATES = 5
"""Number of updates watched to find a meter's update period. The longest gap counts."""
MAX_WATCH_S = 30.0
BRIEF = 0.1
"""Inferences shorter than this share of the update period are repeated while the last update is awaited."""


@dataclass(frozen=True)
class Timer:
    """A clock in seconds and a function that waits. Tests bring their own."""

    now: Callable[[], float]
    sleep: Callable[[float], None]


REAL_TIME = Timer(time.perf_counter, time.sleep)


@dataclass(frozen=True)
class Window:
    """The energy in joules over a number of seconds, and the number of inferences that ran in them."""

    joules: float
    seconds: float
    inferences: int

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds


class Span(Protocol):
    """A stretch of time whose energy is being metered. It began at ``began_s`` on the meter's clock."""

    began_s: float

    def end(self, step: Callable[[], None]) -> tuple[float, float]:
        """Return the joules and seconds from the beginning to now, or to the meter's next update.

        ``step`` is called repeatedly while that update is awaited. Raises CandidateError when it does not come.
        """


class Meter(Protocol):
    """An instrument for energy. ``name`` says what it covers.

    ``update_period_s`` is the time in seconds between its updates. It is found once, by watching the meter, and
    raises TargetError when the instrument cannot be used.
    """

    name: str
    timer: Timer

    @property
    def update_period_s(self) -> float: ...

    def span(self) -> AbstractContextManager[Span]:
        """Start metering. Leaving the context stops the instrument. Raises CandidateError when a reading fails."""


@final
class NoMeter:
    """Stands in for a missing instrument. Every use raises TargetError with ``reason``."""

    def __init__(self, reason: str, timer: Timer = REAL_TIME) -> None:
        self.name = "none"
        self.reason = reason
        self.timer = timer

    @property
    def update_period_s(self) -> float:
        raise TargetError(f"energy cannot be measured here: {self.reason}")

    def span(self) -> AbstractContextManager[Span]:
        raise TargetError(f"energy cannot be measured here: {self.reason}")


def measure_window(meter: Meter, work: Callable[[], None], seconds: float = MIN_WINDOW_S) -> Window:
    """Measure the energy of inferences repeated for ``seconds``.

    A window is never shorter than ``MIN_WINDOW_S`` and ten updates of the meter. ``work`` is one inference of a warm
    model and returns when it has ended. A counter's window goes from update to update, so its update period does not
    bias the energy.

    Raises:
        CandidateError: of kind *energy*: a reading failed, did not come, or is implausible.
        TargetError: the instrument cannot be used at all.
        ValueError: ``seconds`` is not finite and positive.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be finite and positive, but got {seconds}.")
    period_s = meter.update_period_s
    least_s = max(seconds, MIN_WINDOW_S, ASKED_UPDATES * period_s)
    inferences = 0

    def infer() -> None:
        nonlocal inferences
        work()
        inferences += 1

    def wait() -> None:
        meter.timer.sleep(min(period_s / 20, 0.01))

    with meter.span() as span:
        while meter.timer.now() - span.began_s < least_s:
            infer()
        inference_s = (meter.timer.now() - span.began_s) / inferences
        joules, elapsed_s = span.end(infer if inference_s < BRIEF * period_s else wait)
    return Window(joules, elapsed_s, inferences)


def measure_idle_w(meter: Meter, seconds: float = MIN_WINDOW_S) -> float:
    """Measure the mean power in watts while this process does nothing.

    The window is lengthened, and errors are raised, as in ``measure_window``.
    """
    return measure_window(meter, lambda: meter.timer.sleep(0.01), seconds).watts


def energy_mj(window: Window, idle_w: float) -> float:
    """Return the millijoules per inference of ``window`` above the energy of an idle machine at ``idle_w`` watts.

    Raises:
        CandidateError: of kind *energy*: the window's power is not above idle power.
    """
    energy = (window.joules - idle_w * window.seconds) / window.inferences * 1000
    if not 0 < energy < math.inf:
        raise CandidateError(
            "energy",
            f"energy must be above that of the idle machine, but {window.inferences} inferences drew "
            f"{window.watts:.4g} W and the idle machine {idle_w:.4g} W. Measure while nothing else runs.",
        )
    return energy


def grams_co2e(joules: float, grams_per_kwh: float) -> float:
    """Return the grams of CO2 equivalent of an energy at the carbon intensity of the user's electricity.

    Raises:
        ValueError: either is negative or not finite.
    """
    for name, value in (("joules", joules), ("grams_per_kwh", grams_per_kwh)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and not negative, but got {value}.")
    return joules / 3.6e6 * grams_per_kwh
