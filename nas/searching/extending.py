"""Extending a run: more trials, more time, other limits or more winners, with everything that it found so far."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nas.errors import RecipeError
from nas.progress import duration_text
from nas.recipe.amounts import seconds_of
from nas.recipe.recipe import TRIALS_IN_TIME, Recipe, read_recorded_recipe
from nas.recipe.small_searches import default_rounds
from nas.recipe.toml_text import apply_overrides
from nas.searching.user_inputs.circumstances import check_recipe, recipe_then
from nas.storage.journal import RECIPE, Journal, write_aside
from nas.storage.journal_rows import Cost, RecipeText, RoundEnded, TrainingsEnded
from nas.values.evaluation import Evaluation
from nas.values.indexed_rows import last_rows
from nas.values.objective import Limit

KEYS = ("trials", "search_time_s", "limits", "retraining.winners")
"""The keys of a recipe that may change when a run goes on: they decide how far it goes, and never what a row means."""
MORE = "+"
"""The beginning of an amount that is added to what a run has."""


def keys_of(overrides: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the overrides of [execution], and those that extend a run.

    Raises:
        RecipeError: a key that no run can change.
    """
    execution, extending = [], []
    for text in overrides:
        key = text.partition("=")[0].strip()
        if key.startswith("execution."):
            execution.append(text)
        elif key in KEYS:
            extending.append(text)
        else:
            raise RecipeError(
                f"--resume goes on with a run's own recipe. It may get --trials +N, --time +TIME, --limit, more "
                f"retraining.winners, and other keys of [execution], but got {text}."
            )
    return execution, extending


def recipe_to_go_on(journal: Journal, folder: Path, overrides: Iterable[str]) -> Recipe:
    """Return the recipe with which a run goes on. Its file is mended where a kill came between journal and file.

    Raises:
        JournalError: the file has other keys than the journal's copy.
        RecipeError: the file is missing or malformed.
    """
    texts = journal.rows(RecipeText)
    if len(texts) > 1 and (folder / RECIPE).read_text(encoding="utf-8") == texts[-2].text:
        write_aside(folder / RECIPE, texts[-1].text.encode())
    recipe = read_recorded_recipe(folder / RECIPE, overrides)
    if texts:
        check_recipe(recipe_then(texts[-1], folder), recipe, folder)
    return recipe


def extended(recipe: Recipe, journal: Journal, overrides: Iterable[str]) -> Recipe:
    """Return the recipe of a run with the keys that extend it.

    An amount such as ``+50`` or ``+10min`` is added to what the run has trained, or to the time that it took. Trials
    alone end no search in time any more, and a time alone ends it whatever it has trained.

    Raises:
        RecipeError: an amount that is no more than the run has, or a limit on what it did not measure.
    """
    wanted = apply_overrides({}, map(_quoted, overrides))
    values = recipe.model_dump()
    trained, spent_s = _trained(journal), _spent_s(journal)
    trials, time_s = wanted.get("trials"), wanted.get("search_time_s")
    if recipe.trials == 0 and trials is None and time_s is None:
        raise RecipeError("this run trained nothing, so there is nothing to choose from. Add trials: --trials +20.")
    ended = {row.round for row in journal.rows(RoundEnded)}
    has_trained = recipe.rounds in {*ended, *(row.round for row in journal.rows(TrainingsEnded))}
    is_over = recipe.rounds + 1 in ended
    if time_s is not None:
        values |= {"search_time_s": _more_time_s(time_s, spent_s), "trials": TRIALS_IN_TIME}
    if trials is not None:
        planned = trained if is_over or recipe.has_time_alone else max(trained, recipe.trials)
        total = _more_trials(trials, trained, planned)
        values |= {"trials": total, **({} if time_s is not None else {"search_time_s": None})}
    values |= {"limits": wanted["limits"]} if "limits" in wanted else {}
    values["retraining"] |= wanted.get("retraining", {})
    if is_over or has_trained:
        if trials is None and time_s is None:  # nothing more is trained, and winners take the time that they need
            values |= {"trials": max(1, trained), "search_time_s": None}
        before = max((row.round for row in journal.rows(RecipeText)), default=0)
        values["rounds"] = max({recipe.rounds, *ended}) + _rounds(recipe.rounds - before, values, trained)
    changed = Recipe.from_mapping(values)
    _check_known(recipe, changed)
    return changed


def record_extension(recipe: Recipe, journal: Journal, folder: Path) -> None:
    """Record that the run goes on with another recipe. Its winners so far stay, and new ones are chosen beside them."""
    rounds = [row.round for row in journal.rows(RoundEnded)]
    text = recipe.to_toml()
    journal.append(RecipeText(text, len(journal.rows(Evaluation)), max(rounds, default=0), _spent_s(journal)))
    write_aside(folder / RECIPE, text.encode())


def _spent_s(journal: Journal) -> float:
    return float(sum(part.wall_s for part in journal.rows(Cost)))


def _trained(journal: Journal) -> int:
    return sum(not row.is_shared for row in last_rows(journal.rows(Evaluation), "train").values())


def _more_trials(value: object, trained: int, planned: int) -> int:
    """Return the number of trials in all; ``+N`` is added to those that were ``planned``."""
    text = str(value)
    number = text.removeprefix(MORE).strip()
    if not (isinstance(value, str | int) and number.isascii() and number.isdigit()):
        raise RecipeError(f"--trials takes a number, such as 60, or +20 for 20 more, but got {text[:60]!r}.")
    total = int(number) + (planned if text.startswith(MORE) else 0)
    if total <= trained:
        raise RecipeError(
            f"a run is extended by more trials than the {trained} that it has trained, but got {text}. "
            f"Write --trials +{max(int(number), 1)} for that many more."
        )
    return total


def _more_time_s(value: object, spent_s: float) -> float:
    """Return the search time in all."""
    text = str(value)
    try:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        given_s = float(text) if is_number else seconds_of(text.removeprefix(MORE))
    except ValueError as error:
        raise RecipeError(f"--time takes a time such as 30min, or +10min for ten minutes more: {error}") from error
    total_s = given_s + (spent_s if text.startswith(MORE) else 0.0)
    if total_s <= spent_s:
        raise RecipeError(
            f"a run is extended by more time than the {duration_text(spent_s)} that it took, but got {text}. "
            f"Write --time {MORE}{text.removeprefix(MORE)} for that much more."
        )
    return total_s


def _rounds(latest: int, values: Mapping[str, Any], trained: int) -> int:
    """Return how many rounds are added: as for a search of that size; one where nothing is trained but winners.

    A search in time has as many as its ``latest`` part had.
    """
    if values["trials"] == TRIALS_IN_TIME:
        return latest
    return default_rounds(max(1, values["trials"] - trained))


def unknown_limits(before: Recipe, now: Recipe) -> list[Limit]:
    """Return the limits on metrics that a run with the recipe ``before`` neither measured nor trained."""
    known = {each.metric.name for each in before.parsed_objectives} | {e.metric.name for e in before.parsed_limits}
    needed = ("measured", "trained")
    return [each for each in now.parsed_limits if each.metric.name not in known and each.metric.source in needed]


def _check_known(before: Recipe, now: Recipe) -> None:
    """Check that limits are on metrics of which the run knows something. Raises RecipeError."""
    for limit in unknown_limits(before, now):
        raise RecipeError(
            f"a run is extended under limits on what it has found or on what is counted, but it knows nothing of "
            f"{limit.metric.name}. nas solve measures that; a new run searches by it."
        )


def _quoted(text: str) -> str:
    """Return an override whose amount keeps its sign: in TOML, +5 is the number 5."""
    key, _, value = text.partition("=")
    value = value.strip()
    return f"{key}={json.dumps(value)}" if value.startswith(MORE) else text
