"""Running code that a user wrote: what it prints, where it goes, and how it ends must not disturb the search."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


class EscapedError(Exception):
    """A user's code raised ``escaped``, which is no ``Exception``: mostly SystemExit, by ``sys.exit``."""

    def __init__(self, escaped: BaseException) -> None:
        super().__init__(str(escaped))
        self.escaped = escaped


@contextlib.contextmanager
def own_code() -> Iterator[None]:
    """Let a user's code run within the context.

    What it prints goes to standard error, because standard output belongs to results. The current folder is the same
    afterwards. Only ``Exception`` and KeyboardInterrupt come out.

    Raises:
        EscapedError: the code called ``sys.exit``, or raised another exception that would end this process.
    """
    folder = _current_folder()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise EscapedError(error).with_traceback(error.__traceback__) from None
    finally:
        if folder is not None and _current_folder() != folder:
            os.chdir(folder)


def _current_folder() -> str | None:
    """Return the current folder; None if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None
