"""The recipe of a run in which the way of evaluating candidates was left open, once it is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from nas.recipe.recipe import Recipe
from nas.recipe.training_sections import TrainingRecipe

OPEN = "auto"
"""The value of ``evaluate`` that leaves the way open."""
Way = Literal["train", "supernet", "heads"]
"""A way that may be chosen for parts of a parent: each is tuned alone, all share the weights of one tuning, or each
gets a head that is fitted to what it makes of the items."""
WAYS: tuple[Way, ...] = get_args(Way)
HEADS: Mapping[str, Any] = {"tune": "head", "augment": False, "augmentation_strength": 0.0, "mixup": 0.0, "cutmix": 0.0}
"""Keys of ``[training]`` with which a head is fitted in one pass over the items as they are."""
TUNED_EPOCHS = 6
"""The usual epochs of a parent, and of winners that begin from it."""
UNSHARED = (
    *("optimizer", "mixup", "cutmix", "augmentation_strength", "ema", "precision"),
    *("tune", "layer_decay", "head_epochs", "teacher", "folds"),
)
"""Keys of ``[training]`` of which tuning shared weights takes no account."""


def by_way(recipe: Recipe, way: str) -> Recipe:
    """Return the recipe with the chosen way of evaluating; one that names its way itself is returned as it is.

    Winners of shared weights are tuned on from these, for half of the epochs. Fitted heads are a way of training.

    Raises:
        ValueError: the way is none of ``WAYS``.
    """
    if recipe.evaluate != OPEN:
        return recipe
    if way not in WAYS:
        raise ValueError(f"candidates must be evaluated by one of {', '.join(WAYS)}, but got {way!r}.")
    values = {**recipe.model_dump(exclude_none=True), "evaluate": "train" if way == "heads" else way}
    if way == "heads":
        values["training"] = {**values["training"], **HEADS}
    retraining = values["retraining"]
    if way == "supernet":
        values["retraining"] = {**retraining, "start": "supernet", "epochs": -(-retraining["epochs"] // 2)}
    else:
        values["retraining"] = {**retraining, "start": "scratch"}
    return Recipe.from_mapping(values)


def unshared(training: TrainingRecipe) -> list[str]:
    """Return the keys of ``[training]`` that a recipe sets and that tuning shared weights takes no account of.

    Winners are trained with them all the same, but for folds.
    """
    usual = TrainingRecipe()
    return [key for key in UNSHARED if getattr(training, key) != getattr(usual, key)]


def parent_epochs(recipe: Recipe) -> int:
    """Return the epochs for which a parent is tuned before its parts: those of a winner.

    Winners that go on from shared weights need half as many, but nothing was tuned before the parent. So it is tuned
    for twice their epochs then, up to the usual number.
    """
    epochs = recipe.retraining.epochs
    return min(2 * epochs, max(epochs, TUNED_EPOCHS)) if recipe.retraining.start == "supernet" else epochs
