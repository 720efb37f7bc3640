"""Makes the searches in the program of a page short: what the page gives stays, defaults do less.

A whole search with all defaults takes minutes, half of them for Ray and for measuring winners precisely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nas

SHORT = {
    "execution": {"executor": "inline"},
    "measuring": {"initial": 5, "per_round": 2, "rounds": 2, "max_rounds": 2, "seconds_per_round": 0.02},
    "training": {"epochs": 2, "subset": 0.25},
    "retraining": {"epochs": 1, "winners": 2},
}
LEARNING = {**SHORT, "training": {"epochs": 3}, "retraining": {"epochs": 3, "winners": 2}}
"""Trains small networks until most of their answers are right."""


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of both recipes, section by section; those that are given win."""
    return {**given, **{section: {**keys, **given.get(section, {})} for section, keys in defaults.items()}}


def shortened(search: Callable[..., Any], place: int, short: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function with a short recipe as its positional argument at this place."""

    def call(*arguments: Any, **named: Any) -> Any:
        return search(*arguments[:place], merged(short, arguments[place]), *arguments[place + 1 :], **named)

    return call


def shorten(*, learning: bool) -> None:
    """Make all searches that follow short. With ``learning``, they train enough for an accuracy that can be checked."""
    short = LEARNING if learning else SHORT
    nas.search = shortened(nas.search, 0, short)  # type: ignore[assignment]
    nas.shrink = shortened(nas.shrink, 1, short)  # type: ignore[assignment]
