"""The errors of simple models on items that were left out: by folds over all items that a search may look at.

A few validation items rank candidates by luck: with 96 of them, the error of one differs by four points from its true
one. A simple model is fitted again in a moment, so all items can judge it, as its user would do by hand. Then it can be
fitted to all of them at once, too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from nas.space.parts.own_fit import FitsItself, fit_to
from nas.tasks.batches import Examples, IntArray, groups_of, in_order, items_at
from nas.tasks.folds import folds_of, most_folds, numbered_groups, parts_of
from nas.tasks.scores import Tally, add_finite, grouped_scores
from nas.tasks.task import Task
from nas.training.fitted_heads import FittedHead, features_of
from nas.training.modules import EVALUATED_TOGETHER, moved
from nas.training.optimizing import head_layer_of
from nas.training.regressions import Linear, regression
from nas.values.comparison import Z95
from nas.values.evaluation import VALIDATED

FOLDS = 5
LOG_LOSS = "log_loss"
MOST_ITEMS = 5000
"""With more items, the validation items among them judge well enough."""
MOST_WORK = 10**10
"""More items squared, times more features, take too long to decompose again for each fold: ten seconds or more."""
Check = Callable[[], None]


def can_leave_out(task: Task, folds: int = FOLDS) -> bool:
    """Return True if a task's items are so few that folds judge better, and can be divided into so many."""
    items = len(task.train) + len(task.validation)
    return items <= MOST_ITEMS and not task.why_one_fold and most_folds(task) >= folds


@final
@dataclass(frozen=True)
class Judged:
    """What folds find of a simple model, and the model ``of_all`` items that it may become.

    ``by_folds`` has its ``error`` on items that are left out, the ``standard_error`` of that, and its ``log_loss``
    there if it gives probabilities. ``metrics`` are all of the task's on these items. ``of_all`` has the tensors of its
    state that differ, by name.
    """

    by_folds: Mapping[str, float]
    metrics: Mapping[str, float]
    of_all: Mapping[str, torch.Tensor]


def judged_head(
    head: FittedHead, module: torch.nn.Module, task: Task, device: torch.device, seed: int, check_time: Check
) -> Judged | None:
    """Judge a module's fitted head by fits of the same strength.

    Returns None if the head was not fitted to all training items, or if its features take long to decompose.
    ``check_time`` is called between fits, and may raise.
    """
    items, width = len(task.train) + len(task.validation), head.features.shape[1]
    if len(head.targets) != len(task.train) or (items < width and items**2 * width > MOST_WORK):
        return None
    others = features_of(module, task.validation, task, device, check_time)
    if others is None:
        return None
    features, targets = torch.cat([head.features, others[0]]), torch.cat([head.targets, others[1]])

    strengths, groups = head.linear.strengths, numbered_groups(task)

    def fitted(places: IntArray) -> Linear:
        with threadpool_limits(1):  # as for the head itself
            known = None if groups is None else groups[places]
            return regression(features[places], targets[places], task.criterion, seed, check_time, strengths, known)

    tally, every, parts = task.criterion.tally(), np.arange(len(features)), parts_of(task, FOLDS)
    for left in parts:
        outputs = fitted(np.setdiff1d(every, left))(features[left].double().numpy())
        add_finite(tally, torch.from_numpy(outputs).float(), targets[left])
    whole, layer = fitted(every), head_layer_of(module)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found = {"weight": whole.weight, "bias": whole.bias}
    of_all = {
        names[id(getattr(layer, key))]: torch.from_numpy(np.ascontiguousarray(each)) for key, each in found.items()
    }
    return Judged(*_scores(tally, task, parts), {name: each.float() for name, each in of_all.items()})


def copied(module: FitsItself) -> Callable[[], FitsItself]:
    """Return a function that returns copies of a module that was not fitted yet; it raises if there can be none."""
    try:
        fresh = copy.deepcopy(module)
    except Exception as error:  # such as a lock that a module holds: it can be trained, but not judged
        raised = error

        def fails() -> FitsItself:
            raise raised

        return fails
    return lambda: copy.deepcopy(fresh)


def judged_own_fit(
    fresh: Callable[[], FitsItself], task: Task, device: torch.device, seed: int, check_time: Check, folds: int = FOLDS
) -> Judged:
    """Judge a module that fits itself by so many folds. ``fresh`` returns one that was not fitted yet."""

    def fitted(examples: Examples) -> torch.nn.Module:
        again = fresh()
        items = items_at(examples, slice(0, len(examples)))
        fit_to(again, task.inputs_of(moved(items.raw, device)), items.targets, seed, groups_of(examples))
        check_time()
        assert isinstance(again, torch.nn.Module), "what a space builds is a module"
        return again.eval()

    tally, parts = task.criterion.tally(), parts_of(task, folds)
    for fold in folds_of(task, folds):
        again = fitted(fold.train)
        with torch.inference_mode():
            for batch in in_order(fold.validation, task.signature.together(EVALUATED_TOGETHER)):
                add_finite(tally, again(*task.inputs_of(moved(batch.raw, device))).cpu(), batch.targets)
    return Judged(*_scores(tally, task, parts), fitted(task.to_fit(1.0, True)).state_dict())


def _scores(tally: Tally, task: Task, parts: Sequence[IntArray]) -> tuple[dict[str, float], dict[str, float]]:
    """Return what is kept of the judgement, and all metrics that are finite. Items of a group belong together."""
    groups, items = numbered_groups(task), len(task.train) + len(task.validation)
    scores = grouped_scores(tally, None if groups is None else groups[np.concatenate(parts)])
    error = scores["error"]
    values = {name: score.value for name, score in scores.items() if math.isfinite(score.value)}
    loss = {LOG_LOSS: values[LOG_LOSS]} if LOG_LOSS in values else {}
    deviation = (error.high - error.low) / (2 * Z95)
    fewer = {VALIDATED: deviation * math.sqrt(items / len(task.validation))}
    return {"error": error.value, "standard_error": deviation, **fewer, **loss}, values
