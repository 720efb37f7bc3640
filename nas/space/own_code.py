"""Running code that a user wrote: what it prints, where it goes, and how it ends must not disturb the search."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
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

    What it prints goes to standard error, because standard output belongs to results. The current folder is the same
    afterwards. Only ``Exception`` and KeyboardInterrupt come out.

    Raises:
        EscapedError: the code called ``sys.exit`` or ``os._exit``, or raised another exception that would end this
            process.
    """
    folder = _current_folder()
    try:
        with contextlib.redirect_stdout(sys.stderr), _without_exit():
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

    Processes that the code forks end by it as always, and so does this one where another thread calls it.
    """
    leave, place = os._exit, (os.getpid(), threading.get_ident())

    def refuse(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) != place:
            leave(status)
        raise ProcessExitError(f"os._exit({status}) would end the search")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave


def _current_folder() -> str | None:
    """Return the current folder; None if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None
