"""Choices of training: those that a recipe adds to a space, and checks of all of them before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, final

from nas.errors import RecipeError, SpaceError, nearest
from nas.recipe.recipe import Recipe
from nas.recipe.training_sections import SEARCHABLE, refusal
from nas.space.architecture import Architecture
from nas.space.first_look import FirstLook
from nas.space.layer import Layer
from nas.space.parts.device_parts import AdaptedSpace, with_training
from nas.space.search_space import SearchSpace
from nas.tasks.task import Task
from nas.training.settings import TrainingSettings
from nas.training.trainer import check_settings


def with_training_choices(
    recipe: Recipe, space: SearchSpace, look: FirstLook, say: Callable[[str], None]
) -> tuple[SearchSpace, FirstLook]:
    """Return a space with the choices that ``[training.search]`` adds, and what looks at its architectures.

    Raises:
        RecipeError: the space has a choice of the same name, or candidates are not trained.
        SpaceError: a choice of training that is named like a key of ``[training]`` has an option that the key refuses.
    """
    search = recipe.training.search
    for choice in space.choices:
        if choice.name in search:
            raise RecipeError(
                f"training.search adds the choice {choice.name!r}, but the space {recipe.space.name} has one of that "
                "name already. Leave it out."
            )
    made = with_training(space, search)
    names = [choice.name for choice in made.choices if choice.is_of_training]
    check_retrained(recipe.retraining.training, names)
    if names and (recipe.evaluate in ("supernet", "zero-cost") or (search and recipe.evaluate == "table")):
        raise RecipeError(
            f'choices that affect training need evaluate = "train", but got "{recipe.evaluate}" with '
            f"{', '.join(names)}. Leave these out."
        )
    if "epochs" in names and recipe.early_stopping.enabled and recipe.early_stopping.grow_subset:
        raise RecipeError(
            "early_stopping.grow_subset plans the items of each epoch for all candidates, so their epochs cannot be "
            "searched. Turn it off, or leave the choice epochs out."
        )
    _check_own(space, say)
    return made, LookWithout(look, made) if isinstance(made, AdaptedSpace) else look


def check_retrained(settings: Mapping[str, object], names: Collection[str]) -> None:
    """Check that winners are not retrained by settings in which candidates differ: each keeps its own.

    Raises:
        RecipeError: one of ``names``, the choices of training, is among the settings.
    """
    both = sorted(set(settings) & set(names))
    if both:
        raise RecipeError(
            f"{both[0]} is a choice of the candidates, and each winner keeps its own, but it is to be "
            f"{settings[both[0]]!r} for retraining. Leave it out of retraining.training."
        )


def _check_own(space: SearchSpace, say: Callable[[str], None]) -> None:
    for choice in space.choices:
        if not choice.is_of_training:
            continue
        if choice.name in SEARCHABLE:
            for option in choice.options:
                if why := refusal(choice.name, option):
                    raise SpaceError(
                        f"the choice {choice.name!r} takes the place of training.{choice.name}, which refuses its "
                        f"option {option!r}: {why}."
                    )
        elif near := nearest(choice.name, sorted(SEARCHABLE)):
            say(
                f"the choice {choice.name!r} affects training but is no key of [training], so only build sees it. "
                f"If {near!r} is meant, rename it."
            )


def check_training(space: SearchSpace, settings: TrainingSettings, task: Task) -> None:
    """Check that a task can be learned with these settings, and with each option that candidates may have.

    Raises:
        RecipeError: there is no such optimizer, or the task's inputs cannot be blended or augmented.
    """
    check_settings(settings, task)
    for choice in space.choices:
        if choice.is_of_training and choice.name in SEARCHABLE:
            for option in choice.options:
                changes: dict[str, Any] = {choice.name: option, "subsets": ()}
                check_settings(replace(settings, **changes), task)


@final
class LookWithout:
    """Looks at architectures as the space itself knows them: without the choices that a recipe added."""

    def __init__(self, look: FirstLook, space: AdaptedSpace) -> None:
        self._look = look
        self._told = space.told

    def layers(self, architecture: Architecture) -> tuple[Layer, ...]:
        return self._look.layers(self._told(architecture))

    def check_build(self, architecture: Architecture) -> None:
        """Check the build of the network itself."""
        self._look.check_build(self._told(architecture))

    def step_seconds(self, architecture: Architecture, batch: int, threads: int) -> float:
        return self._look.step_seconds(self._told(architecture), batch, threads)

    def close(self) -> None:
        """Release what the look holds."""
        self._look.close()
