"""Telling the plan of a run at its start, and leaving out rounds for which no time is left."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nas.errors import CandidateError
from nas.jobs.choosing import needs_no_workers
from nas.progress import duration_text
from nas.results.bundle import GIVEN
from nas.searching.durations import DRAWN, PART
from nas.searching.evaluating.pacing import drawn_at_first, guess_epochs, usual_layers
from nas.searching.evaluating.parents import parent_epoch_seconds, supernet_epoch_seconds
from nas.searching.state import RunState
from nas.searching.trained_weights import may_ship
from nas.searching.user_inputs.training_defaults import defaults_told
from nas.space.architecture import Option
from nas.space.first_look import LookHere
from nas.space.parts.own_fit import fits_itself
from nas.space.parts.parents import first_of, parents_space
from nas.space.tracing import build_checked


def tell_plan(state: RunState, folder: Path) -> None:
    """Say what is planned and how long it should take, and time a step of a training for that."""
    if not state.resolved.backend.takes_time or state.last_round - 1 in state.rounds_done:
        return
    state.check_bench()  # a new target is measured first, which is no part of the plan
    state.schedule.begin()
    state.durations.pace.layers = usual_layers(state)
    if state.recipe.evaluate == "train" and state.recipe.trials:
        state.durations.own_fits = _own_fits(state)
        ships = may_ship(state.recipe, has_function=state.resolved.function is not None)
        state.durations.may_tune_on = ships and parents_space(state.resolved.space) is None
        guess_epochs(state)
        state.durations.parent_epoch_s = state.durations.parent_epoch_s or parent_epoch_seconds(state, folder)
        if needs_no_workers(state.recipe, is_brief=is_brief(state)):
            state.durations.starting_s = 0.0
    if state.recipe.evaluate == "supernet" and parents_space(state.resolved.space) is not None:
        guess_epochs(state)
        durations = state.durations
        durations.parent_epoch_s = durations.parent_epoch_s or parent_epoch_seconds(state, folder)
        durations.supernet_epoch_s = durations.supernet_epoch_s or supernet_epoch_seconds(state)
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


def is_brief(state: RunState) -> bool:
    """Return True if all trainings together take seconds and run no code of the user's own, which may hang or crash."""
    resolved, section = state.resolved, state.recipe.data
    is_own = resolved.function is not None or section.name == GIVEN or ":" in section.task
    return isinstance(resolved.look, LookHere) and not is_own and state.durations.are_brief


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


def _own_fits(state: RunState) -> set[Option | None]:
    """Return the parts of the space whose modules fit themselves. One module of each is built to see that.

    Of a user's own space nothing is built here; it is known once a candidate has ended.
    """
    if not isinstance(state.beliefs.look, LookHere):
        return set()
    examples = {each.get(PART): each for each in (*first_of(state.beliefs.space), *drawn_at_first(state, DRAWN))}
    found = set()
    for part, example in examples.items():
        with contextlib.suppress(CandidateError):  # it becomes a failed row where it is proposed
            if fits_itself(build_checked(state.resolved.space, example, state.resolved.signature)):
                found.add(part)
    return found
