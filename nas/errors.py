"""The exceptions that this project raises on purpose.

NasError
├── RecipeError          the request is unknown, malformed or contradictory
├── DataError            the data set is missing, unreadable or unfit
├── TargetError          the hardware, runtime or instrument cannot do what was asked
├── SpaceError           a search space breaks its own rules
├── LimitError           nothing in the space meets a limit
├── RepeatedFailureError too many evaluations failed in a row
├── JournalError         a run folder is missing, taken, or unreadable
└── CandidateError       one architecture failed; recorded as a row, the run goes on

A caller's programming mistake is a plain ValueError; a broken invariant is an assertion.
"""

from __future__ import annotations

import difflib
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar


class NasError(Exception):
    """A foreseen failure whose message says the rule, the value and what to do.

    ``code`` is a word for programs, which stays the same when the message changes.
    """

    code: ClassVar[str] = "failure"


class RecipeError(NasError):
    """The request is unknown, malformed or contradictory."""

    code = "recipe"


class DataError(NasError):
    """The data set is missing, unreadable or unfit for the task."""

    code = "data"


class TargetError(NasError):
    """The hardware, runtime or instrument cannot do what was asked."""

    code = "target"


class SpaceError(NasError):
    """A search space breaks its own rules."""

    code = "space"


class LimitError(NasError):
    """Nothing in the space meets a limit."""

    code = "limit"


class RepeatedFailureError(NasError):
    """Too many evaluations failed in a row for the rest to be worth trying."""

    code = "repeated-failure"


class JournalError(NasError):
    """A run folder is missing, taken by another recipe, or unreadable."""

    code = "journal"


class CandidateError(NasError):
    """One architecture failed. It becomes a row with this reason, and the run goes on.

    ``kind`` is a word for counting: build, nan, report, memory, exception, timeout,
    worker, export, parity, measure, energy or table.
    """

    code = "candidate"

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type[CandidateError], tuple[str, str]]:
        return type(self), (self.kind, self.reason)


MOST_LISTED = 40
"""Of a longer list of known names only the nearest is given."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest known word, and a list of the known words unless it is long."""
    names = sorted(known)
    near = nearest(word, names)
    listing = f"Known: {', '.join(names) or 'none'}."
    is_long = len(names) > MOST_LISTED
    if near is None:
        return f"{len(names)} names are known." if is_long else listing
    return f"Did you mean {near!r}?" if is_long else f"Did you mean {near!r}? {listing}"


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that is spelt most like ``word``, or begins with it; None if there is none."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if found:
        return found[0]
    return next((name for name in known if word and name.lower().startswith(word.lower())), None)


def first_few(texts: Sequence[str], most: int = 5, between: str = ", ") -> str:
    """Return the first ``most`` of several texts, and how many more there are."""
    left = len(texts) - most
    return between.join(texts[:most]) + (f"{between.rstrip(', ')} and {left} more" if left > 0 else "")


def raised_text(error: BaseException) -> str:
    """Return an exception in one line, with the file and the line of the user's code that raised it.

    The line is that of the last call outside this package and outside installed ones. Without such a call, no line is
    given. The error may stand for another one, its attribute ``escaped``, which would have ended the process.
    """
    trace = error.__traceback__
    error = getattr(error, "escaped", error)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    text = _message_of(error)
    named = f"{type(error).__name__}: {text}" if text else type(error).__name__
    installed = [Path(__file__).parent, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))]
    for frame in reversed(traceback.extract_tb(trace)):
        is_installed = any(Path(frame.filename).is_relative_to(folder) for folder in installed)
        if not is_installed and not frame.filename.startswith("<"):
            return f"{named} ({frame.filename}, line {frame.lineno})"
    return named


def _message_of(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())
    except Exception:  # a class of the user's own may fail even at this
        return ""
