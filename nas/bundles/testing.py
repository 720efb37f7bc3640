"""The test of a form, on the items that tested its winner: those of the run in which the winner's bundle lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from nas.bundles.sources import Source
from nas.errors import NasError
from nas.progress import Progress
from nas.recipe.recipe import Recipe
from nas.recipe.recorded import recorded_recipe
from nas.results.bundle import FORM, GIVEN, Bundle
from nas.results.data_of_run import source_of
from nas.space.architecture import Architecture
from nas.space.parts.own_inputs import wishes_of
from nas.storage.journal import JOURNAL, JournalReader
from nas.tasks.carrying import recorded
from nas.tasks.deployed.arrays import array_preparation
from nas.tasks.scores import Score
from nas.tasks.task import Task, words_of
from nas.tasks.testing import Runs, tested
from nas.values.error_words import OF_IMAGES, ErrorWords
from nas.values.measurement import Interval


class UntestedError(Exception):
    """A form cannot be tested here. The message is the reason, as a part of a sentence."""


@final
@dataclass(frozen=True)
class FormTest:
    """The test of a form.

    Attributes:
        scores: by metric, what the test items gave; empty if the form was not tested.
        why_not: the reason in that case.
        winner_error: the error of the winner from which the form was made, on the target of its run.
        words: the words for errors.
    """

    scores: Mapping[str, Score] = field(default_factory=dict)
    why_not: str = ""
    winner_error: float | None = None
    words: ErrorWords = OF_IMAGES

    @property
    def text(self) -> str:
        """The error in words, beside that of the winner, or why there is none."""
        if not self.scores:
            return f"Not tested on the test items: {self.why_not}."
        error = self.scores["error"]
        beside = "" if self.winner_error is None else f"; the winner's own has {self.words.text(self.winner_error)}"
        bounds = self.words.range_text(Interval(error.low, error.high))
        return f"Test {self.words.title}: {self.words.text(error.value)} ({bounds}){beside}."

    @property
    def results(self) -> dict[str, Any]:
        """What a bundle's description tells of the scores, in the place of those of the winner."""
        if not self.scores:
            return {}
        error = self.scores["error"]
        others = {name: list(score) for name, score in self.scores.items() if name != "error"}
        return {"test_error": error.value, "test_interval_95": [error.low, error.high], "test_scores_95": others}

    @property
    def told(self) -> dict[str, Any]:
        """What else a bundle's description tells of the form: the winner's error, and why there was no test."""
        own = {} if self.winner_error is None else {"winner_test_error": self.winner_error}
        return own if self.scores else {**own, "untested": self.why_not}

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**self.results, **self.told}


def test_of_form(source: Source, model: Runs, progress: Progress) -> FormTest:
    """Return the scores of a form, which ``model`` runs, on the test items of the run where its bundle lies.

    Raises:
        CandidateError: an output or the error is not finite.
    """
    about = source.bundle.about
    own = about.get(FORM, {}).get("winner_test_error", about.get("test_error"))
    try:
        task = _task_of(source, progress)
    except UntestedError as error:
        return FormTest(why_not=str(error), winner_error=own)
    return FormTest(tested(task, model), winner_error=own, words=words_of(task))


def _task_of(source: Source, progress: Progress) -> Task:
    """Return the task by whose test items a bundle's winner was tested, prepared as the winner wishes.

    Raises:
        UntestedError: the bundle lies in no run, or the run's data cannot be loaded here, or have changed.
    """
    try:
        recipe = _recipe_around(source.bundle.folder)
        _check_loads_by_name(recipe, trust=source.trust)
        task = source_of(recipe).load(progress)
        if not _is_prepared_for(task, source.bundle):
            task = task.prepared_for(_wishes(source))
    except NasError as error:
        raise UntestedError(str(error).rstrip(".")) from error
    then = source.bundle.about.get("facts", {}).get("fingerprint")
    if then is None:
        raise UntestedError("the bundle does not tell on which data its winner was tested")
    if task.fingerprint != then or not _is_prepared_for(task, source.bundle):
        raise UntestedError(f"{task.name} is not as it was, or is not divided as it was, when the winner was tested")
    return task


def _wishes(source: Source) -> Mapping[str, Any]:
    """Return how a bundle's architecture wishes its inputs prepared. Older bundles do not tell, but their space may.

    A space that is made again from a description has no weights, which may tell a mean and a standard deviation.
    """
    about = source.bundle.about
    known: Mapping[str, Any] | None = about.get("wishes")
    return wishes_of(source.space, Architecture(about["choices"])) if known is None else known


def _is_prepared_for(task: Task, bundle: Bundle) -> bool:
    """Return True if the items of a task are prepared as those that tested the bundle's winner."""
    preparation = task.preparation or array_preparation(task.signature.to_json()["inputs"])
    alike: bool = json.loads(json.dumps(recorded(preparation))) == bundle.about.get("preparation")
    return alike and task.signature == bundle.signature


def _recipe_around(folder: Path) -> Recipe:
    """Return the recipe of the run in which a bundle lies. Raises UntestedError if it lies in none."""
    for place in folder.resolve().parents[1:3]:  # winners/ID and retrained/NUMBER/ID
        if (place / JOURNAL).is_file():
            with JournalReader(place) as journal:
                return recorded_recipe(place, journal).recipe
    raise UntestedError("the bundle lies in no run, which would name the data")


def _check_loads_by_name(recipe: Recipe, *, trust: bool) -> None:
    """Check that a recipe's data are loaded by name, and by no code that nobody trusts. Raises UntestedError."""
    if recipe.data.name == GIVEN:
        raise UntestedError("its run was given its data as an object")
    if ":" in recipe.data.task and not trust:
        raise UntestedError(f"its data are loaded by code, {recipe.data.task}, which runs with --trust only")
