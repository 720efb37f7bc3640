"""The cost of a search: its time, the device's time, and its energy if a counter measures it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, final

from nas.errors import CandidateError, TargetError
from nas.hardware.energy.choosing import meter_from
from nas.hardware.energy.counters import Counter, CounterMeter
from nas.hardware.energy.metering import NoMeter, grams_co2e
from nas.progress import duration_text
from nas.storage.journal_rows import Cost

SEARCH, WINNERS = "search", "winners"
"""The purposes of a cost."""
POLL_S = 20.0
"""Seconds between readings of a counter. The smallest counters overflow after a minute or more."""


@final
class SearchCost:
    """Adds up the time and the energy of one process, inside a ``with`` statement.

    ``before_s`` seconds were spent before that, without a reading of the counter. ``counter`` counts energy; without
    one, ``why_none`` is the reason. If the counter fails, the energy is unknown: a part of it is never given as the
    whole.
    """

    def __init__(
        self,
        counter: Counter | None,
        why_none: str,
        stopwatch: Callable[[], float],
        device_s: Callable[[], float],
        before_s: float = 0.0,
    ) -> None:
        self._counter = counter
        self._why_none = why_none
        self._stopwatch = stopwatch
        self._device_s = device_s
        self._before_s = before_s
        self._joules = 0.0
        self._began_s = self._device_before_s = 0.0
        self._ended = threading.Event()
        self._lock = threading.Lock()  # guards the counter and _joules, which the polling thread uses too

    def __enter__(self) -> Self:
        self._began_s, self._device_before_s = self._stopwatch() - self._before_s, self._device_s()
        if self._counter is not None:
            self._read_first(self._counter)
            threading.Thread(target=self._poll, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    @property
    def lap_s(self) -> float:
        """Seconds since the last lap."""
        return self._stopwatch() - self._began_s

    def lap(self, of: str) -> Cost:
        """Return what was spent since the last lap, as the cost ``of`` the search or of its winners."""
        with self._lock:
            self._read()
            joules, self._joules = self._joules, 0.0
            metered = self._counter
        now_s, device_now_s = self._stopwatch(), self._device_s()
        spent = Cost(
            wall_s=now_s - self._began_s,
            device_s=device_now_s - self._device_before_s,
            joules=None if metered is None else joules,
            meter=self._why_none if metered is None else metered.name,
            of=of,
        )
        self._began_s, self._device_before_s = now_s, device_now_s
        return spent

    def _read_first(self, counter: Counter) -> None:
        try:
            self._last = counter.read()
        except CandidateError as error:
            self._counter, self._why_none = None, error.reason

    def _read(self) -> None:
        if self._counter is None:
            return
        try:
            now = self._counter.read()
            self._joules += self._counter.joules(self._last, now)
            self._last = now
        except CandidateError as error:
            self._counter, self._why_none = None, error.reason

    def _poll(self) -> None:
        while not self._ended.wait(POLL_S):
            with self._lock:
                self._read()


def search_counter(settings: Mapping[str, Any]) -> tuple[Counter | None, str]:
    """Return the counter that a meter's settings name, by default the processor's; or None and the reason."""
    try:
        meter = meter_from(settings)
    except TargetError as error:
        return None, str(error)
    if isinstance(meter, CounterMeter):
        return meter.counter, ""
    return None, meter.reason if isinstance(meter, NoMeter) else "a log of power is not read through a whole search."


def total_cost(parts: Sequence[Cost], grams_per_kwh: float | None) -> dict[str, Any]:
    """Add up the costs of a run, for people. The energy is known if every part of it was metered."""
    if not parts:
        return {}
    joules = [part.joules for part in parts if part.joules is not None]
    known = len(joules) == len(parts)
    spent_on_winners = [part.wall_s for part in parts if part.of == WINNERS]
    total: dict[str, Any] = {
        "time": duration_text(sum(part.wall_s for part in parts)),
        **({"time for winners": duration_text(sum(spent_on_winners))} if spent_on_winners else {}),
        "time of the device": duration_text(sum(part.device_s for part in parts)),
        "energy": f"{sum(joules) / 1000:.4g} kJ, measured" if known else "not measured",
        "meter": "; ".join(dict.fromkeys(part.meter for part in parts)),
    }
    if known and grams_per_kwh is not None:
        total["carbon"] = f"{grams_co2e(sum(joules), grams_per_kwh):.3g} g CO2e at {grams_per_kwh:g} g/kWh"
    return total
