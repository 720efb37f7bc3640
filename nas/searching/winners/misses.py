"""What is said where no candidate meets the limits, and where there is no time to retrain winners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate


def say_only_misses(state: RunState) -> None:
    """Say that the nearest misses become winners, because no candidate surely meets the limits."""
    limits = ", ".join(map(str, state.beliefs.cost_limits))
    state.progress.say(
        f"no trained candidate surely meets {limits} as measured; the nearest misses become winners instead."
    )


def shortened_text(
    groups: Mapping[Architecture, Sequence[Candidate]],
    tuned_on: Sequence[Architecture],
    left: Sequence[Architecture],
    folder: Path,
) -> str:
    """Return what becomes of the winners that there is no time to retrain. ``groups`` are the candidates of each."""
    parts = [
        f"{text}: {', '.join(groups[each][0].id for each in those)}"
        for those, text in ((tuned_on, "tuned on for one epoch"), (left, "left as the search trained them"))
        if those
    ]
    return (
        f"no time is left to retrain {len(tuned_on) + len(left)} of {len(groups)} winners. {'; '.join(parts)}. "
        f"To retrain them later: nas retrain {folder}"
    )
