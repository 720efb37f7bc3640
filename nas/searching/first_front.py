"""What is told of the candidates that a space named first, and on what their errors were found."""

from __future__ import annotations

from nas.results.evidence import differing_folds
from nas.searching.selection import are_judged_by_folds, front_candidates
from nas.searching.state import RunState
from nas.values.evaluation import BY_FOLDS

MOST_TOLD = 5
"""The most points of the first front that are told."""


def first_front(state: RunState) -> list[str]:
    """Return a sentence about the front so far, and one if folds promise other errors than the validation split."""
    beliefs, told = state.beliefs, []
    costs = [objective.metric for objective in beliefs.objectives if objective.metric.source != "trained"]
    points = []
    for row in front_candidates(beliefs, surely=False)[:MOST_TOLD]:
        values = beliefs.values(row.architecture)
        at = "".join(f" at {metric.format(values[metric.name])}" for metric in costs[:1])
        points.append(f"{quality_text(state, row.values[beliefs.quality.name])}{at}")
    if points:
        by_folds = ", by folds over training and validation items"
        what = by_folds if are_judged_by_folds(beliefs) else on_validation(state)
        told.append(f"first front{what}: {'; '.join(points)}")
    differing = differing_folds(beliefs.candidates)
    if differing is not None:
        promised, found = (
            quality_text(state, error) for error in (differing.details[BY_FOLDS]["error"], differing.values["error"])
        )
        told.append(
            f"folds promise {promised}, the validation split {found}: items depend on each other, so the split decides"
        )
    return told


def on_validation(state: RunState) -> str:
    """Return on what the quality of candidates was found; no text if a table tells it."""
    task = state.resolved.backend.task
    return "" if task is None else f" on {len(task.validation):,} validation {task.noun}"


def quality_text(state: RunState, value: float) -> str:
    """Return a quality with its name: the task's own words for its error."""
    quality = state.beliefs.quality
    if quality.name != "error":
        return f"{quality.title.lower()} {quality.format(value)}"
    words = state.resolved.backend.words
    return f"{words.error} {words.error_text(value)}"
