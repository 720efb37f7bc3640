"""Candidates that share a training: one row for each precision in which a trained network was evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nas.searching.beliefs import Beliefs
from nas.space.architecture import Architecture
from nas.space.parts.candidate import PLAIN
from nas.training.deployed_errors import BY_PRECISION
from nas.values.evaluation import TRAINED_AS, Evaluation, Failure
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
    details |= {key: plain.details[key] for key in ("by",) if key in plain.details}
    predicted = beliefs.predicted(candidate)
    row = Evaluation("train", candidate, plain.round, predicted=predicted, details=details)
    if "failure" in found:
        return replace(row, failure=Failure(*found["failure"]))
    return replace(row, values={**trained_values(found), **beliefs.counted(candidate)})
