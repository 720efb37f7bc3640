"""The parent of a space's architectures: tuned on the data where it must be, and kept in the run's folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load

from nas.errors import CandidateError, RecipeError
from nas.hardware.machine import usable_cores
from nas.recipe.recipe import Recipe
from nas.recipe.ways import HEADS, by_way
from nas.searching.durations import FITTING_EPOCHS
from nas.searching.state import RunState
from nas.space.parts.device_parts import innermost
from nas.space.parts.own_inputs import wishes_of
from nas.space.parts.parents import HasParent, HasTunedParent, parents_space
from nas.space.torch_settings import torch_with
from nas.storage.journal import write_aside
from nas.storage.journal_rows import SupernetTrained
from nas.storage.run_files import PARENT_WEIGHTS
from nas.tasks.task import Task
from nas.training.fitted_heads import can_fit_head, from_fitted_head
from nas.training.inheriting import Inheritance, inheritance_of
from nas.training.pace import epoch_seconds
from nas.training.settings import TrainingSettings, training_seed, training_settings
from nas.training.trainer import Trainer

if TYPE_CHECKING:
    import torch

PARENTS_A_STEP = 2.0
"""How many times longer a step of shared weights takes than one of the parent: the others on it are smaller."""

MAY_HAVE_LEARNED = (
    "if the earlier run that left the parent trained it on items that test now, all test errors look better than they "
    "are; bring splits, as in a folder named test, so that both runs test on the same items"
)


def prepare_parent(state: RunState, folder: Path) -> None:
    """Tune the parent if it must be, and let candidates inherit from it. A space without a parent is left alone.

    The file in the run's ``folder`` holds the tuned weights and how much each channel matters, so that all processes,
    and a resumed run, have the same.

    Raises:
        RecipeError: the parent cannot be trained on the data.
    """
    space = parents_space(state.resolved.space)
    if space is None:
        return
    path = folder / PARENT_WEIGHTS
    content = _kept(path)
    if content is None:
        content = _made(state, space)
        write_aside(path, content)
        state.note_cost()
    untuned, note = why_untuned(space, _prepared(state, space))
    state.tuned_parent = bool(untuned or note)
    state.durations.parent_epoch_s = 0.0
    state.inheritance = Inheritance(state.resolved.space, content)


def _kept(path: Path) -> bytes | None:
    """Return the file of an interrupted run, if it is whole."""
    try:
        content = path.read_bytes()
        load(content)
    except (OSError, SafetensorError):
        return None
    return content


def _made(state: RunState, space: HasParent) -> bytes:
    recipe = state.recipe
    wishes = wishes_of(innermost(state.resolved.space), space.parent)
    task = _prepared(state, space)
    parent = space.parent_module()
    epochs = state.schedule.parent_epochs()
    settings = parent_settings(state.open_recipe, epochs)
    with torch_with(settings.threads, training_seed(recipe, space.parent)):
        untuned, note = why_untuned(space, task)
        if note:
            state.progress.say(note)
        if untuned:
            state.progress.say(f"the parent is tuned on the data first, because {', and '.join(untuned)}")
            state.progress.stage("tuning the parent", epochs)
            began_s = state.spent_s
            try:
                _tune(state, parent, task, settings, training_seed(recipe, space.parent))
            except CandidateError as error:
                raise RecipeError(f"the parent must be tuned on the data, but that failed: {error.reason}") from error
            finally:
                state.progress.close()
            _learn_pace(state, epochs, state.spent_s - began_s)
        return inheritance_of(space, parent.cpu(), task, wishes)


def _tune(state: RunState, parent: torch.nn.Module, task: Task, settings: TrainingSettings, seed: int) -> None:
    """Tune a parent, unless that makes it worse than with a fitted head: then it keeps its features, and that head.

    An EfficientNet-Lite0 on 388 photos has a validation error of 25.5 % with a fitted head, and of 31.6 % after six
    epochs; their test errors are 31.1 and 32.8 %.

    Raises:
        CandidateError: it cannot be trained.
    """
    quality, say = state.beliefs.quality, state.progress.say

    def told(report: Mapping[str, float]) -> str:
        return quality.format(report[quality.name]) if quality.name in report else "unknown"

    fitted: dict[str, float] = {}
    before: dict[str, torch.Tensor] = {}
    settings = from_fitted_head(settings, parent, task)
    if settings.fit_head and can_fit_head(parent, task):
        (fitted,) = Trainer(replace(settings, **HEADS)).train(parent, task, seed)
        before = {name: tensor.detach().clone() for name, tensor in parent.state_dict().items()}
        settings = replace(settings, fit_head=False, keep_statistics=True)
    for report in Trainer(settings).train(parent, task, seed):
        state.progress.advance(best=f"{quality.title.lower()} {told(report)}")
    # A metric that is not finite, such as that of a class without items, is in no report.
    name = quality.name if quality.name in fitted and quality.name in report else "error"
    if fitted and fitted[name] <= report[name]:
        parent.load_state_dict(before)
        say(
            f"the parent keeps its features, with a fitted head alone: {quality.title.lower()} "
            f"{told(fitted)} instead of {told(report)} after tuning"
        )


def _learn_pace(state: RunState, epochs: int, seconds: float) -> None:
    """Correct the guesses of how long epochs take, by how much longer those of the parent took than was guessed."""
    durations = state.durations
    guessed_s = (epochs + FITTING_EPOCHS) * durations.parent_epoch_s
    if not guessed_s:
        return
    durations.supernet_epoch_s *= seconds / guessed_s
    if durations.guess is not None:
        durations.guess *= seconds / guessed_s


def why_untuned(space: HasParent, task: Task) -> tuple[tuple[str, ...], str]:
    """Return why the parent must be tuned on a task, prepared as it wishes, and what to tell of an earlier tuning."""
    tuned_on = space.tuned_on if isinstance(space, HasTunedParent) else ""
    note = MAY_HAVE_LEARNED if tuned_on and tuned_on != task.fingerprint else ""
    if not tuned_on or space.untuned:
        return space.untuned, note
    if not note:
        return (), "an earlier run had the parent on these data and splits, so it is taken as it is"
    return ("an earlier run had it on other data, in another size, or in other splits",), note


def parent_settings(recipe: Recipe, epochs: int) -> TrainingSettings:
    """Return how a parent is tuned: as winners that are tuned, by all cores, and however long that takes.

    Where candidates get heads alone, it is tuned all the same. So ``recipe`` is the one that left the way open, if any.
    """
    recipe = by_way(recipe, "train")
    settings = training_settings(recipe, epochs, recipe.training.subset, math.inf)
    return replace(settings, threads=max(usable_cores(), settings.threads))


def parent_epoch_seconds(state: RunState, folder: Path) -> float:
    """Return about how long an epoch of tuning the parent takes; 0 if it need not be tuned, or if nobody knows."""
    space = parents_space(state.resolved.space)
    if space is None or _kept(folder / PARENT_WEIGHTS) is not None:
        return 0.0
    task = _prepared(state, space)
    untuned, _ = why_untuned(space, task)
    if not untuned:
        return 0.0
    parent = state.beliefs.candidate(space.parent)
    return epoch_seconds(state.beliefs.look, parent, task, parent_settings(state.open_recipe, 1)) or 0.0


def supernet_settings(recipe: Recipe, epochs: int) -> TrainingSettings:
    """Return how weights are tuned that the parts of a parent share: as candidates are, by all cores."""
    settings = training_settings(recipe, epochs, recipe.training.subset, recipe.supernet.time_limit_s)
    return replace(settings, threads=max(usable_cores(), settings.threads))


def supernet_epoch_seconds(state: RunState) -> float:
    """Return about how long an epoch takes that tunes shared weights; 0 if they are tuned, or if nobody knows."""
    space = parents_space(state.resolved.space)
    if space is None or state.journal.rows(SupernetTrained):
        return 0.0
    parent, settings = state.beliefs.candidate(space.parent), supernet_settings(state.recipe, 1)
    alone_s = epoch_seconds(state.beliefs.look, parent, _prepared(state, space), settings) or 0.0
    return alone_s * PARENTS_A_STEP


def _prepared(state: RunState, space: HasParent) -> Task:
    """Return the task, prepared as the parent wishes it."""
    return state.resolved.task.prepared_for(wishes_of(innermost(state.resolved.space), space.parent))
