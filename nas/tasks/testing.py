"""Testing: models answer the test items of a task, and their answers are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from nas.errors import CandidateError
from nas.tasks.batches import in_order
from nas.tasks.deployed.inputs import Arrays
from nas.tasks.scores import Score, Tally, add_finite, scores_of
from nas.tasks.task import Task
from nas.values.metric import LARGEST_VALUE, is_result

TESTED_TOGETHER = 512
"""About so many test items are prepared and run at once."""
Runs = Callable[[Arrays], npt.NDArray[np.float32]]
"""A model: it takes a prepared array for each input, and returns its outputs of shape (N, …)."""


def tested(task: Task, model: Runs) -> dict[str, Score]:
    """Return what a journal can hold of a model's scores on the test items of a task; ``error`` is one of them.

    Raises:
        CandidateError: an output or the error is not finite, or the error is too large.
    """
    (tally,) = tallies_of(task, [model])
    return recordable(scores_of(tally, task.test))


def tallies_of(task: Task, models: Sequence[Runs]) -> list[Tally]:
    """Return each model's tally of the test items, which are prepared once for all.

    Raises:
        CandidateError: an output is not finite.
    """
    tallies = [task.criterion.tally() for _ in models]
    for batch in in_order(task.test, task.signature.together(TESTED_TOGETHER)):
        inputs = task.prepared(batch.raw)
        for tally, model in zip(tallies, models, strict=True):
            add_finite(tally, torch.from_numpy(model(inputs)), batch.targets)
    return tallies


def recordable(scores: Mapping[str, Score]) -> dict[str, Score]:
    """Return the scores that a journal can hold. An error's bound that is open, as of one item, becomes a number.

    Raises:
        CandidateError: the error itself is not finite, or too large.
    """
    error = scores["error"]
    if not is_result(error.value):
        raise CandidateError(
            "nan", f"the test error must be finite and at most {LARGEST_VALUE:g}, but was {error.value:g}."
        )
    others = {name: score for name, score in scores.items() if name != "error" and all(map(is_result, score))}
    return {"error": error._replace(high=min(error.high, LARGEST_VALUE)), **others}
