"""A schedule whose clock and past a test sets."""

from __future__ import annotations

from typing import Any

from made_up_beliefs import beliefs_of
from tiny_space import TinySpace

from nas.recipe.recipe import Recipe
from nas.searching.durations import Durations
from nas.searching.measuring_pace import MEASURING, USUAL_S
from nas.searching.schedule import Schedule
from nas.space.search_space import enumerate_space
from nas.values.evaluation import Evaluation

ARCHITECTURES = list(enumerate_space(TinySpace()))


class Clock:
    """A clock that tests set."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def trained(seconds: float, epochs: int = 8) -> Evaluation:
    details = {"seconds": seconds, "epochs": epochs, "curve": [0.5] * epochs}
    return Evaluation("train", ARCHITECTURES[0], 1, values={"error": 0.5}, details=details)


def schedule(*rows: Evaluation, clock: Clock | None = None, before_s: float = 0.0, **keys: Any) -> Schedule:
    """A schedule of one worker, for 80 training and 20 validation images."""
    recipe = Recipe.from_mapping({"execution": {"executor": "inline"}, **keys})
    beliefs = beliefs_of(objectives=("error", "latency_ms"), rows=rows)
    return Schedule(recipe, beliefs, clock or Clock(), Durations(recipe, beliefs, (80, 20)), before_s)


def usual_s(count: int) -> float:
    """The seconds in which an idle machine measures models, once it has measured some."""
    return USUAL_S[MEASURING][0] + count * USUAL_S[MEASURING][1]
