"""Waiting until a device is about as cool as it was before its first measurement."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from nas.errors import CandidateError
from nas.hardware.measuring_process import MeasuringProcess

WARMER_C, COOL_C = 8.0, 5.0
"""A device that is warmer than at first by the former cools down, until it is warmer by the latter at most."""
CHECK_S = 10.0
"""The temperature is read at the beginning of each session, and again after so long."""
POLL_S = 1.0
STEADY_S, STEADY_C = 20.0, 0.5
"""A device that has cooled by less than the latter within the former cools no further."""


@dataclass
class Warmth:
    """How warm a device was before its first measurement, and how cool it has become again since."""

    began_c: float | None = None
    coolest_c: float = 0.0


@functools.cache
def warmth_of(name: str, machine_id: str | None) -> Warmth:
    """Return what this process knows of a device. All of its benches share it, because they heat the same device."""
    return Warmth()


@final
class Cooling:
    """Lets a device cool down between sessions. One without a thermometer is never waited for.

    A wait ends after ``most_s``, or when the device cools no further. Later waits expect no more of it than that.
    ``say`` hears of each wait, and ``known`` is what other benches of the device know of it. ``doubt`` says that the
    device was warm when it was last looked at, or that its temperature was not known any more; else it is empty.
    """

    def __init__(
        self,
        name: str,
        most_s: float,
        say: Callable[[str], None],
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        known: Warmth | None = None,
    ) -> None:
        self._name, self._most_s, self._say = name, most_s, say
        self._now_s, self._sleep = now_s, sleep
        self._known = known or Warmth()
        self._checked_s = 0.0
        self.doubt = ""

    @property
    def began_c(self) -> float | None:
        """How warm the device was before its first session; None as long as that is not known."""
        return self._known.began_c

    def recall(self, began_c: float | None) -> None:
        """Compare with how warm the device was before a stop, if it was cooler then."""
        if began_c is not None and (self.began_c is None or began_c < self.began_c):
            self._known.began_c = self._known.coolest_c = began_c

    def before_session(self, process: MeasuringProcess, in_time: Callable[[], bool] = lambda: True) -> None:
        """Wait until the device is cool, unless time is short. If it stays warm, ``doubt`` says so."""
        found_c = self._temperature_c(process)
        if found_c is None:
            unread = f"the temperature of {self._name} could not be read while this was measured, as it could at first"
            self.doubt = "" if self.began_c is None else unread
            return
        if self.began_c is None:
            self.recall(found_c)
        assert self.began_c is not None
        if found_c > self._known.coolest_c + WARMER_C and self._most_s > 0 and in_time():
            found_c = self._waited(process, found_c, self._known.coolest_c + COOL_C)
        warmer_c = found_c - self.began_c
        self.doubt = (
            f"{self._name} was {found_c:.0f} °C warm while this was measured, {warmer_c:.0f} °C more "
            "than at first, and did not cool down in time"
            if warmer_c > WARMER_C
            else ""
        )

    def between_models(self, process: MeasuringProcess, in_time: Callable[[], bool] = lambda: True) -> None:
        """Do the same within a session, if the last look was long ago."""
        if self._now_s() - self._checked_s > CHECK_S:
            self.before_session(process, in_time)

    def _waited(self, process: MeasuringProcess, warm_c: float, goal_c: float) -> float:
        """Wait, and return the temperature in the end."""
        self._say(f"waiting until {self._name} cools down: it is {warm_c:.0f} °C warm, and began at {self.began_c:.0f}")
        began_s = steady_s = self._now_s()
        found_c = lowest_c = warm_c
        while found_c > goal_c:
            if self._now_s() - began_s >= self._most_s or self._now_s() - steady_s >= STEADY_S:
                self._known.coolest_c = max(self._known.coolest_c, found_c)
                break
            self._sleep(POLL_S)
            now_c = self._temperature_c(process)
            found_c = found_c if now_c is None else now_c
            if found_c <= lowest_c - STEADY_C:
                lowest_c, steady_s = found_c, self._now_s()
        return found_c

    def _temperature_c(self, process: MeasuringProcess) -> float | None:
        self._checked_s = self._now_s()
        with contextlib.suppress(CandidateError):  # a process that dies now says so again when it runs a model
            found: float | None = process.ask("heat")["heat"]["temperature_c"]
            return found
        return None
