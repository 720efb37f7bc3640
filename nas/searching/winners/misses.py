"""Saying that no candidate meets the limits."""

from __future__ import annotations

from nas.searching.selection import only_misses
from nas.searching.state import RunState


def says_only_misses(state: RunState) -> bool:
    """Say that the nearest misses become winners, if no candidate surely meets the limits. Return True if it is so."""
    if not only_misses(state.beliefs):
        return False
    limits = ", ".join(map(str, state.beliefs.cost_limits))
    state.progress.say(
        f"no trained candidate surely meets {limits} as measured; the nearest misses become winners instead."
    )
    return True
