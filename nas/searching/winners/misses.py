"""Saying that no candidate meets the limits."""

from __future__ import annotations

from nas.searching.state import RunState


def say_only_misses(state: RunState) -> None:
    """Say that the nearest misses become winners, because no candidate surely meets the limits."""
    limits = ", ".join(map(str, state.beliefs.cost_limits))
    state.progress.say(
        f"no trained candidate surely meets {limits} as measured; the nearest misses become winners instead."
    )
