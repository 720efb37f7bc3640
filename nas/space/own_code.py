"""Running code that a user wrote: what it prints, where it goes, and how it ends must not disturb the search."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn


class EscapedError(Exception):
    """A user's code raised ``escaped``, which is no ``Exception``: mostly SystemExit, by ``sys.exit``."""

    def __init__(self, escaped: BaseException) -> None:
        super().__init__(str(escaped))
        self.escaped = escaped


class ProcessExitError(BaseException):
    """A user's code called ``os._exit``, which would end the search without a word. It is no ``Exception``."""


@contextlib.contextmanager
def own_code() -> Iterator[None]:
    """Let a user's code run within the context.

    What it prints in the main thread goes to standard error, because standard output belongs to results. The stream
    belongs to the process, and contexts of several threads end in any order: each would bring back that of another one.
    The current folder is the same afterwards. Only ``Exception`` and KeyboardInterrupt come out.

    Raises:
        EscapedError: the code called ``sys.exit`` or ``os._exit``, or raised another exception that would end this
            process.
    """
    is_main = threading.current_thread() is threading.main_thread()
    folder = _current_folder()
    printing = contextlib.redirect_stdout(sys.stderr) if is_main else contextlib.nullcontext()
    try:
        with printing, _without_exit():
            yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise EscapedError(error).with_traceback(error.__traceback__) from None
    finally:
        if folder is not None and _current_folder() != folder:
            os.chdir(folder)


@contextlib.contextmanager
def _without_exit() -> Iterator[None]:
    """Raise ProcessExitError where the code of the context calls ``os._exit``.

    Processes that the code forks end by it as always, and so does this one where another thread calls it. Contexts of
    several threads may begin and end in any order: the last one that ends brings ``os._exit`` back.
    """
    global _leave
    place = os.getpid(), threading.get_ident()
    with _changing:
        if not _inside:
            _leave, os._exit = os._exit, _refuse
        _inside[place] += 1
    try:
        yield
    finally:
        with _changing:
            _inside[place] -= 1
            if not _inside[place]:
                del _inside[place]
            if not _inside:
                os._exit = _leave


def _refuse(status: int) -> NoReturn:
    """Take the place of ``os._exit`` while a thread is inside a context."""
    if (os.getpid(), threading.get_ident()) not in _inside:
        _leave(status)
    raise ProcessExitError(f"os._exit({status}) would end the search")


_leave = os._exit
_changing = threading.RLock()
_inside: Counter[tuple[int, int]] = Counter()
"""How many contexts each thread of each process is inside of."""
if hasattr(os, "register_at_fork"):
    # Without this, a child that is forked while another thread holds the lock would wait for it for ever.
    os.register_at_fork(before=_changing.acquire, after_in_parent=_changing.release, after_in_child=_changing.release)


def _current_folder() -> str | None:
    """Return the current folder; None if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None
