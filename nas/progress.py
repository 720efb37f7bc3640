"""Telling how far a run is: the protocol, and two implementations that need nothing but a stream."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Protocol, TextIO


class Progress(Protocol):
    """Hears of a run's stages and of each step within them."""

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        """A stage of ``total`` steps begins, and the one before it has ended; None where the total is open.

        No step begins after ``most_s`` seconds, where that is given.
        """

    def advance(self, count: int = 1, best: str | None = None) -> None:
        """``count`` more steps are done; ``best`` describes the best result so far, where it changed."""

    def say(self, text: str) -> None:
        """One line of news that stays."""

    def close(self) -> None:
        """The last stage has ended. Closing again does nothing."""


class NullProgress:
    """Says nothing."""

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None: ...

    def advance(self, count: int = 1, best: str | None = None) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


class PlainProgress:
    """Plain lines for logs and pipes: where a stage starts and ends, and at most one each ``every_s`` between."""

    def __init__(self, stream: TextIO, *, every_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._every_s = every_s
        self._clock = clock
        self._name: str | None = None
        self._total: int | None = None
        self._most_s: float | None = None
        self._done = 0
        self._best: str | None = None
        self._started_s = self._told_s = clock()

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        self.close()
        self._name, self._total, self._done, self._best = one_line(name), total, 0, None
        self._most_s = most_s
        self._started_s = self._told_s = self._clock()
        within = "" if most_s is None else f", as far as {duration_text(most_s)} allow"
        self.say(f"{self._name}{within}." if total is None else f"{self._name}: {total} to do{within}.")

    def advance(self, count: int = 1, best: str | None = None) -> None:
        self._done += count
        self._best = self._best if best is None else one_line(best)
        now_s = self._clock()
        if self._name is None or now_s - self._told_s < self._every_s or self._done == self._total:
            return
        self._told_s = now_s
        left_s = seconds_left(self._done, self._total, now_s - self._started_s, self._most_s)
        left = "" if left_s is None else f", about {duration_text(left_s)} left"
        self.say(f"{self._name}: {self._counted()}{self._best_so_far()}{left}.")

    def say(self, text: str) -> None:
        self._stream.write(f"{one_line(text)}\n")
        self._stream.flush()

    def close(self) -> None:
        if self._name is None:
            return
        elapsed = duration_text(self._clock() - self._started_s)
        self.say(f"{self._name}: {self._counted()} in {elapsed}{self._best_so_far()}.")
        self._name = None

    def _counted(self) -> str:
        return f"{self._done} done" if self._total is None else f"{self._done} of {self._total} done"

    def _best_so_far(self) -> str:
        return "" if self._best is None else f", best {self._best}"


def seconds_left(done: int, total: int | None, passed_s: float, most_s: float | None) -> float | None:
    """What the rest of ``total`` steps will take, as those that are ``done`` did, or what is left of ``most_s``.

    None where neither tells.
    """
    if total is not None and not 0 < done < total:
        return None
    left_s = [] if most_s is None else [max(0.0, most_s - passed_s)]
    left_s += [] if total is None else [passed_s / done * (total - done)]
    return min(left_s, default=None)


def one_line(text: str) -> str:
    """``text`` on one line and without escape sequences and control characters."""
    text = re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)", "", text)
    text = re.sub(r"[\s\u2028\u2029]+", " ", text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "", text).strip()


def duration_text(seconds: float) -> str:
    """A duration for people: ``0.4 s``, ``35 s``, ``2 min 05 s`` or ``3 h 20 min``."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    if (whole := round(seconds)) < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
