"""Checks of a recipe's values. One of another type, such as ``true`` for 1, is refused and not converted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

MOST = 10**9
"""No number of a recipe is larger, but for the seed. In seconds it is 31 years."""
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def seconds_of(text: str) -> float:
    """Return the seconds of a time such as ``90s``, ``15min`` or ``2h``. Raises ValueError for any other text."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", text)
    if match is None or match[2] not in ("", *_SECONDS):
        raise ValueError(f"a time is written like 90s, 15min or 2h, but got {text[:60]!r}.")
    if not match[2]:
        number = match[1][:20]
        raise ValueError(f"a time needs a unit: write {number}s, {number}min or {number}h, but got {text[:60]!r}.")
    return float(match[1]) * _SECONDS[match[2]]


def checked_switch(value: object) -> object:
    """Return ``value`` if it is true or false. Raises ValueError for what only resembles that, such as 1 or "no"."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, but got {str(value)[:60]!r}.")
    return value


def checked_number(value: object, most: int | None = None) -> object:
    """Return ``value`` unless it is a switch, a text or a number beyond ``most``, which is ``MOST`` by default.

    Raises:
        ValueError: it is.
    """
    if isinstance(value, list | tuple):
        for item in value:
            checked_number(item, most)
    if isinstance(value, bool):
        raise ValueError(f"must be a number, but got {'true' if value else 'false'}.")
    if isinstance(value, str):
        raise ValueError(f"must be a number, but got {value[:60]!r}.")
    most = MOST if most is None else most
    if isinstance(value, int | float) and most < abs(value) < math.inf:
        digits = int(math.log10(abs(value))) + 1
        raise ValueError(f"must be at most {most}, but got {value if digits < 20 else f'a number of {digits} digits'}.")
    return value


def checked_text(value: object) -> object:
    """Return ``value`` if all text in it can be written to a file, and names of files that a system takes.

    Raises:
        ValueError: a NUL character, or bytes that are not UTF-8, as in the name of a file from another system.
    """
    if isinstance(value, list | tuple):
        for item in value:
            checked_text(item)
    if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
        raise ValueError(f"must be text in UTF-8 without NUL characters, but got {value[:60]!r}.")
    return value


def checked_option(value: object) -> object:
    """Return ``value`` if TOML can hold it, so that the run's folder can.

    Raises:
        ValueError: None, another object of Python, or a text that ``checked_text`` refuses.
    """
    if isinstance(value, Mapping):
        checked_option([*value, *value.values()])
        if not all(isinstance(key, str) for key in value):
            raise ValueError("must be a table whose keys are texts.")
    elif isinstance(value, list | tuple):
        for item in value:
            checked_option(item)
    elif isinstance(value, str):
        checked_text(value)
    elif not isinstance(value, bool | int | float):
        got = "None" if value is None else f"an object of the class {type(value).__name__}"
        raise ValueError(f"must be text, a number, true or false, or a list or a table of these, but got {got}.")
    return value
