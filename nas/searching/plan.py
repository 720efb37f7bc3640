"""Telling the plan of a run at its start, and leaving out rounds for which no time is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas.errors import CandidateError
from nas.progress import duration_text
from nas.searching.evaluating.parents import parent_epoch_seconds
from nas.searching.state import RunState
from nas.searching.user_inputs.training_defaults import defaults_told
from nas.space.architecture import Architecture
from nas.space.search_space import sample
from nas.training.pace import epoch_seconds
from nas.training.settings import training_settings

PROBED = 5
"""Random architectures, of which the middle one by multiply-accumulates is trained for two steps."""


def tell_plan(state: RunState, folder: Path) -> None:
    """Say what is planned and how long it should take, and time a step of a training for that."""
    if not state.resolved.backend.takes_time or state.last_round - 1 in state.rounds_done:
        return
    state.check_bench()  # a new target is measured first, which is no part of the plan
    state.schedule.begin()
    if state.recipe.evaluate == "train" and state.recipe.trials:
        state.durations.guess = _epoch_guess(state)
        state.durations.parent_epoch_s = parent_epoch_seconds(state, folder)
    begun = max(state.rounds_done, default=-1) + 1
    several = state.recipe.early_stopping.enabled and not state.recipe.stopping.enabled
    stopping = ["no training is stopped early, because several objectives are trained"] if several else []
    defaults = defaults_told(state.recipe, state.resolved.task)
    for told in (*defaults, f"plan: {state.schedule.text(begun)}", *_shortage(state), *stopping):
        state.progress.say(told)


def _shortage(state: RunState) -> list[str]:
    """Return a sentence where not even one candidate can be trained and retrained in the search time."""
    schedule, recipe = state.schedule, state.recipe
    if not schedule.is_timed or state.beliefs.trainings or not recipe.trials or schedule.least_s <= schedule.left_s:
        return []
    return [
        f"the search time ({duration_text(recipe.search_time_s or 0)}) is too short for one candidate and its "
        f"retraining, so this run takes longer, about {duration_text(schedule.least_s)}; give it more time, or train "
        f"fewer epochs (training.epochs = {recipe.training.epochs}, retraining.epochs = {recipe.retraining.epochs}), "
        "items (training.subset), or a smaller input"
    ]


def tell_what_is_left(state: RunState, number: int) -> None:
    """Say what is left to do before a round, by what was seen so far."""
    is_trained = state.beliefs.untrained == 0 or state.beliefs.trials >= state.recipe.trials
    if state.resolved.backend.takes_time and number not in state.rounds_done and not is_trained:
        state.progress.say(f"left: {state.schedule.text(number)}")


def has_time_for_round(state: RunState, number: int) -> bool:
    """Return True if a round may begin: it has begun already, or there is time for it. Says so where there is none.

    The first round always begins, because a run without any training has no result.
    """
    rounds, schedule = state.recipe.rounds, state.schedule
    is_free = number == 1 or number in state.rounds_done or not state.resolved.backend.takes_time
    if is_free or schedule.has_time_for_round():
        return True
    which = f"round {number} does not begin" if number == rounds else f"rounds {number} to {rounds} do not begin"
    state.progress.say(
        f"{which}: {duration_text(max(0.0, schedule.left_s))} are left of the search time, and the winners need about "
        f"{duration_text(schedule.reserve_s)}"
    )
    return False


def _epoch_guess(state: RunState) -> float | None:
    """Return about how long an epoch of a candidate's training takes, or None where it cannot be known yet."""
    recipe, beliefs = state.recipe, state.beliefs
    if state.resolved.function is not None:
        return None
    settings = training_settings(recipe)
    rng = np.random.default_rng((recipe.seed, 4))
    drawn = {a.id: a for a in (sample(beliefs.space, rng) for _ in range(PROBED))}.values()

    def macs(architecture: Architecture) -> float:
        return beliefs.counted(architecture)["macs"]

    try:
        middle = sorted(drawn, key=macs)[len(drawn) // 2]
    except CandidateError:  # it becomes a failed row where it is proposed
        return None
    return epoch_seconds(beliefs.look, middle, state.resolved.task, settings)
