"""How many pictures a parent gets wrong that knows their classes: many, if they are not prepared as in its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from nas.errors import CandidateError, DataError, RecipeError, raised_text
from nas.hardware.machine import usable_cores
from nas.progress import Progress
from nas.recipe.toml_text import toml_literal
from nas.space.own_code import EscapedError, own_code
from nas.space.parts.own_inputs import wishes_of
from nas.space.parts.parents import GuessesPreparation, HasParent, parents_space
from nas.space.search_space import SearchSpace
from nas.space.torch_settings import torch_with
from nas.tasks.batches import Part, items_at
from nas.tasks.task import Task
from nas.training.modules import error_of

FIRST_PICTURES, MOST_PICTURES = 64, 256
FEW_ERRORS = 0.1
"""A parent that gets no more than this wrong is fed well enough."""
SURELY = 3.0
"""Shares of pictures differ surely by so many standard errors."""
USUAL_SCALINGS = (([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0.5] * 3, [0.5] * 3), ([0.0] * 3, [1.0] * 3))
"""Means and standard deviations by which people scale pictures: those of ImageNet, to ±1, and to 0 to 1."""


def check_preparation(space: SearchSpace, task: Task, progress: Progress) -> None:
    """Check that no usual preparation suits a parent surely better, if nobody gave the one that is used.

    The parent must have an output for each class of the pictures, and its weights from elsewhere. Some training
    pictures tell. One that knows nothing, in any preparation, is named in a warning.

    Raises:
        RecipeError: another preparation suits it better, or it cannot answer pictures together. The message says what
            to set.
    """
    parents = parents_space(space)
    if parents is None or not _is_guessed(parents) or task.criterion.kind != "classification":
        return
    found = wishes_of(space, parents.parent)
    others = [each for each in _scalings(task) if each != _scaling_in(found)]
    if not _can_prepare(task, others[-1]):
        return
    order = np.random.default_rng(0).permutation(len(task.train))
    for count, errors in ((FIRST_PICTURES, 1.0), (MOST_PICTURES, SURELY)):
        places = order[:count]
        used = _share_wrong(parents, task, found, places)
        if used <= FEW_ERRORS:
            return
        if count == FIRST_PICTURES:
            progress.say("trying how the parent sees some training pictures")
        shares = [_share_wrong(parents, task, {**_rest_of(found), **each}, places) for each in others]
        best, constant = int(np.argmin(shares)), 1 - _largest_class(task, places)
        is_better = used - shares[best] > errors * _standard_error(used, shares[best], count=len(places))
        knows = min(used, shares[best]) < constant - SURELY * _standard_error(constant, count=len(places))
        if knows and not is_better:
            return
    if knows:
        raise RecipeError(
            f"a parent must see pictures as in its own training, but it gets {used:.0%} of {len(places)} training "
            f"pictures wrong with {_in_words(_scaling_in(found))}, and {shares[best]:.0%} with "
            f"{_in_words(others[best])}. Set space.preparation={toml_literal(others[best])}, or give the right one."
        )
    progress.say(
        f"warning: the parent is no better than always giving the same class: it gets {used:.0%} of {len(places)} "
        "training pictures wrong. If it was trained, it may have the classes in another order than the data, or see "
        "pictures otherwise prepared than in its training: set space.preparation."
    )


def _is_guessed(space: HasParent) -> bool:
    return space.preparation_is_guessed if isinstance(space, GuessesPreparation) else False


def _can_prepare(task: Task, wishes: Mapping[str, Any]) -> bool:
    """Return False for a task of a user's own that scales pictures in one way only."""
    try:
        task.check_wishes(wishes)
    except DataError:
        return False
    return True


def _share_wrong(parents: HasParent, task: Task, wishes: Mapping[str, Any], places: Any) -> float:
    """Return the share of some training pictures that the parent gets wrong; all, if an output is not finite.

    Raises:
        RecipeError: it cannot answer several pictures together.
    """
    view = task.prepared_for(wishes)
    try:
        with torch_with(usable_cores(), 0), own_code():
            return error_of(parents.parent_module().eval(), Part(view.train, places), view, torch.device("cpu"))
    except CandidateError:
        return 1.0
    except (RuntimeError, ValueError, TypeError, EscapedError) as error:
        raise RecipeError(
            f"a parent must answer several pictures together, but it raised {raised_text(error)}. Let its forward take "
            "any number of them."
        ) from error


def _scalings(task: Task) -> list[dict[str, Any]]:
    """Return the scaling of the data, and the usual ones for as many channels as the pictures have."""
    channels = task.signature.inputs[0].shape[0]
    return [
        {},
        *({"mean": _for_channels(mean, channels), "std": _for_channels(std, channels)} for mean, std in USUAL_SCALINGS),
    ]


def _for_channels(values: list[float], channels: int) -> list[float]:
    return values if channels == len(values) else [sum(values) / len(values)] * channels


def _scaling_in(wishes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(wishes[name]) for name in ("mean", "std") if name in wishes}


def _rest_of(wishes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wishes.items() if name not in ("mean", "std")}


def _in_words(scaling: Mapping[str, Any]) -> str:
    if not scaling:
        return "the mean and the standard deviation of the data"
    return " and ".join(f"{name}={toml_literal(value)}" for name, value in scaling.items())


def _standard_error(*shares: float, count: int) -> float:
    """Return the standard error of a share of so many pictures, or of the difference of two."""
    return math.sqrt(sum(share * (1 - share) for share in shares) / count)


def _largest_class(task: Task, places: Any) -> float:
    """Return the share of the commonest class among the items at some places of the training split."""
    targets = items_at(task.train, places).targets
    return float(torch.bincount(targets.long()).max() / len(targets))
