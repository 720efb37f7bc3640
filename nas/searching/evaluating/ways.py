"""Choosing how parts of a parent get their errors, where that is left open: alone, by one tuning, or by heads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas.progress import duration_text
from nas.recipe.recipe import Recipe
from nas.recipe.ways import OPEN, Way, by_way, unshared
from nas.searching.evaluating.pacing import guess_epochs, usual_layers
from nas.searching.evaluating.parents import parent_epoch_seconds, supernet_epoch_seconds
from nas.searching.evaluating.siblings import rows_of_training
from nas.searching.state import RunState
from nas.space.parts.device_parts import innermost
from nas.space.parts.own_inputs import wishes_of
from nas.space.parts.parents import parents_space
from nas.space.search_space import HasSupernet, SearchSpace
from nas.storage.journal_rows import Agreement, WayChosen
from nas.training.deployed_errors import BY_PRECISION
from nas.training.fitted_heads import can_fit_head
from nas.training.modules import device_named
from nas.values.evaluation import Evaluation

WORDS = {
    "train": "each candidate is tuned alone",
    "supernet": "candidates share the weights of one tuning",
    "heads": "each candidate gets a head that is fitted to its features, and nothing is tuned",
}
FEWEST_ALONE = 10
"""Fewer separate trainings find little. More find better forms than one tuning that all share does in the same time.

That tuning, the scoring of hundreds and few winners took all of 20 minutes with 3,000 photos, where 26 forms could be
tuned alone: 81 % of the hypervolume instead of 91 %. Fitting a head takes less time than any training.
"""
FEWEST_SHARED = 3
"""Shared weights that were tuned for fewer epochs fit no form but the whole parent."""


def choose_way(state: RunState, folder: Path) -> None:
    """Choose how candidates are evaluated if the recipe leaves that open, note it in the journal, and say why."""
    if state.recipe.evaluate != OPEN or not state.recipe.trials:
        return
    state.durations.pace.layers = usual_layers(state)
    alone = _why_alone(state.recipe, state.resolved.space)
    found: tuple[Way, str] = ("train", alone) if alone else _by_time(state, state.recipe, folder)
    way, reason = found
    state.go_on_by(way, reason)
    state.progress.say(f"{WORDS[way]}, because {reason}")


def _why_alone(recipe: Recipe, space: SearchSpace) -> str:
    """Return why candidates are tuned alone, whatever time there is; empty if both ways are open."""
    if not isinstance(innermost(space), HasSupernet):
        return "this space has no weights that candidates share"
    if own := [choice.name for choice in space.choices if choice.is_of_training]:
        return f"candidates differ in how they are tuned: {', '.join(own)}"
    if recipe.training.search:
        return f"candidates differ in how they are tuned: {', '.join(recipe.training.search)}"
    if recipe.search_time_s is None:
        return "no time limits the search"
    return ""


def _by_time(state: RunState, recipe: Recipe, folder: Path) -> tuple[Way, str]:
    """Return the way that suits the search time, by how long epochs take here, and the reason."""
    durations, schedule = state.durations, state.schedule
    state.check_bench()  # a new target is measured first, which is no part of the plan
    state.plan_by(by_way(recipe, "train"))
    guess_epochs(state)
    durations.parent_epoch_s = parent_epoch_seconds(state, folder)
    alone = schedule.candidates_in_time()
    if alone is None:
        return "train", f"nobody knows beforehand how long trainings take {_where_unknown(state)}"
    time = duration_text(recipe.search_time_s or 0.0)
    if alone >= recipe.trials:
        return "train", f"{time} are enough for all {alone} separate trainings"
    if alone >= FEWEST_ALONE:
        return "train", f"{time} are enough for {separate(alone)}"
    too_few = f"{time} allow {'no more than ' * (alone > 0)}{separate(alone)}"
    if may_fit_heads(state, recipe):
        return "heads", too_few
    if keys := unshared(recipe.training):
        ignored = ", ".join(f"training.{key}" for key in keys)
        return "train", f"{too_few}, and one tuning for all forms would leave out {ignored}"
    state.plan_by(by_way(recipe, "supernet"))
    durations.supernet_epoch_s = supernet_epoch_seconds(state)
    shared = schedule.supernet_epochs()
    epochs = f"{shared} epoch{'s' * (shared != 1)}"
    if shared < fewest_epochs(recipe):
        durations.supernet_epoch_s = 0.0
        return "train", f"{time} are too short for one tuning that all share, with {epochs}"
    return "supernet", f"{too_few}, but after one tuning of {epochs} hundreds are scored"


def separate(trainings: int) -> str:
    """Return a number of separate trainings in words."""
    return f"about {trainings} separate training{'s' * (trainings != 1)}" if trainings else "not one separate training"


def _where_unknown(state: RunState) -> str:
    """Return in words where trainings are that nobody can time beforehand."""
    if state.resolved.function is not None:
        return "that a function of yours does"
    if device_named(state.recipe.training.device).type != "cpu":
        return "on a GPU"
    return "where the network that was tried cannot be trained"


def may_fit_heads(state: RunState, recipe: Recipe) -> bool:
    """Return True if candidates are parts of a parent whose head can be fitted, and the recipe leaves training open."""
    found, training, retraining = state.resolved, recipe.training, recipe.retraining
    space = parents_space(found.space)
    if space is None or found.function is not None or not training.fit_head:
        return False
    blends = training.mixup or training.cutmix or training.augmentation_strength
    has_teacher = training.teacher is not None or retraining.teacher is not None
    if training.tune != "all" or training.search or blends or has_teacher or retraining.training:
        return False
    return can_fit_head(space.parent_module(), found.task.prepared_for(wishes_of(innermost(found.space), space.parent)))


def is_open(state: RunState) -> bool:
    """Return True for a run with shared weights that may turn to separate trainings."""
    return state.recipe.evaluate == "supernet" and bool(state.journal.rows(WayChosen))


def is_too_short(state: RunState, epochs: int) -> bool:
    """Return True if so few ``epochs`` of tuning shared weights let an open run turn to separate trainings."""
    return is_open(state) and epochs < fewest_epochs(state.recipe)


def fewest_epochs(recipe: Recipe) -> int:
    """Return the fewest epochs of tuning after which shared weights are of use; a recipe may ask for fewer."""
    return min(FEWEST_SHARED, recipe.supernet.epochs)


def goes_on_alone(state: RunState) -> bool:
    """Turn to separate trainings, and return True, if the check of shared weights went badly and the way is open."""
    checks = state.journal.rows(Agreement)
    found = checks[-1].spearman if checks else None
    if not is_open(state) or found is None or found >= state.recipe.supernet.least_correlation:
        return False
    take_checks(state)
    turn_to_training(state, "shared weights rank the forms of this parent otherwise than separate trainings do")
    return True


def turn_to_training(state: RunState, reason: str) -> None:
    """Tune each candidate alone from now on, and say why."""
    state.go_on_by("train", reason)
    state.durations.supernet_epoch_s = 0.0
    state.progress.say(f"each candidate is tuned alone from now on, because {reason.rstrip('.')}")


def take_checks(state: RunState) -> None:
    """Let what was trained alone as a check be the first candidates, in each precision to choose from.

    The check came before the first round, so no interrupted round proposes these again. Older runs checked in fp32
    alone, also where precision is a choice: there they are trained again.
    """
    known = state.beliefs.trainings
    trained = [row for row in state.beliefs.rows if row.stage == "check" and row.architecture not in known]
    for row in trained:
        if row.failed or BY_PRECISION in row.details or not state.recipe.precisions:
            state.add(*_as_trained(state, row))


def _as_trained(state: RunState, row: Evaluation) -> list[Evaluation]:
    """Return the rows of the training that a checked architecture had."""
    details = {key: value for key, value in row.details.items() if key != BY_PRECISION}
    plain = replace(row, stage="train", round=state.begins.round, details=details)
    return rows_of_training(state.beliefs, plain, row.details)
