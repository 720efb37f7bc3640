"""Commands as energy instruments: one prints a number on each run, another keeps printing a log of power."""

from __future__ import annotations

import contextlib
import math
import queue
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, NoReturn, final

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.hardware.energy.metering import MAX_WATCH_S, REAL_TIME, WATCHED_UPDATES, Span, Timer
from nas.hardware.own_programs import ProgramFailedError, end_program, printed_by, start_program, told

MIN_SAMPLES = 10
"""A window holds at least this number of samples of a power log."""
COMMAND_TIMEOUT_S = 10.0
LONGEST_GAP = 0.2
"""The longest gap that a power log may have, as a share of the window."""


@final
class CommandLogMeter:
    """An instrument behind a command that runs during a window and prints lines ``time_s,watts``.

    The first line may be a header. The command must print each line at once, without filling a buffer. Its clock may
    start anywhere: the line that arrives with the least delay ties it to ours. Power is integrated by the trapezoid
    rule from the window's beginning to its end, so there must be samples before and after both.
    """

    def __init__(
        self, arguments: Sequence[str], timer: Timer = REAL_TIME, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> None:
        self.name = f"command {Path(arguments[0]).name}"
        self.timer = timer
        self._arguments = list(arguments)
        self._timeout_s = timeout_s

    @cached_property
    def update_period_s(self) -> float:
        """The longest of the first gaps, in the log's own time."""
        try:
            with power_log(self.name, self._arguments, self.timer) as log:
                log.read_until(lambda: len(log.times_s) > WATCHED_UPDATES, min(MAX_WATCH_S, self._timeout_s))
                return float(np.diff(log.times_s).max())
        except CandidateError as error:
            raise TargetError(f"{error} Energy needs a command that prints lines time_s,watts.") from error

    @contextmanager
    def span(self) -> Iterator[Span]:
        """Start the command and wait for its first sample."""
        with power_log(self.name, self._arguments, self.timer) as log:
            yield _LogSpan(log, self.timer, max(self._timeout_s, 5 * self.update_period_s))


@final
class _LogSpan:
    def __init__(self, log: PowerLog, timer: Timer, patience_s: float) -> None:
        self._log, self._timer, self._patience_s = log, timer, patience_s
        log.read_until(lambda: len(log.times_s) > 0, patience_s)
        self.began_s = timer.now()

    def end(self, step: Callable[[], None]) -> tuple[float, float]:
        del step  # the awaited samples lie after the end of the window
        ended_s, log = self._timer.now(), self._log
        log.read_until(lambda: log.times_s[-1] + log.offset_s >= ended_s, self._patience_s)
        joules = integrate_power(log.times_s, log.watts, self.began_s - log.offset_s, ended_s - log.offset_s)
        return joules, ended_s - self.began_s


def printed_number(name: str, arguments: Sequence[str], quantity: str, timeout_s: float) -> float:
    """Run a command without a shell and return the one finite number that it prints.

    Raises:
        CandidateError: of kind *energy*: the command cannot be started, does not end within ``timeout_s``, fails, or
            prints anything else.
    """
    try:
        printed = printed_by(arguments, timeout_s)
    except ProgramFailedError as error:
        raise CandidateError("energy", f"{name} must give its energy, but {error}") from error
    except (OSError, ValueError) as error:
        raise _not_started(name, error) from error
    return _number(name, printed.decode(errors="replace").strip(), quantity)


@contextmanager
def power_log(name: str, arguments: Sequence[str], timer: Timer) -> Iterator[PowerLog]:
    """Give the log of a command that runs until the context is left. Raises CandidateError when it cannot start."""
    with tempfile.TemporaryFile() as complaints:
        process = _started(name, arguments, complaints)
        try:
            yield PowerLog(name, process, complaints, timer)
        finally:
            end_program(process)


@final
class PowerLog:
    """The samples that a running command has printed so far. Its time plus ``offset_s`` is our time."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], complaints: IO[bytes], timer: Timer) -> None:
        self.times_s: list[float] = []
        self.watts: list[float] = []
        self.offset_s = math.inf
        self._name, self._process, self._complaints, self._timer = name, process, complaints, timer
        self._lines: queue.Queue[tuple[float, bytes]] = queue.Queue()
        self._any_line = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def read_until(self, enough: Callable[[], bool], patience_s: float) -> None:
        """Read samples until ``enough`` returns True.

        Raises:
            CandidateError: no sample came in time, the command ended, or a line is not a sample.
        """
        deadline_s = self._timer.now() + patience_s
        while True:
            ended = not self._listener.is_alive()  # asked before taking, so that the last lines are not missed
            while not self._lines.empty():
                self._take(*self._lines.get())
            if enough():
                return
            if ended:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(1)
                code = self._process.returncode
                reason = "it stopped printing" if code is None else f"it ended early, with exit code {code}"
                _fail(self._name, reason, self._complaints)
            if self._timer.now() > deadline_s:
                reason = f"no sample came for {patience_s:g} s (lines must be printed as they come)"
                _fail(self._name, reason, self._complaints)
            self._timer.sleep(1e-3)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put((self._timer.now(), line))

    def _take(self, arrived_s: float, line: bytes) -> None:
        fields = line.decode(errors="replace").strip().split(",")
        first, self._any_line = not self._any_line, True
        if first and not re.search(r"\d", fields[0]):
            return  # the header
        if len(fields) != 2:
            raise CandidateError("energy", f"{self._name} must print lines time_s,watts, but printed {line[:80]!r}.")
        time_s, watts = _number(self._name, fields[0], "time_s"), _number(self._name, fields[1], "watts")
        if watts < 0:
            raise CandidateError("energy", f"watts of {self._name} must not be negative, but got {watts}.")
        if self.times_s and time_s <= self.times_s[-1]:
            raise CandidateError(
                "energy", f"time_s of {self._name} must increase, but {time_s} follows {self.times_s[-1]}."
            )
        self.times_s.append(time_s)
        self.watts.append(watts)
        self.offset_s = min(self.offset_s, arrived_s - time_s)


def integrate_power(times_s: Sequence[float], watts: Sequence[float], start_s: float, end_s: float) -> float:
    """Return the joules between two moments, by the trapezoid rule over samples.

    ``times_s`` and ``watts`` have the shape (N,), and times increase. Power at the two moments is interpolated between
    the samples around them. Nothing is extrapolated.

    Raises:
        CandidateError: of kind *energy*: the samples do not cover the window, fewer than ``MIN_SAMPLES`` lie in it, or
            a gap is longer than a fifth of it.
    """
    times, powers = np.asarray(times_s, dtype=np.float64), np.asarray(watts, dtype=np.float64)
    if not len(times) or times[0] > start_s or times[-1] < end_s:
        covered = f"{times[0]:g} to {times[-1]:g} s" if len(times) else "nothing"
        raise CandidateError(
            "energy", f"a power log must cover the window, {start_s:g} to {end_s:g} s, but covers {covered}."
        )
    inside = (times > start_s) & (times < end_s)
    if inside.sum() < MIN_SAMPLES:
        raise CandidateError(
            "energy", f"a power log must have {MIN_SAMPLES} samples in the window, but has {inside.sum()}."
        )
    moments = np.concatenate([[start_s], times[inside], [end_s]])
    longest_s = np.diff(moments).max()
    if longest_s > LONGEST_GAP * (end_s - start_s):
        raise CandidateError(
            "energy",
            f"a power log may be silent for at most a fifth of the window, {LONGEST_GAP * (end_s - start_s):.3g} s, "
            f"but was silent for {longest_s:.3g} s.",
        )
    return float(np.trapezoid(np.interp(moments, times, powers), moments))


def _started(name: str, arguments: Sequence[str], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return start_program(arguments, subprocess.PIPE, complaints)
    except (OSError, ValueError) as error:
        raise _not_started(name, error) from error


def _not_started(name: str, error: Exception) -> CandidateError:
    return CandidateError("energy", f"{name} must be a program that can be started, but: {error}")


def _fail(name: str, reason: str, complaints: IO[bytes]) -> NoReturn:
    raise CandidateError("energy", f"{name} must give its energy, but {told(reason, complaints)}")


def _number(name: str, text: str, quantity: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CandidateError("energy", f"{quantity} of {name} must be a finite number, but it printed {text[:80]!r}.")
    return number
