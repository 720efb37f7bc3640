"""Broken files of a data set: a few are left out and named, many are refused."""

from __future__ import annotations

from collections.abc import Sequence

from nas.errors import DataError, first_few

MOST_BROKEN = 0.05
"""The largest share of broken items that are left out. One item always is."""


def named(broken: Sequence[str]) -> str:
    """Return the first few broken items; each text is a name and a reason."""
    return first_few(broken, between="; ")


def check_few(
    broken: Sequence[str], count: int, noun: str, what: str = "broken", remedy: str = "Mend or remove them"
) -> None:
    """Check that ``broken`` of ``count`` items called ``noun`` are few enough to be left out. Raises DataError."""
    most = max(1, int(MOST_BROKEN * count))
    if len(broken) > most:
        raise DataError(
            f"at most {MOST_BROKEN:.0%} of the {noun} may be {what}, which is {most} of {count}, but {len(broken)} "
            f"are: {named(broken)}. {remedy}."
        )


def left_out(broken: Sequence[str], count: int, noun: str, what: str = "unreadable") -> list[str]:
    """Return a sentence about items that are left out, if there are some."""
    were = "was" if len(broken) == 1 else "were"
    return [f"{len(broken)} of {count} {noun} {were} left out as {what}: {named(broken)}."] if broken else []
