"""Times of inferences as they are where nothing disturbs them, read from two clocks.

The wall clock counts the time for which another program has the core. The clock of the thread does not, but a model
that has just got its core back finds its data gone from the caches, and takes longer by that clock too. On an AMD EPYC
beside eight programs of arithmetic, networks of 0.4 to 0.5 ms took 40 to 50 % longer at first, and 4 % longer once they
had run for 2 ms. So inferences count that began so long after the core came back. Slow models have none of these; then
all inferences count, and the reference models tell how much longer they take.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

from nas.hardware.runtimes.runtime import Session, TimedSession
from nas.values.measurement import THREAD, WALL

LOST_MS = 0.2
"""A thread that waits for so long has lost its core to another program. Interrupts take less."""
WARM_MS = 2.0
"""The processor time after which the caches hold what a model needs, once its thread has its core back."""
LEAST_WARM, LEAST_WARM_SHARE = 8, 0.5
"""The least number of inferences with warm caches that are enough by themselves, or their least share."""
WAITED_SHARE, WAITED_MS = 0.01, 0.002
"""An inference waited if the clocks differ by more than this share of its time, and by more than this."""
FINEST_S = 20e-6
"""A thread's clock that counts in larger steps is of no use. That of Windows counts in steps of 16 ms."""
STEPS, LONGEST_LOOK_S = 5, 0.05
ELSEWHERE = 0.05
"""A runtime computes in other threads if they use more than this share of the asking thread's processor time."""

MUCH_WAITING = 0.5
"""A session waits for something else than its core if every other inference gives the core away."""
WAITS = "the runtime waits for something else than a processor, such as a device"
COMPUTES_ELSEWHERE = "the runtime computes in threads of its own, although one thread was asked for"


class Sample(NamedTuple):
    """One timed inference, or the mean of several in a row.

    ``own_ms`` is its time by the thread's clock; NaN without such a clock. ``warm_ms`` is the processor time between
    the last moment at which the core came back from another program and its beginning; infinite if it was never lost.
    ``is_lost`` is True if another program took the core meanwhile.
    """

    wall_ms: float
    own_ms: float = math.nan
    warm_ms: float = math.inf
    is_lost: bool = False


@dataclass(frozen=True)
class Undisturbed:
    """The times of a session's inferences that count, in milliseconds.

    ``is_warm`` is False if they include inferences that began with cold caches, because there were too few others.
    ``waited`` is the share of the session's time for which other programs had the core. ``clock`` is the wall if that
    is next to nothing.
    """

    times_ms: tuple[float, ...]
    clock: str
    is_warm: bool
    waited: float


def undisturbed(samples: Sequence[Sample], *, warm: bool | None = None) -> Undisturbed:
    """Return the times that count of one model's inferences in one session.

    An inference that did not wait counts by the wall clock, which is finer, and any other by the thread's clock. That
    clock may stand still for a moment in a virtual machine, because Linux takes off late the time for which the host
    had the core. Such an inference counts by the wall clock, and only where too few others count.

    With ``warm``, only inferences with warm caches count, or all of them, so that a reference model is read as the
    model beside it was. There may then be none.
    """
    wall_N, own_N, warm_N, lost_N = (np.array(column) for column in zip(*samples, strict=True))
    if np.isnan(own_N).any():
        return Undisturbed(tuple(wall_N.tolist()), WALL, is_warm=True, waited=0.0)
    waiting_N = wall_N - own_N
    stood_N = own_N <= 0
    waited_N = (waiting_N > np.maximum(WAITED_SHARE * own_N, WAITED_MS)) & ~stood_N
    counts_N = np.where(waited_N, own_N, wall_N)
    sound_N = (warm_N >= WARM_MS) & ~lost_N & ~stood_N
    is_enough = sound_N.sum() >= min(LEAST_WARM, LEAST_WARM_SHARE * len(samples))
    is_warm = bool(is_enough) if warm is None else warm
    waited = float(max(0.0, waiting_N[lost_N].sum()) / wall_N.sum())
    clock = WALL if is_warm and waited <= WAITED_SHARE else THREAD
    return Undisturbed(tuple(counts_N[sound_N if is_warm else slice(None)].tolist()), clock, is_warm, waited)


@final
class Presence:
    """Knows when this thread last lost its core to another program, over all models that it runs in turns."""

    def __init__(self) -> None:
        self._lost_at_ns = -math.inf
        self._waited_ns = time.perf_counter_ns() - time.thread_time_ns() if has_thread_clock() else 0

    def warm_ms(self, wall_ns: int, own_ns: int) -> float:
        """Return the processor time since the core last came back, given a reading of both clocks."""
        waited_ns = wall_ns - own_ns
        if waited_ns - self._waited_ns > LOST_MS * 1e6:
            self._lost_at_ns = own_ns
        self._waited_ns = waited_ns
        return (own_ns - self._lost_at_ns) / 1e6


@final
class Stopwatch:
    """Times the inferences of one opened session, ``inferences`` at once.

    ``why_wall`` says why the thread's clock cannot be used; it is empty if it can.
    """

    def __init__(self, session: Session, inferences: int, why_wall: str) -> None:
        self._session = session
        self._inferences = inferences
        self.why_wall = why_wall

    def sample(self, presence: Presence) -> Sample:
        """Run, and return the times of one inference by both clocks, or by the session's own clock if it has one."""
        if isinstance(self._session, TimedSession):
            return Sample(_rounded(self._session.timed_run_ms()))
        if self.why_wall:
            start = time.perf_counter_ns()
            self._run()
            return Sample(_rounded((time.perf_counter_ns() - start) / 1e6 / self._inferences))
        # The wall clock is read within the thread's clock, which takes ten times as long to read.
        own = time.thread_time_ns()
        start = time.perf_counter_ns()
        self._run()
        end = time.perf_counter_ns()
        own_end = time.thread_time_ns()
        warm_ms = presence.warm_ms(start, own)
        is_lost = presence.warm_ms(end, own_end) == 0.0
        wall_ms, own_ms = ((stop - begin) / 1e6 / self._inferences for stop, begin in ((end, start), (own_end, own)))
        return Sample(_rounded(wall_ms), _rounded(own_ms), warm_ms, is_lost)

    def _run(self) -> None:
        for _ in range(self._inferences):
            self._session.run()


@functools.cache
def has_thread_clock() -> bool:
    """Return True if this system has a clock for a thread's processor time that is fine enough.

    Its steps are watched, because Windows tells of a finer clock than it has.
    """
    if not hasattr(time, "thread_time"):
        return False
    steps: list[float] = []
    began, last = time.perf_counter(), time.thread_time()
    while len(steps) < STEPS and time.perf_counter() - began < LONGEST_LOOK_S:
        now = time.thread_time()
        if now > last:
            steps.append(now - last)
            last = now
    return len(steps) == STEPS and sorted(steps)[STEPS // 2] <= FINEST_S


@dataclass(frozen=True)
class Work:
    """What some inferences of a session took.

    ``own_s`` is the processor time of this thread, ``process_s`` that of all threads, and ``waits`` is how many times
    an inference gave the core away of itself, on average.
    """

    own_s: float
    process_s: float
    waits: float


def work_of(session: Session, least_s: float) -> Work:
    """Run inferences for ``least_s`` or longer, and return what they took. The first one, which may compile, is left
    out.
    """
    session.run()
    began, own_s, process_s, waits, runs = time.perf_counter(), time.thread_time(), time.process_time(), _waits(), 0
    while runs == 0 or time.perf_counter() - began < least_s:
        session.run()
        runs += 1
    return Work(time.thread_time() - own_s, time.process_time() - process_s, (_waits() - waits) / runs)


def _waits() -> int:
    """Return how many times this thread has given its core away: to wait for a device, another thread, or a time."""
    try:
        import resource
    except ImportError:  # Windows, whose clock of a thread is too coarse anyway
        return 0
    return resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_nvcsw


def why_wall_clock(session: Session, threads: int, least_s: float) -> str:
    """Return why a session's inferences are timed by the wall clock alone, or nothing if both clocks can be read.

    Inferences run for ``least_s`` or longer to find that out.
    """
    if isinstance(session, TimedSession):
        return "the device has a clock of its own"
    if not has_thread_clock():
        return "this system has no clock for the processor time of a thread"
    if threads > 1:
        return "several threads compute together, and one that waits makes others wait"
    work = work_of(session, least_s)
    if work.process_s - work.own_s > ELSEWHERE * max(work.own_s, FINEST_S):
        return COMPUTES_ELSEWHERE
    return WAITS if work.waits >= MUCH_WAITING else ""


def _rounded(value_ms: float) -> float:
    return float(f"{value_ms:.6g}")
