"""Sentences that qualify a re-solved front: what was left out, what is predicted, and which points have a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.reports.candidates import ways_of
from nas.results.notes.front_notes import listed
from nas.results.run_folder import resume_text
from nas.results.solved import SolvedPoint
from nas.searching.solving.request import Asked
from nas.searching.solving.seeded import Seeded
from nas.space.parts.candidate import PLAIN


def notes_of(asked: Asked, known: Seeded, front: Sequence[SolvedPoint]) -> list[str]:
    """Return the sentences, the most important first."""
    return [
        *_about_the_run(asked, known),
        *_about_errors(asked),
        *asked.place.about_front(known.points, front),
        *_about_failures(known),
        *_about_predictions(asked, known, front),
        *_about_models(asked, front, is_new=known.is_new),
        *known.told,
    ]


def _about_the_run(asked: Asked, known: Seeded) -> list[str]:
    run = asked.run
    told = []
    if not run.is_over:
        why = f": {run.ended_by.rstrip('.')}" if run.ended_by else ""
        told.append(f"The run is not finished{why}. Its {len(known.points)} candidates so far are compared.")
    told += [f"Damaged: {damage}" for damage in run.damages_in_short]
    if known.stopped:
        was = "training was" if known.stopped == 1 else "trainings were"
        told.append(f"{known.stopped} {was} stopped early, and left out: their errors do not compare.")
    return told


def _about_errors(asked: Asked) -> list[str]:
    ways = ways_of(asked.run.rows)
    told = [f"Errors are {' and '.join(ways)}, not of separate trainings."] if ways else []
    own, wanted = (recipe.parsed_target.precision for recipe in (asked.run.recipe, asked.recipe))
    if own != wanted:
        compared = f"{wanted} may be {'more' if wanted == PLAIN else 'less'} accurate"
        test = f"test a model in it with nas bundle export --precision {wanted}"
        told.append(f"Errors are those in {own}; {compared}: {test}.")
    limited = [limit for limit in asked.limits if limit.metric.source == "trained"]
    return [*told, *(asked.place.about_trained_limits if limited else ())]


def _about_failures(known: Seeded) -> list[str]:
    if not known.failed:
        return []
    reason = next(iter(known.failed.values()))
    count = len(known.failed)
    return [
        f"{count} candidate{'s' * (count != 1)} cannot be measured on the target and "
        f"{'is' if count == 1 else 'are'} left out. "
        f"{'It says' if count == 1 else 'The first says'}: {reason}"
    ]


def _about_predictions(asked: Asked, known: Seeded, front: Sequence[SolvedPoint]) -> list[str]:
    guessed = [point for point in front if not point.is_measured(asked.metrics)]
    if not guessed:
        return []
    unsure = [point for point in guessed if not point.meets(asked.limits)]
    doubt = ""
    if unsure:
        doubt = f" {len(unsure)} of them meet the limits by the predicted mean, but not by its 95 % bound."
    return [
        f"{len(guessed)} of {len(front)} points are predicted on this target.{doubt} A larger --measure measures more."
    ]


def _about_models(asked: Asked, front: Sequence[SolvedPoint], *, is_new: bool) -> list[str]:
    told = []
    if is_new and any(point.folder for point in front):
        told.append(
            f"Models in bundles were deployed for {asked.run.target}. Their ONNX files and weights are the same on "
            f"{asked.recipe.target}."
        )
    without = [point.architecture.id for point in asked.place.without_model(front)]
    if without:
        told.append(
            f"No model yet: {listed(without)}. They were trained for the search alone. To retrain, export and test "
            f"them, add --as-run {asked.run.run_folder.parent / 'NAME'}, and resume that run."
        )
    return told


def went_on(folder: Path, asked: Asked) -> str:
    """Return the sentence that says how to make models of a run that was written."""
    return f"Written as a run. To retrain, export, measure and test its winners: {resume_text(folder, asked.recipe)}"
