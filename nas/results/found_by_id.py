"""Finding a result by the id of its architecture, or by the beginning of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from nas.errors import did_you_mean, first_few

Found = TypeVar("Found")


def found_by_id(beginning: str, known: Mapping[str, Found], what: str) -> Found:
    """Return the one of ``known``, by id, whose id begins so. An ellipsis at the end is left out.

    ``what`` names one of them in messages.

    Raises:
        LookupError: none or several have such an id.
    """
    start = beginning.rstrip("…").lower()
    found = [each for each in known if start and each.startswith(start)]
    if len(found) == 1:
        return known[found[0]]
    if found:
        raise LookupError(f"an id must begin like that of one {what}, but {beginning!r} begins {first_few(found)}.")
    raise LookupError(
        f"a {what} is found by its place, its id or the beginning of one, but none has {beginning!r}. "
        f"{did_you_mean(beginning, known)}"
    )
