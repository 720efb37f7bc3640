"""What is said where no candidate meets the limits, and where there is no time to retrain winners."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from nas.progress import duration_text
from nas.searching.selection import choose_winners
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate
from nas.tasks.batches import in_order

TOGETHER = 512


def say_only_misses(state: RunState) -> None:
    """Say that the nearest misses become winners, because no candidate surely meets the limits."""
    limits = ", ".join(map(str, state.beliefs.cost_limits))
    state.progress.say(
        f"no trained candidate surely meets {limits} as measured; the nearest misses become winners instead."
    )


def say_how_many(state: RunState, fitting: int) -> None:
    """Say that there is no time for as many winners as were asked for, if that is so."""
    possible = len(choose_winners(state.beliefs, state.recipe.retraining.winners))
    if fitting < possible:
        left = duration_text(max(0.0, state.schedule.left_s))
        state.progress.say(f"the search time that is left, {left}, is enough for {fitting} of {possible} winners")


def say_only_chance(state: RunState) -> None:
    """Say that no candidate within the limits is surely better than a constant answer, if that is so."""
    beliefs, task = state.beliefs, state.resolved.task
    within = [row for row in beliefs.candidates if beliefs.cost_limits and beliefs.probably_meets(row.architecture)]
    if not within:
        return
    tally = task.criterion.tally()
    for batch in in_order(task.validation, task.signature.together(TOGETHER)):
        tally.add(torch.zeros((len(batch.targets), *task.signature.output)), batch.targets)
    chance, best = tally.chance_error, min(within, key=lambda row: row.values["error"])
    doubt = math.sqrt(max(0.0, chance * (1 - chance)) / len(task.validation))
    if best.values["error"] < chance - doubt:
        return
    words, limits = state.resolved.backend.words, ", ".join(map(str, beliefs.cost_limits))
    state.progress.say(
        f"no candidate that meets {limits} has learned much: the best of {len(within)} has the {words.title} "
        f"{words.text(best.values['error'])} on validation items, and {words.constant} has {words.text(chance)}. Raise "
        "a limit, or give the search more time."
    )


def shortened_text(
    groups: Mapping[Architecture, Sequence[Candidate]],
    tuned_on: Sequence[Architecture],
    left: Sequence[Architecture],
    retrain: str,
) -> str:
    """Return what becomes of the winners that there is no time to retrain. ``groups`` are the candidates of each.

    ``retrain`` is the command that retrains them later.
    """
    parts = [
        f"{text}: {', '.join(groups[each][0].id for each in those)}"
        for those, text in ((tuned_on, "tuned on for one epoch"), (left, "left as the search trained them"))
        if those
    ]
    return (
        f"no time is left to retrain {len(tuned_on) + len(left)} of {len(groups)} winners. {'; '.join(parts)}. "
        f"To retrain them later: {retrain}"
    )
