"""Ending code that takes too long, in this process."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from collections.abc import Iterator
from typing import Any

AGAIN_S = 0.5
"""Code that catches the exception gets another one after this time."""


class TimeUpError(BaseException):
    """The time of a piece of code is over. It is no ``Exception``, because users' code catches those."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TimeUpError in the code of the context once ``seconds`` have passed.

    In the main thread of Linux and macOS that also ends waiting, such as ``time.sleep``. Elsewhere it comes when the
    code next runs a line of Python.
    """
    seconds = max(0.001, seconds)
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        with _alarm(seconds):
            yield
    else:
        with _exception_from_outside(seconds):
            yield


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise TimeUpError

    before = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if timer[0] > 0:
            signal.setitimer(signal.ITIMER_REAL, *timer)


@contextlib.contextmanager
def _exception_from_outside(seconds: float) -> Iterator[None]:
    thread, is_over, lock = threading.get_ident(), threading.Event(), threading.Lock()

    def watch() -> None:
        wait_s = seconds
        while not is_over.wait(wait_s):
            with lock:
                if not is_over.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimeUpError))
            wait_s = AGAIN_S

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with lock:
            is_over.set()
