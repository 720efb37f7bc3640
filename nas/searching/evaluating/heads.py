"""Heads in the place of tuning: where items are few, steps spoil more of what a parent knows than they teach.

A head is fitted by regression to the features of the part of a parent that a candidate is, in one pass over the items.
On hundreds of photos that gives lower errors than two epochs of tuning, in less time; on many items tuning may be
better. So a few candidates are evaluated in both ways, and the better one goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from nas.jobs.execution import Executor
from nas.recipe.ways import HEADS
from nas.searching.evaluating.handful import Handful, Quick
from nas.searching.evaluating.of_models import Checked, reported
from nas.searching.evaluating.ways import WORDS, may_fit_heads, separate, take_checks
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate
from nas.space.parts.parents import first_of
from nas.storage.journal_rows import WayChosen
from nas.training.training import CandidateTraining
from nas.values.evaluation import FITTED

FORMS, FEWEST_FORMS = 4, 2
"""The candidates that are evaluated in both ways, and the fewest that tell anything."""
SHARE = 5
"""One of so many trainings that there is time for may be for them. Where tuning is better, none of them is lost."""


def goes_on_by_heads(state: RunState, tuning: Handful, executor: Executor) -> bool:
    """Turn to fitted heads, and return True, if a few candidates have lower errors with them than after their tuning.

    That is looked at once in a run that chose to train, before its first candidate. The journal keeps what came out.
    Otherwise those that were tuned are the first candidates.
    """
    ways = state.journal.rows(WayChosen)
    is_first = [way.evaluate for way in ways] == ["train"] and not state.beliefs.trials and not state.recorded
    if not is_first or not may_fit_heads(state, state.recipe):
        return False
    trainings = _trainings(state)
    count = min(FORMS, trainings // SHARE)
    if count < FEWEST_FORMS and trainings < state.recipe.trials:
        _go_on(state, f"the time that is left allows no more than {separate(trainings)}")
        return True
    if count < FEWEST_FORMS:
        return False
    trained = tuning.errors(executor, count, _first(state))
    fitted = _with_heads(state, tuning, list(trained), executor)
    both = [architecture for architecture in trained if architecture in fitted]
    if len(both) < FEWEST_FORMS:
        take_checks(state)
        state.go_on_by("train", f"only {len(both)} of {count} could be compared with fitted heads")
        return False
    heads, tuned = (float(np.mean([found[each] for each in both])) for found in (fitted, trained))
    quality = state.beliefs.quality
    told = (
        f"{quality.title.lower()} {quality.format(heads)} with a fitted head and {quality.format(tuned)} after tuning"
    )
    reason = f"{len(both)} of them have a mean {told}"
    if heads < tuned:
        _go_on(state, reason)
        return True
    take_checks(state)
    state.go_on_by("train", reason)
    state.progress.say(f"{WORDS['train']}, because {reason}")
    return False


def _go_on(state: RunState, reason: str) -> None:
    state.go_on_by("heads", reason)
    state.progress.say(f"{WORDS['heads']}, because {reason}")


def _trainings(state: RunState) -> int:
    """Return how many candidates may be tuned: as many as the recipe says, or as there is time for."""
    schedule, most = state.schedule, state.recipe.trials
    if not schedule.is_timed or state.durations.training_s(1) is None:
        return most
    return schedule.fitting(most, max(0.0, schedule.left_s - schedule.reserve_s))


def _first(state: RunState) -> list[Candidate]:
    """Return what the space wants to see first within the limits, without the parent, which is as it is."""
    beliefs = state.beliefs
    wanted = [beliefs.candidate(each) for each in first_of(beliefs.space)[1:]]
    return [each for each in wanted if each not in beliefs.unfit and beliefs.may_meet(each)]


def _with_heads(
    state: RunState, tuning: Handful, architectures: list[Architecture], executor: Executor
) -> dict[Architecture, float]:
    """Return the error of each with a fitted head; those that cannot be fitted are left out."""
    work = cast(CandidateTraining, tuning.training)
    heads = replace(work, settings=replace(work.settings, keep_weights=False, **HEADS))
    state.progress.stage("fitting heads of the same ones", len(architectures))
    quick = Quick(architectures, tuning.seed_of, state.progress.advance)
    executor.run(Checked(heads, reported(state.recipe)), quick, time_limit_s=work.settings.time_limit_s)
    state.progress.close()
    state.note_cost()
    name = state.beliefs.quality.name
    return {each: float(report[name]) for each, report in quick.reports.items() if report.get(FITTED)}
