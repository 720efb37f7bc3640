"""Errors under noise: the mean error of a model when a stated set of corruptions spoils the items that it is given."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from nas.errors import RecipeError, did_you_mean
from nas.tasks.batches import Examples, Tensors, in_order
from nas.tasks.scores import Score, add_finite, scores_of
from nas.tasks.task import Task

NOISE = "noise_error"
STRENGTHS = (0.3, 0.6)
"""The strengths of each corruption, of 1, unless a recipe gives others."""

OutputsOf = Callable[[Tensors], torch.Tensor]
"""Runs a model on raw items."""


@dataclass(frozen=True)
class Robustness:
    """The corruptions whose mean error is the error under noise. Without names these are all of the task's.

    Every corruption has each of the ``strengths``, above 0 and at most 1. The same ``seed`` gives the same items.
    """

    corruptions: tuple[str, ...] = ()
    strengths: tuple[float, ...] = STRENGTHS
    seed: int = 0

    def names(self, task: Task) -> tuple[str, ...]:
        """Return the names of the corruptions of a task.

        Raises:
            RecipeError: the task has none, or lacks one of the names.
        """
        if not task.corruptions:
            raise RecipeError(
                f"{NOISE} needs a task that says how its {task.noun} are corrupted, but {task.name} has no "
                f"corruptions. Give your task the methods corruptions and corrupted, or leave {NOISE} out."
            )
        for name in self.corruptions:
            if name not in task.corruptions:
                raise RecipeError(
                    f"robustness.corruptions are of {', '.join(task.corruptions)} for {task.name}, but got {name!r}. "
                    f"{did_you_mean(name, task.corruptions)}"
                )
        return self.corruptions or task.corruptions


def noise_scores(
    outputs_of: OutputsOf, examples: Examples, task: Task, robustness: Robustness, batch: int = 512
) -> Mapping[str, Score]:
    """Return the error under each corruption, the mean over its strengths, by name.

    The interval is the mean of those of the strengths: errors of the same items under different noise go together, so
    the true one is rather narrower.
    """
    found = {}
    for name in robustness.names(task):
        scores = [
            _error_under(outputs_of, examples, task, batch, name, strength, robustness.seed)
            for strength in robustness.strengths
        ]
        found[name] = mean_score(scores)
    return found


def mean_score(scores: list[Score]) -> Score:
    """Return the mean of scores and of the ends of their intervals."""
    return Score(*(float(each) for each in np.mean(scores, axis=0)))


def _error_under(
    outputs_of: OutputsOf, examples: Examples, task: Task, batch: int, name: str, strength: float, seed: int
) -> Score:
    generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {strength:g} {seed}".encode()))
    tally = task.criterion.tally()
    for items in in_order(examples, batch):
        add_finite(tally, outputs_of(task.corrupted(items.raw, name, strength, generator)), items.targets)
    return scores_of(tally, examples)["error"]
