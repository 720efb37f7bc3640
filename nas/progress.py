"""Progress of a run: the protocol for its display, a silent display, and one of plain lines."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO

QUIET_S = 20.0
"""A stage says that it is still running if it has said nothing for so long."""
YEAR_S = 365.25 * 86400


class Progress(Protocol):
    """A display of a run's stages and of the steps within them."""

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        """Begin a stage of ``total`` steps and end the one before; None if the number of steps is open.

        ``most_s`` is the stage's time limit in seconds: no step begins after it.
        """

    def advance(self, count: int = 1, best: str | None = None) -> None:
        """Count ``count`` more steps as done; ``best`` describes the best result so far, if it changed."""

    def say(self, text: str) -> None:
        """Show one line of news, and keep it."""

    def close(self) -> None:
        """End the last stage. Closing again does nothing."""


class NullProgress:
    """Shows nothing."""

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None: ...

    def advance(self, count: int = 1, best: str | None = None) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


@dataclass
class Steps:
    """The steps of one stage, and the sentences that describe them.

    Attributes:
        name: the stage's name, on one line.
        total: the number of steps; None if it is open.
        most_s: the stage's time limit in seconds, if there is one.
        started_s: the time of the clock when the stage began.
        done: the number of steps that are done.
        best: a description of the best result so far.
        handled: the exception that was being handled when the stage began, in a caller's ``except``.
    """

    name: str
    total: int | None
    most_s: float | None
    started_s: float
    done: int = 0
    best: str | None = None
    handled: BaseException | None = field(default_factory=sys.exception)

    @property
    def is_cut_off(self) -> bool:
        """True while an exception, such as Ctrl-C, is ending the stage before its end."""
        return sys.exception() not in (None, self.handled)

    def add(self, count: int, best: str | None) -> None:
        """Count ``count`` more steps; ``best`` replaces the best result unless it is None."""
        self.done += count
        self.best = self.best if best is None else one_line(best)

    def start_text(self) -> str:
        """Return the sentence for the stage's start."""
        limit = "" if self.most_s is None else f", time limit {duration_text(self.most_s)}"
        return f"{self.name}{limit}." if self.total is None else f"{self.name}: {self.total} to do{limit}."

    def running_text(self, now_s: float) -> str:
        """Return the sentence for a stage that is not over, with the time left where it can be estimated."""
        left_s = self.seconds_left(now_s)
        left = "" if left_s is None else f", about {duration_text(left_s)} left"
        return f"{self.name}: {self._counted()}{self._best_so_far()}{left}."

    def waiting_text(self, now_s: float) -> str:
        """Return the sentence for a stage in which no step has ended for a while."""
        return f"{self.name}: {self._counted()}{self._best_so_far()}, {duration_text(now_s - self.started_s)} so far."

    def end_text(self, now_s: float) -> str:
        """Return the sentence for the stage's end, with the time that it took."""
        elapsed = duration_text(now_s - self.started_s)
        stopped = "stopped, " if self.is_cut_off else ""
        return f"{self.name}: {stopped}{self._counted()} in {elapsed}{self._best_so_far()}."

    def seconds_left(self, now_s: float) -> float | None:
        """Estimate the seconds that the stage will still take, at the pace so far and within the time limit.

        None if neither the pace nor the limit gives an estimate.
        """
        if self.total is not None and not 0 < self.done < self.total:
            return None
        passed_s = now_s - self.started_s
        left_s = [] if self.most_s is None else [max(0.0, self.most_s - passed_s)]
        left_s += [] if self.total is None else [passed_s / self.done * (self.total - self.done)]
        return min(left_s, default=None)

    def _counted(self) -> str:
        return f"{self.done} done" if self.total is None else f"{self.done} of {self.total} done"

    def _best_so_far(self) -> str:
        return "" if self.best is None else f", best {self.best}"


class Ticker:
    """Calls ``tick`` every ``every_s`` seconds, in a thread of its own, until it is stopped.

    A step may take minutes. Without a sign of life nobody can tell that from a run that hangs.
    """

    def __init__(self, tick: Callable[[], None], every_s: float) -> None:
        self._tick = tick
        self._every_s = every_s
        self._ended = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Call no more. Stopping again does nothing."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._tick()
            except (OSError, ValueError):  # nobody reads any more; the run itself finds out when it writes next
                return


class PlainProgress:
    """Plain lines for logs and pipes.

    A stage has a line at its start, a line at its end, and between them at most one every ``every_s`` seconds. If no
    step ends for ``quiet_s``, a line says for how long the stage has been running.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        every_s: float = 5.0,
        quiet_s: float = QUIET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._every_s = every_s
        self._quiet_s = quiet_s
        self._clock = clock
        self._steps: Steps | None = None
        self._shown_s = clock()
        self._ticker: Ticker | None = None
        self._lock = threading.RLock()  # the ticker's thread writes too

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        self.close()
        self._shown_s = self._clock()
        self._steps = Steps(one_line(name), total, most_s, self._shown_s)
        self.say(self._steps.start_text())
        self._ticker = Ticker(self._tick, self._quiet_s)

    def advance(self, count: int = 1, best: str | None = None) -> None:
        with self._lock:
            if self._steps is None:
                return
            self._steps.add(count, best)
            now_s = self._clock()
            if now_s - self._shown_s < self._every_s or self._steps.done == self._steps.total:
                return
            self._shown_s = now_s
            self.say(self._steps.running_text(now_s))

    def say(self, text: str) -> None:
        with self._lock:
            self._stream.write(f"{one_line(text)}\n")
            self._stream.flush()

    def close(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
        with self._lock:
            if self._steps is None:
                return
            steps, self._steps = self._steps, None
            self.say(steps.end_text(self._clock()))

    def _tick(self) -> None:
        with self._lock:
            now_s = self._clock()
            if self._steps is not None and now_s - self._shown_s >= self._quiet_s:
                self._shown_s = now_s
                self.say(self._steps.waiting_text(now_s))


def one_line(text: str) -> str:
    """Return ``text`` on one line, without escape sequences and control characters."""
    text = re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)", "", text)
    text = re.sub(r"[\s\u2028\u2029]+", " ", text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "", text).strip()


def command_text(words: Sequence[str]) -> str:
    """Return a command line of these words, as the system's shell takes it."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def duration_text(seconds: float) -> str:
    """Return a duration for people: ``0.4 s``, ``35 s``, ``2 min 05 s``, ``3 h 20 min`` or ``2.5e+03 years``."""
    if not math.isfinite(seconds) or seconds > YEAR_S:
        return f"{seconds / YEAR_S:.3g} years" if math.isfinite(seconds) else "an unknown time"
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    if (whole := round(seconds)) < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
