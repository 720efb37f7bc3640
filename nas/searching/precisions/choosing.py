"""Adding the choice of a precision to a space, and the choice that is made where a recipe leaves it open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nas.errors import RecipeError
from nas.hardware.devices.device import Device, why_not_measured
from nas.hardware.devices.local_device import LocalDevice
from nas.recipe.recipe import Recipe
from nas.searching.user_inputs.training_choices import LookWithout
from nas.space.first_look import FirstLook
from nas.space.parts.candidate import PLAIN, PRECISION
from nas.space.parts.device_parts import AdaptedSpace, with_precisions
from nas.space.search_space import SearchSpace
from nas.values.objective import measured_metrics
from nas.values.target import PRECISIONS, Target

USUAL = (PLAIN, "int8")
"""The precisions of a recipe that leaves them open."""


def with_precision_choice(recipe: Recipe, space: SearchSpace, look: FirstLook) -> tuple[SearchSpace, FirstLook]:
    """Return a space with the choice of the recipe's precisions, and what looks at its architectures.

    Raises:
        RecipeError: the space has a choice of that name already.
    """
    if recipe.precisions and any(choice.name == PRECISION for choice in space.choices):
        raise RecipeError(
            f"precisions adds the choice {PRECISION!r}, but the space {recipe.space.name}, or training.search, has one "
            "of that name already. Leave one of them out."
        )
    made = with_precisions(space, recipe.precisions)
    return made, LookWithout(look, made) if isinstance(made, AdaptedSpace) and made is not space else look


def with_usual_precisions(values: Mapping[str, Any], device_of: Callable[[Target], Device]) -> Recipe:
    """Return the recipe of some keys, with the choice between fp32 and int8 if they leave precisions open.

    They do not where a target's text names one. There is no choice where it would be refused or of no use: each target
    must run int8, and so must this machine, which tests it. What the machines of a cluster run is not known.

    Raises:
        RecipeError: as ``Recipe.from_mapping``, or a target names no device that was added.
    """
    recipe = Recipe.from_mapping(values)
    is_open = "precisions" not in values and not any(map(_names_precision, _targets_in(values)))
    return Recipe.from_mapping({**values, "precisions": USUAL}) if is_open and _suit(recipe, device_of) else recipe


def _targets_in(values: Mapping[str, Any]) -> list[str]:
    first = values.get("target", ())
    return [*([first] if isinstance(first, str) else first), *values.get("further_targets", ())]


def _names_precision(target: str) -> bool:
    return any(part in PRECISIONS for part in target.split(":"))


def _suit(recipe: Recipe, device_of: Callable[[Target], Device]) -> bool:
    """Return True if candidates of a recipe can have the usual precisions, and differ in what is asked for."""
    training = recipe.training
    is_used = bool(measured_metrics(recipe.parsed_objectives, recipe.parsed_limits))
    is_ours = training.function is None and not recipe.execution.ray_address
    if not is_used or not is_ours or training.folds > 1 or recipe.evaluate not in ("auto", "train", "supernet"):
        return False
    in_int8 = [replace(target, precision=USUAL[-1]) for target in recipe.named_targets.values()]
    here = replace(in_int8[0], device="", threads=1)
    return not why_not_measured(here, LocalDevice()) and not any(
        why_not_measured(each, device_of(each)) for each in in_int8
    )
