"""A request to retrain winners: its values, and the architectures that it means."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from nas.errors import JournalError, RecipeError, nearest
from nas.recipe.recipe import Recipe
from nas.results.front import Front
from nas.searching.beliefs import Beliefs
from nas.searching.winners.retraining_plan import Start
from nas.searching.winners.teaching import last_model
from nas.space.architecture import Architecture
from nas.storage.journal_rows import RetrainingBegan, RetrainingEnded

NO_TEACHER = "none"
"""The name with which nobody teaches, whatever the recipe says."""
SHORTEST_ID = 4


@final
@dataclass(frozen=True)
class Asked:
    """What was asked for. None stands for the recipe's own value.

    Attributes:
        top: so many architectures, in the order of the front; None for all winners.
        ids: architectures by their ids, in the place of ``top``.
        epochs: the epochs of each training.
        seeds: the trainings of each network.
        training: keys of ``[training]`` beside those of the recipe's ``retraining.training``.
        teacher: a teacher; ``best`` is the best winner, ``none`` none.
        start: the weights to begin with.
        more_data: the name of further data, or their fingerprint if they were passed as an object.
    """

    top: int | None = None
    ids: tuple[str, ...] = ()
    epochs: int | None = None
    seeds: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    start: Start | None = None
    more_data: str | None = None

    def __post_init__(self) -> None:
        if self.top is not None and self.ids:
            raise RecipeError(
                f"winners are chosen by their number or by their ids, but got top {self.top} with ids "
                f"{', '.join(self.ids)}. Leave one of them out."
            )
        if self.top is not None and self.top < 1:
            raise RecipeError(f"top must be at least 1, but got {self.top}.")
        if self.start not in (None, "scratch", "supernet", "winner"):
            raise RecipeError(f"start must be scratch, supernet or winner, but got {self.start!r}.")

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe with what was asked for in its section of retraining.

        Raises:
            RecipeError: a value that the section refuses.
        """
        section = recipe.retraining.model_dump(exclude_none=True)
        section["training"] = {**section["training"], **self.training}
        section |= {} if self.epochs is None else {"epochs": self.epochs}
        section |= {} if self.seeds is None else {"seeds": self.seeds}
        section["start"] = "scratch" if self.start == "winner" else self.start or section["start"]
        if self.teacher == NO_TEACHER:
            section.pop("teacher", None)
        elif self.teacher is not None:
            section["teacher"] = self.teacher
        return Recipe.from_mapping({**recipe.model_dump(exclude_none=True), "retraining": section})

    def way(self, chosen: str) -> str:
        """Return the way of training: the one that the search chose, unless it fitted heads and more is asked for."""
        tunes = self.epochs is not None or bool(self.training) or self.teacher not in (None, NO_TEACHER)
        return "train" if chosen == "heads" and tunes else chosen

    def words(self) -> list[str]:
        """Return the request as words of the command line."""
        named = {
            "--top": self.top,
            "--epochs": self.epochs,
            "--seeds": self.seeds,
            "--teacher": self.teacher,
            "--start": self.start,
            "--data": self.more_data,
        }
        words = [word for each in self.ids for word in ("--id", each)]
        words += [str(word) for name, value in named.items() if value is not None for word in (name, value)]
        changes = [f"training.{key}={json.dumps(value)}" for key, value in self.training.items()]
        return [*words, *(word for change in changes for word in ("--set", change))]

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain data: the same request goes on with an interrupted retraining."""
        plain: dict[str, Any] = json.loads(json.dumps(vars(self)))  # tuples become lists, as they come back
        return plain


def session_of(
    asked: Asked, began: Sequence[RetrainingBegan], ended: Sequence[RetrainingEnded]
) -> RetrainingBegan | None:
    """Return the interrupted retraining for which the same was asked; None if a new one begins."""
    over = {row.number for row in ended}
    return next((row for row in reversed(began) if row.number not in over and row.asked == asked.to_json()), None)


def architectures_of(asked: Asked, front: Front, beliefs: Beliefs, count: int) -> tuple[Architecture, ...]:
    """Return the architectures that were asked for: winners, and after them the best candidates.

    ``count`` is how many are chosen where nothing was asked for and the run has no winners.

    Raises:
        RecipeError: an id is unknown, or an architecture lacks the model to begin with.
        JournalError: the run has no candidates.
    """
    if asked.ids:
        found = [_named(each, beliefs) for each in asked.ids]
    else:
        winners = [winner.architecture for winner in front]
        wanted = asked.top or len(winners) or count
        found = [*winners[:wanted], *_next_best(beliefs, winners)[: max(0, wanted - len(winners))]]
    if not found:
        raise JournalError(
            f"winners are retrained from a run's candidates, but {front.run_folder} has none whose training ran to its "
            "end."
        )
    found = list(dict.fromkeys(found))
    if asked.start == "winner":
        without = [each.id for each in found if last_model(beliefs, each) is None]
        if without:
            raise RecipeError(
                f'start "winner" begins with the weights of a winner, but {without[0]} has no model yet. Retrain it '
                "from scratch first."
            )
    return tuple(found)


def _next_best(beliefs: Beliefs, winners: Collection[Architecture]) -> list[Architecture]:
    """Return the candidates that are no winners: those first that meet the limits as measured, and the best of them."""
    name = beliefs.quality.name
    others = [row for row in beliefs.candidates if row.architecture not in winners]
    others.sort(key=lambda row: (not beliefs.surely_meets(row.architecture), row.values.get(name, math.inf)))
    return [row.architecture for row in others]


def _named(name: str, beliefs: Beliefs) -> Architecture:
    """Return the trained architecture whose id begins with ``name``. Raises RecipeError if there is not exactly one."""
    known = {
        row.architecture.id: row.architecture
        for row in beliefs.rows
        if row.stage in ("train", "retrain", "winner") and not row.failed
    }
    matching = [each for each in known if each.startswith(name)] if len(name) >= SHORTEST_ID else []
    if len(matching) == 1:
        return known[matching[0]]
    if matching:
        raise RecipeError(f"an id must name one architecture, but {name!r} begins {', '.join(matching)}.")
    near = nearest(name, sorted(known))
    hint = f"Did you mean {near}?" if near else "The report lists all candidates with their ids."
    raise RecipeError(f"an id must be that of a trained architecture, but this run has none of {name!r}. {hint}")
