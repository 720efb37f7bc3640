"""Defaults of small searches: with few trials, or little time, less is measured and in fewer rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.errors import RecipeError
from nas.recipe.sections import DEFAULT_INITIAL, MOST_FOR_EACH_INITIAL, MeasuringRecipe
from nas.values.objective import Limit, Objective, measured_metrics

TUNED_TRIALS = 40
"""The defaults were tuned with this number of trials. A search with fewer gets smaller ones."""
DEFAULT_ROUNDS = 3
TRIALS_FOR_EACH_ROUND = 5
FEWEST_INITIAL = 6
INITIAL_ALONE = 8
"""First measurements where nothing is trained, and a quick answer is wanted."""
MOST_PER_ROUND = 6
ADDED_FOR_EACH_TRIAL = 0.8
"""Further first measurements for each trial. With ``TUNED_TRIALS`` they add up to the usual ``most_initial``."""


def with_small_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's keys with the defaults that suit its number of trials. Keys that are given stay.

    Without trials, these are one round and few first measurements. Nothing is added for ``TUNED_TRIALS`` or more, and
    nothing for a table, where measuring costs nothing.
    """
    found, trials = dict(values), values.get("trials")
    if type(trials) is int and trials == 0:
        found.setdefault("rounds", 1)
        given = found.get("measuring", {})
        if isinstance(given, Mapping):
            found["measuring"] = {"initial": INITIAL_ALONE, **given}
    if type(trials) is not int or not 0 < trials < TUNED_TRIALS or values.get("evaluate") == "table":
        return found
    found.setdefault("rounds", default_rounds(trials))
    given = found.get("measuring", {})
    if isinstance(given, MeasuringRecipe):
        given = {key: getattr(given, key) for key in given.model_fields_set}
    if isinstance(given, Mapping):
        found["measuring"] = {**_measuring(trials, found["rounds"], given), **given}
    return found


def check_rounds(rounds: int, trials: int) -> None:
    """Check that each round of a new search has a trial. Raises RecipeError.

    A run that was extended may have more: its rounds count on.
    """
    if rounds > max(1, trials):
        raise RecipeError(f"rounds must be at most trials ({trials}), but got {rounds}.")


def default_rounds(trials: int) -> int:
    """Return the number of rounds: about one for each five trials, at least one and at most three."""
    return min(DEFAULT_ROUNDS, max(1, trials // TRIALS_FOR_EACH_ROUND))


def default_initial(trials: int) -> int:
    """Return the number of first measurements: it grows with the square root of the trials."""
    if trials >= TUNED_TRIALS:
        return DEFAULT_INITIAL
    return max(FEWEST_INITIAL, math.ceil(DEFAULT_INITIAL * math.sqrt(trials / TUNED_TRIALS)))


def _measuring(trials: int, rounds: object, given: Mapping[str, Any]) -> dict[str, int]:
    """Return the defaults of ``[measuring]`` for few trials. ``rounds`` and ``given`` may be of any type yet."""
    most, initial = given.get("most_initial"), given.get("initial")
    if type(initial) is not int:
        initial = default_initial(trials)
        if type(most) is int:  # a lower ceiling that was given also holds for the default
            initial = max(5, min(initial, most))
    added = int(ADDED_FOR_EACH_TRIAL * trials)
    each_round = -(-trials // rounds) if type(rounds) is int and rounds > 0 else MOST_PER_ROUND
    return {
        "initial": initial,
        "most_initial": max(5, min(MOST_FOR_EACH_INITIAL * initial, initial + added)),
        "per_round": max(2, min(MOST_PER_ROUND, each_round)),
    }


def check_measures_alone(evaluate: str, objectives: Sequence[Objective], limits: Sequence[Limit]) -> None:
    """Check a recipe without trials, in which models are measured and nothing else. Raises ValueError."""
    if evaluate not in ("train", "auto"):
        raise ValueError(
            f'with trials = 0 models are measured and nothing else, so evaluate must be "train", but got "{evaluate}". '
            "Leave it out, or give some trials."
        )
    if not measured_metrics(objectives, limits):
        raise ValueError(
            "with trials = 0 models are measured, so an objective or a limit must be measured, such as latency_ms, but "
            f"got {', '.join(map(str, objectives))}."
        )
