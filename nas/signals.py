"""Signals that ask this process to stop: Ctrl-C, and those of a container, a closed terminal or a process manager.

The first signal raises ``Stopped``, a KeyboardInterrupt, wherever the main thread is. Every ``with`` and ``finally``
then cleans up, and a message says how to go on. A second signal ends the command at once; in a program or a notebook
that uses this package it raises ``Stopped`` again, even where the first one had to wait.

The first signal is never lost:

- Some libraries catch the exception. As soon as it is gone, it is raised again.
- Some turn it into another error, or keep it. ``check`` raises it again, and the journal calls ``check`` before each
  row, so that no candidate fails because somebody pressed Ctrl-C.
- Where an exception would do harm, as while Ray starts, ``deferred`` holds it back until the end of the block.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, final

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
"""The signals; each system has some of them. One that is ignored, as by ``nohup``, stays ignored."""
SAME_S = 0.2
"""Some programs send a signal twice: to a process and to its group. Within this time it counts as one."""
AGAIN_S = 0.05
"""How long after a library caught ``Stopped`` it is raised again."""


_end_process = os._exit
"""The real one: while a user's code runs, ``nas.space.own_code`` puts another in its place."""


class Stopped(KeyboardInterrupt):
    """The signal ``number`` asked this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name

    @property
    def status(self) -> int:
        """The exit status of a command that this signal stopped."""
        return 128 + self.number


@contextlib.contextmanager
def stopping(*, ends_process: bool = False) -> Iterator[None]:
    """Raise ``Stopped`` in the block when a signal comes. The handlers from before come back at its end.

    It has an effect only in the main thread, where Python allows handlers, and only on signals that have no handler of
    the caller's own. Within another such block it does nothing. With ``ends_process`` a second signal ends the process.

    Raises:
        Stopped: also for a signal whose exception was lost in the block, or turned into another one.
    """
    global _active
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _active = _Handler(ends_process)
    try:
        handler.begin()
        yield
    except Stopped:
        raise
    except BaseException as error:
        if handler.is_unheeded:
            raise handler.stopped() from error
        raise
    else:
        if handler.is_unheeded:
            raise handler.stopped()
    finally:
        _active = None
        handler.end()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Hold a signal back until the end of the block, and take back the handlers that the block has replaced."""
    handler = _mine()
    if handler is None:
        yield
        return
    handler.holds += 1
    try:
        yield
    finally:
        handler.holds -= 1
        handler.install()
        check()


def check() -> None:
    """Raise ``Stopped`` if a signal has come and nobody has heeded it yet."""
    handler = _mine()
    if handler is not None and handler.is_unheeded and not handler.holds:
        raise handler.stopped()


def heed() -> None:
    """Note that ``Stopped`` has reached the code that ends the work: it is not raised again."""
    handler = _mine()
    if handler is not None:
        handler.heeded = True


@contextlib.contextmanager
def advising(text: str) -> Iterator[None]:
    """Tell ``text``, how to go on, if the process ends at once in the block."""
    global _advice
    before, _advice = _advice, text
    try:
        yield
    finally:
        _advice = before


def advice() -> str:
    """Return how to go on if the process ends now."""
    return _advice


def _numbers() -> list[int]:
    return [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def before_ending_at_once(act: Callable[[], None]) -> Callable[[], None]:
    """Call ``act`` before ``end_at_once``, as after a second signal. Return a function that takes that back."""
    _last_acts.append(act)
    return lambda: _last_acts.remove(act)


def end_at_once(reason: str, status: int) -> None:
    """End this process from any thread, with the reason and the advice on how to go on."""
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides it
    text = f"{cursor}{reason}\n{_advice}".rstrip() + "\n"
    with contextlib.suppress(OSError):
        os.write(2, text.encode(errors="replace"))
    for act in _last_acts:
        act()
    _end_process(status)


@final
class _Handler:
    """Handles the signals from the beginning to the end of a ``stopping`` block.

    Attributes:
        number: the first signal that came.
        holds: the number of ``deferred`` blocks around the main thread.
        heeded: the code that ends the work knows of the signal.
    """

    def __init__(self, ends_process: bool) -> None:
        self.number: int | None = None
        self.holds = 0
        self.heeded = False
        self._ends_process = ends_process
        self._came_s = 0.0
        self._again = False
        self._repeats = 0
        self._raised: weakref.ref[Stopped] | None = None
        self._before: dict[int, Any] = {}
        self._ending = threading.Lock()
        self._hook = sys.unraisablehook
        self._listener: _Listener | None = None

    @property
    def is_unheeded(self) -> bool:
        """True if a signal has come and the code that ends the work does not know of it."""
        return self.number is not None and not self.heeded

    def begin(self) -> None:
        """Take the place of the default handlers."""
        for number in _numbers():
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = signal.getsignal(number)
        self.install()
        sys.unraisablehook = self._unraisable
        if self._ends_process:
            self._listener = _Listener(self._heard, set(self._before))

    def install(self) -> None:
        """Handle the signals, also those that another library has taken since."""
        for number in self._before:
            signal.signal(number, self)

    def end(self) -> None:
        """Bring back what was there before."""
        if self._listener is not None:
            self._listener.close()
        for number, before in self._before.items():
            signal.signal(number, before)
        sys.unraisablehook = self._hook

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._again:  # this process has sent it to itself
            self._again = False
        elif self.number is None:
            self.number, self._came_s = number, time.monotonic()
        elif time.monotonic() - self._came_s <= SAME_S:
            return
        else:
            self._stop_at_once(number)
        if not self.holds and self.is_unheeded:
            raise self.stopped()

    def stopped(self) -> Stopped:
        """Return the exception to raise. If it is lost, it will be raised again."""
        assert self.number is not None
        error = Stopped(self.number)
        self._raised = weakref.ref(error, self._lost)
        return error

    def _lost(self, _: object) -> None:
        """The exception is gone: it has reached the end of the block, or somebody has caught it."""
        if _active is self and self.is_unheeded and not self.holds:
            # Raised here, it would be ignored, since this may run while an object is being deleted.
            threading.Thread(target=self._send_again, daemon=True).start()

    def _send_again(self) -> None:
        time.sleep(AGAIN_S)
        if _active is self and self.is_unheeded and self.number is not None:
            self._again, self._repeats = True, self._repeats + 1
            if hasattr(signal, "pthread_kill"):  # so that the main thread wakes up, whatever it waits for
                signal.pthread_kill(threading.main_thread().ident or 0, self.number)
            else:
                signal.raise_signal(self.number)

    def _heard(self, number: int, count: int, first_s: float) -> None:
        """Stop at a second signal, even if the main thread is busy in code that is not Python."""
        if count - self._repeats > 1 and time.monotonic() - first_s > SAME_S:
            self._stop_at_once(number)

    def _stop_at_once(self, number: int) -> None:
        if not self._ends_process:
            raise Stopped(number)
        if not self._ending.acquire(blocking=False):
            return  # the other thread, or an interrupted call of this one, is ending the process
        end_at_once("Stopped at once. All finished work is kept.", 128 + number)

    def _unraisable(self, unraisable: Any) -> None:
        """Keep quiet about a ``Stopped`` that Python could not raise: it is raised again."""
        if not isinstance(unraisable.exc_value, Stopped):
            self._hook(unraisable)


@final
class _Listener:
    """A thread that hears of each signal when it comes, whatever the main thread does."""

    def __init__(self, heard: Callable[[int, int, float], None], numbers: set[int]) -> None:
        self._heard = heard
        self._numbers = numbers
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._before = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, name="nas-signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        signal.set_wakeup_fd(self._before)
        self._mouth.close()
        self._thread.join(1)
        self._ear.close()

    def _listen(self) -> None:
        count, first_s = 0, 0.0
        while heard := self._ear.recv(64):
            for number in heard:
                if number in self._numbers:
                    count += 1
                    first_s = first_s or time.monotonic()
                    self._heard(number, count, first_s)


_active: _Handler | None = None
_advice = ""
_last_acts: list[Callable[[], None]] = []


def _mine() -> _Handler | None:
    """Return the active handler in the main thread, where signals are handled; None in any other."""
    return _active if threading.current_thread() is threading.main_thread() else None


def _forget_in_child() -> None:
    """Leave a forked process with the handlers from before: its parent decides when it stops."""
    global _active
    if _active is not None:
        handler, _active = _active, None
        signal.set_wakeup_fd(-1)
        for number, before in handler._before.items():
            signal.signal(number, before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
