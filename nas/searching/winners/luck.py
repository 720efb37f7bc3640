"""How much of a candidate's low error may be luck: of many that are alike, one looks best on few validation items."""

from __future__ import annotations

import math

from nas.results.best_winner import luck
from nas.searching.beliefs import Beliefs
from nas.searching.selection import folds_count
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.values.evaluation import BY_FOLDS


def tried(beliefs: Beliefs) -> int:
    """Return how many candidates were trained that validation items alone have judged."""
    return sum(row.by == "train" and BY_FOLDS not in row.details for row in beliefs.candidates)


def may_be_luck(state: RunState, candidate: Architecture, simple: Architecture) -> bool:
    """Return True if a candidate may seem better than a simple model by luck alone.

    The simple model must have been judged by folds, and the other one by validation items: then the errors of both on
    these items are compared.
    """
    beliefs, task = state.beliefs, state.resolved.task
    row, judged = beliefs.trainings[candidate], beliefs.trainings[simple]
    if BY_FOLDS in row.details or BY_FOLDS not in judged.details or not folds_count(beliefs):
        return False
    items = len(task.train) + len(task.validation)
    standard_error = judged.details[BY_FOLDS]["standard_error"] * math.sqrt(items / len(task.validation))
    gain = judged.values["error"] - row.values["error"]
    return bool(gain <= luck(tried(beliefs)) * standard_error)
