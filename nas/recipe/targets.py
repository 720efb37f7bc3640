"""Several targets in one recipe: the first one, and further ones whose metrics have their name before them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from nas.errors import RecipeError
from nas.values.objective import Limit, Objective
from nas.values.target import Target, name_among, named_targets

Asked = TypeVar("Asked", Objective, Limit)


def with_further_targets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's keys with a list of targets taken apart: the first one, and the further ones.

    Raises:
        ValueError: the list is empty.
    """
    targets = values.get("target")
    if not isinstance(targets, list | tuple):
        return dict(values)
    if not targets:
        raise ValueError("target is one target, or a list of some, but got an empty list.")
    first, *further = targets
    return {**values, "target": first, "further_targets": further}


def of_named_target(asked: Asked, keys: Mapping[str, Any]) -> Asked:
    """Return an objective or a limit with the name of that target among a recipe's ``keys`` which it means.

    Raises:
        RecipeError: it means none, or is a test error on a target, which is known of winners alone.
    """
    metric = asked.metric
    if not metric.on or not {"target", "further_targets"} <= keys.keys():  # wrong targets are told already
        return asked
    name = name_among(metric.on, named_targets([Target.parse(each) for each in _all(keys)]))
    if name and metric.source != "measured":
        raise RecipeError(
            f"a search minimises and limits what is measured on a further target, but {metric.name} is known of "
            f"winners alone: write {metric.bare} alone."
        )
    return asked.on_target(name)


def _all(keys: Mapping[str, Any]) -> Iterable[str]:
    return (keys["target"], *keys["further_targets"])


def check_targets(targets: Iterable[Target], precisions: Sequence[str], evaluate: str) -> None:
    """Check that targets, and precisions to choose from, suit each other and how candidates are evaluated.

    Raises:
        ValueError: they do not.
    """
    targets = list(targets)
    if precisions and evaluate not in ("train", "supernet", "auto"):
        raise ValueError(
            f'precisions need evaluate = "train" or "supernet", but got "{evaluate}" with {", ".join(precisions)}. '
            "Leave precisions out, and give the target one."
        )
    of_one = [str(target) for target in targets if target.precision != "fp32"]
    if precisions and of_one:
        raise ValueError(
            f"a recipe has precisions to choose from or a target with one, but got both: "
            f"{', '.join(precisions)} and {of_one[0]}. Leave one of them out."
        )
    if len(targets) > 1 and evaluate == "table":
        raise ValueError(
            'further targets are measured, but evaluate = "table" looks values up: leave them out, and name a device '
            "of the table with table.device."
        )
