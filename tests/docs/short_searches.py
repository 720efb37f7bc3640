"""Imported first by the program of a page, makes its searches short: what the page gives stays, defaults do less.

A whole search with all defaults takes minutes, half of them for Ray and for measuring winners precisely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nas

SHORT = {
    "execution": {"executor": "inline"},
    "measuring": {"rounds": 2, "max_rounds": 3, "seconds_per_round": 0.02},
    "training": {"epochs": 3},
    "retraining": {"epochs": 3, "winners": 2},
}


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of both recipes, section by section; those that are given win."""
    return {**given, **{section: {**keys, **given.get(section, {})} for section, keys in defaults.items()}}


def shortened(search: Callable[..., Any], place: int) -> Callable[..., Any]:
    """Return the function with a short recipe as its positional argument at this place."""

    def call(*arguments: Any, **named: Any) -> Any:
        return search(*arguments[:place], merged(SHORT, arguments[place]), *arguments[place + 1 :], **named)

    return call


nas.search = shortened(nas.search, 0)  # type: ignore[assignment]
nas.shrink = shortened(nas.shrink, 1)  # type: ignore[assignment]
