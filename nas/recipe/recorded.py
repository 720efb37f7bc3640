"""The recipe of a run: the journal's copy, with which it began, and how the file beside it differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe, read_recorded_recipe
from nas.recipe.toml_text import UTF_8
from nas.storage.journal import JOURNAL, RECIPE, JournalReader
from nas.storage.journal_rows import RecipeText


@dataclass(frozen=True)
class RecordedRecipe:
    """The recipe of a run, its text, and sentences about a copy of it that is lost, damaged or changed."""

    recipe: Recipe
    text: str
    damages: tuple[str, ...] = ()


def recorded_recipe(folder: Path, journal: JournalReader) -> RecordedRecipe:
    """Return the recipe that a run began with.

    The journal's copy counts, for all rows came from it. The file counts only where the journal has no copy, as before
    the first row of a run.

    Raises:
        RecipeError: neither can be read.
    """
    copies = journal.rows(RecipeText)[-1:]
    if not copies:
        return RecordedRecipe(*_in_file(folder))
    try:
        then = Recipe.from_toml(copies[0].text)
    except RecipeError as error:
        told = f"the recipe in {folder / JOURNAL} cannot be read: {error} {folder / RECIPE} is shown."
        return RecordedRecipe(*_in_file(folder), (told,))
    return RecordedRecipe(then, copies[0].text, _told_of_file(folder, then, copies[0].text))


def _in_file(folder: Path) -> tuple[Recipe, str]:
    """Return the recipe in the run's folder, and its text. Raises RecipeError if it is missing or malformed."""
    path = folder / RECIPE
    if not path.is_file():
        raise RecipeError(f"the folder of a run must hold its recipe, but {folder} has no {RECIPE}.")
    return read_recorded_recipe(path), path.read_text(encoding=UTF_8)


def _told_of_file(folder: Path, then: Recipe, text: str) -> tuple[str, ...]:
    """Return a sentence if the file in the run's folder is not the recipe with which the run began."""
    try:
        now, found = _in_file(folder)
    except RecipeError as error:
        return (f"{error} The journal has a copy, which is shown.",)
    changed = {} if found == text else changes_of_results(then, now)
    if not changed:
        return ()
    return (
        f"{folder / RECIPE} was changed after the run began: {changes_text(changed)}. The run was made with what it "
        "had before, which is shown. For a search with other keys, copy the file to another place.",
    )


def changes_of_results(then: Recipe, now: Recipe) -> dict[str, tuple[str, str]]:
    """Return the keys that differ, each with its value ``now`` and ``then``. ``[execution]`` changes no result."""
    return {key: pair for key, pair in now.differences(then).items() if not key.startswith("execution.")}


def changes_text(changed: Mapping[str, tuple[str, str]]) -> str:
    """Return changes of keys for people."""
    return ", ".join(f"{key} was {before} and is {value} now" for key, (value, before) in changed.items())
