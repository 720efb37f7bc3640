"""The recipe of a run in which the way of evaluating candidates was left open, once it is chosen."""

from __future__ import annotations

from typing import Literal, get_args

from nas.recipe.recipe import Recipe

OPEN = "auto"
"""The value of ``evaluate`` that leaves the way open."""
Way = Literal["train", "supernet"]
"""A way that may be chosen for parts of a parent: each is tuned alone, or all share the weights of one tuning."""
WAYS: tuple[Way, ...] = get_args(Way)


def by_way(recipe: Recipe, way: str) -> Recipe:
    """Return the recipe with the chosen way of evaluating; one that names its way itself is returned as it is.

    Winners of shared weights are tuned on from these, for half of the epochs.

    Raises:
        ValueError: the way is none of ``WAYS``.
    """
    if recipe.evaluate != OPEN:
        return recipe
    if way not in WAYS:
        raise ValueError(f"candidates must be evaluated by one of {', '.join(WAYS)}, but got {way!r}.")
    values = {**recipe.model_dump(exclude_none=True), "evaluate": way}
    retraining = values["retraining"]
    if way == "supernet":
        values["retraining"] = {**retraining, "start": "supernet", "epochs": -(-retraining["epochs"] // 2)}
    else:
        values["retraining"] = {**retraining, "start": "scratch"}
    return Recipe.from_mapping(values)
