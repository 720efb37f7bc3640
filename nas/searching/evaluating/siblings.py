"""Candidates that share a training: one row for each precision in which a trained network was evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nas.searching.beliefs import Beliefs
from nas.space.architecture import Architecture
from nas.space.parts.candidate import PLAIN
from nas.training.deployed_errors import BY_PRECISION
from nas.values.evaluation import BY_FOLDS, FITTED, TRAINED_AS, Evaluation, Failure
from nas.values.metric import trained_values


def sibling_ids(beliefs: Beliefs, architecture: Architecture) -> set[str]:
    """Return the ids of all architectures that share a training with this one, its own among them."""
    return {each.id for each in beliefs.candidate(architecture).siblings}


def precisions_to_evaluate(beliefs: Beliefs, architecture: Architecture) -> list[str]:
    """Return the precisions beside fp32 in which a training of this architecture is evaluated.

    A precision in which it could not be measured is left out.
    """
    siblings = (each for each in beliefs.candidate(architecture).siblings if each not in beliefs.unfit)
    return [each.precision for each in siblings if each.precision not in (None, PLAIN)]


def rows_of_training(beliefs: Beliefs, row: Evaluation, report: Mapping[str, Any]) -> list[Evaluation]:
    """Return a row for each precision of a training that has ended; ``row`` itself where precision is no choice.

    ``row`` has the error of the training. The row in fp32 keeps that and counts as the training; the others share it.
    """
    if BY_PRECISION not in report:
        return [row]
    by_precision: dict[str, dict[str, Any]] = report[BY_PRECISION]
    rows: list[Evaluation] = []
    for sibling in beliefs.candidate(row.architecture).siblings:
        if sibling.precision == PLAIN:
            values = {**row.values, **beliefs.counted(sibling)}
            rows.append(replace(row, architecture=sibling, values=values, predicted=beliefs.predicted(sibling)))
        elif sibling.precision in by_precision:
            rows.append(row_in_precision(beliefs, rows[0], sibling, by_precision[sibling.precision]))
    return rows


def row_in_precision(
    beliefs: Beliefs, plain: Evaluation, candidate: Architecture, found: Mapping[str, Any]
) -> Evaluation:
    """Return the row of a candidate that shares a network with ``plain``, the row in fp32.

    ``found`` holds its metrics or, under ``failure``, the kind and the reason.
    """
    details = {"epochs": plain.details["epochs"], TRAINED_AS: plain.architecture.id}
    details |= {key: plain.details[key] for key in ("by", FITTED) if key in plain.details}
    predicted = beliefs.predicted(candidate)
    row = Evaluation("train", candidate, plain.round, predicted=predicted, details=details)
    if "failure" in found:
        return replace(row, failure=Failure(*found["failure"]))
    values = trained_values(found)
    if BY_FOLDS in plain.details:
        details[BY_FOLDS] = _by_folds(plain, values)
    return replace(row, values={**values, **beliefs.counted(candidate)})


def _by_folds(plain: Evaluation, values: Mapping[str, float]) -> dict[str, float]:
    """Return what folds say in another precision, which differs by as much as on the validation items."""
    found: Mapping[str, float] = plain.details[BY_FOLDS]
    differing = [name for name in ("error", "log_loss") if name in found and name in values and name in plain.values]
    return {**found, **{name: max(0.0, found[name] + values[name] - plain.values[name]) for name in differing}}
