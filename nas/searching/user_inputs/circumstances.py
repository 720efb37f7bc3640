"""The circumstances of a run, and checks that it goes on as it began: with its recipe, data, space and processor."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nas.errors import JournalError, RecipeError
from nas.hardware.devices.device import Device
from nas.recipe.recipe import Recipe
from nas.recipe.recorded import changes_of_results, changes_text
from nas.space.parts.candidate import SpaceParts
from nas.space.search_space import SearchSpace, choices_hash, count
from nas.storage.journal import JOURNAL, RECIPE, Journal
from nas.storage.journal_rows import Began, RecipeText
from nas.tasks.task import READINGS

LIBRARIES = ("nas", "torch", "optuna", "ray", "onnxruntime", "timm", "scikit-learn")
"""The libraries whose versions a run records."""


def circumstances(recipe: Recipe, space: SearchSpace, device: Device, of_data: Mapping[str, Any]) -> Began:
    """Return what a reader of the report may ask about, beside the recipe; ``of_data`` are the backend's."""
    return Began(
        space={
            "name": recipe.space.name,
            "assignments": count(space),
            "choices": choices_hash(space),
            **({"choices of training": list(names)} if (names := SpaceParts(space).training) else {}),
        },
        machine={"processor": device.facts.processor, "system": device.facts.system},
        versions={"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}},
        **of_data,
    )


def _version(library: str) -> str:
    """Return the version of a library. The in-process executor works without Ray."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def recipe_then(begun: RecipeText, folder: Path) -> Recipe:
    """Return the recipe with which the run began. Raises JournalError if the journal's copy is damaged."""
    try:
        return Recipe.from_toml(begun.text)
    except RecipeError as error:
        raise JournalError(
            f"a run goes on with the recipe that it began with, but the copy in {folder / JOURNAL} is damaged: {error}"
        ) from error


def check_recipe(then: Recipe, now: Recipe, folder: Path) -> None:
    """Check that a resumed run has its recipe, but for ``[execution]``, which changes no result.

    Raises:
        JournalError: another value of another key.
    """
    changed = changes_of_results(then, now)
    if changed:
        raise JournalError(
            f"a run goes on with the recipe that it began with; only keys of [execution] may change. Changed since: "
            f"{changes_text(changed)}. Bring that back in {folder / RECIPE}, or start a new run beside it."
        )


def check_same_again(journal: Journal, now: Began, folder: Path) -> bool:
    """Check that a run goes on as it began. Return False if it has not begun yet. Raises as ``check_same`` does."""
    began = journal.rows(Began)[:1]
    for each in began:
        check_same(each, now, folder)
    return bool(began)


def check_same(then: Began, now: Began, folder: Path) -> None:
    """Check that a resumed run has the data, table, space and processor that it began with.

    Raises:
        JournalError: one of them has changed.
    """
    for fact, words, key in _CHANGES_IN_TRAINING:
        was, is_now = (bool(each and each.get(fact)) for each in (then.data_set, now.data_set))
        if then.data_set is not None and was != is_now:
            raise JournalError(
                f"a run goes on with the pictures that it began with, but in {folder} these {_are(was)} {words} in "
                f"training, and now they {_are(is_now)}. Start a new run beside it; {key} decides about it."
            )
    _check_splits(then.data_set or {}, now.data_set or {}, folder)
    _check_signals(then.data_set or {}, now.data_set or {}, folder)
    _check_readings(then.data_set or {}, now.data_set or {}, folder)
    pairs = (
        ("data set", "fingerprint", then.data_set, now.data_set),
        ("table", "fingerprint", then.table, now.table),
        ("space", "choices", then.space, now.space),
        ("machine", "processor", then.machine, now.machine),
    )
    for part, key, before, after in pairs:
        if before is not None and after is not None and before.get(key) != after[key]:
            raise JournalError(
                f"a run goes on with the {part} that it began with, but the {key} was {before.get(key)} "
                f"and is {after[key]} now. Bring that back, or start a new run beside {folder}."
            )


_CHANGES_IN_TRAINING = (
    ("mirrored", "mirrored", "data.mirror"),
    ("random parts", "cut to random parts", "data.random_parts"),
)
"""How training changes pictures: a fact of the data, in words, and the key that decides."""


def _are(is_done: bool) -> str:
    return "are" if is_done else "are not"


def _check_splits(then: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Check that as many items validate as before: the usual share of small sets was another until version 0.8.

    Raises:
        JournalError: there are more or fewer.
    """
    is_count = ("training ", "validation ", "test ")
    totals = [sum(v for k, v in each.items() if k.startswith(is_count) and isinstance(v, int)) for each in (then, now)]
    for key in (key for key in then if key.startswith("validation ") and key in now):
        if then[key] != now[key] and totals[0] == totals[1]:
            raise JournalError(
                f"a run goes on with the splits that it began with, but the {key} were {then[key]:,} and are "
                f"{now[key]:,} now. Start a new run beside {folder}; data.validation_share decides how many validate."
            )


def _check_signals(then: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Check that windows have the channels and samples that they had: until version 0.8 times were channels, too.

    Raises:
        JournalError: they have others.
    """
    shapes = [each.get("signal shape") for each in (then, now)]
    if all(shapes) and shapes[0] != shapes[1]:
        was, is_now = (" channels of ".join(map(str, each or ())) + " samples" for each in shapes)
        raise JournalError(
            f"a run goes on with the windows that it began with, but they were {was} and are {is_now} now. Columns of "
            "times are no channels any more, and arrays of (N, samples, channels) are recognised. Start a new run "
            f"beside {folder}; data.columns and data.layout decide about it."
        )


def _check_readings(then: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Check that files are read as before: until version 0.8, decimal commas and dates were taken for categories.

    Raises:
        JournalError: they are read in another way, and give other data.
    """
    before, after = then.get(READINGS, ""), now.get(READINGS, "")
    if then and now and before != after and then.get("fingerprint") != now["fingerprint"]:
        raise JournalError(
            f"a run goes on with the data as it read them at its beginning, but now they have changed, or are read "
            f"another way. Then: {before or 'plain numbers and text.'} Now: {after or 'plain numbers and text.'} "
            f"Start a new run beside {folder}."
        )
