"""What a search knew of a winner before its test, as far as that is about the model that is shipped."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nas.values.evaluation import (
    AS_TRAINED,
    BY_FOLDS,
    PARENT,
    TESTED_PER_VALIDATED,
    TUNED_ON,
    VALIDATED,
    Evaluation,
    Stage,
)
from nas.values.metric import TRAINED

FAR, TINY = 2.0, 1e-12
MUCH_LONGER = 2.0
"""A winner that was retrained for so many times more of the search's training is another model than that one."""


def searched_of(row: Evaluation, rows: Sequence[Evaluation]) -> dict[str, float]:
    """Return the values of a winner's training in the search, given its row and all rows of its architecture.

    Returns none if they are not about the model that is shipped: if they were estimated, if it was retrained for much
    longer, or if the run is older than these are recorded for.
    """
    trained = _last(rows, "train")
    if TESTED_PER_VALIDATED not in row.details or trained is None or trained.by != "train":
        return {}
    retrained = _last(rows, "retrain")
    if retrained is None or not _is_alike(row, trained, retrained):
        return {}
    return {name: trained.values[name] for name in TRAINED if name in trained.values}


def differing_folds(rows: Iterable[Evaluation]) -> Evaluation | None:
    """Return the best simple model by folds if folds find other errors than the validation split; None if not.

    They differ where half of the models have errors that are more than ``FAR`` joint standard errors apart. Then items
    depend on each other, and folds are tested on items like those that they were fitted to. Models are fitted to the
    same items, so that one of them alone would say little less.
    """
    found = [row for row in rows if VALIDATED in row.details.get(BY_FOLDS, {}) and "error" in row.values]
    if not found:
        return None
    folds = [row.details[BY_FOLDS] for row in found]
    apart = [
        abs(row.values["error"] - each["error"]) / max(math.hypot(each["standard_error"], each[VALIDATED]), TINY)
        for row, each in zip(found, folds, strict=True)
    ]
    if statistics.median(apart) <= FAR:
        return None
    return min(found, key=lambda row: float(row.details[BY_FOLDS]["error"]))


def folds_of_winner(rows: Sequence[Evaluation]) -> Mapping[str, float]:
    """Return what folds say of a simple model, given all rows of its architecture; nothing of others."""
    trained = _last(rows, "train")
    if trained is None or (trained.is_fitted and not is_fitted_winner(rows)):
        return {}
    found: Mapping[str, float] = trained.details.get(BY_FOLDS, {})
    return found


def is_fitted_winner(rows: Sequence[Evaluation]) -> bool:
    """Return True if a winner is a simple model, given all rows of its architecture: one may be tuned later."""
    retrained = _last(rows, "retrain")
    return retrained is not None and retrained.is_fitted


def _last(rows: Sequence[Evaluation], stage: Stage) -> Evaluation | None:
    """Return the last row of a stage that did not fail."""
    return next((each for each in reversed(rows) if each.stage == stage and not each.failed), None)


def _is_alike(row: Evaluation, trained: Evaluation, retrained: Evaluation) -> bool:
    if trained.is_fitted:
        return retrained.is_fitted
    if row.details.get(PARENT) or retrained.details.get("start") in (AS_TRAINED, TUNED_ON):
        return True
    before, after = _seen(trained.details), _seen(retrained.details)
    return 0 < after <= MUCH_LONGER * before


def _seen(details: Mapping[str, Any]) -> float:
    """Return how often a training saw the items."""
    return float(details.get("epochs", 0)) * float(details.get("subset", 1.0))
