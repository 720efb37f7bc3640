"""The recipe's way of training, and the seed of each training."""

from __future__ import annotations

from typing import Any

from nas.recipe.recipe import Recipe
from nas.space.architecture import Architecture
from nas.training.training import TrainingSettings


def training_settings(
    recipe: Recipe, epochs: int, subset: float, time_limit_s: float, **changes: Any
) -> TrainingSettings:
    """Return the recipe's way of training for ``epochs`` on the share ``subset`` of the training images."""
    training = recipe.training
    return TrainingSettings(
        epochs=epochs,
        subset=subset,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        augment=training.augment,
        device=training.device,
        time_limit_s=time_limit_s,
        threads=recipe.execution.threads_per_worker,
        **changes,
    )


def training_seed(recipe: Recipe, architecture: Architecture) -> int:
    """Return a seed that depends on the recipe's seed and the architecture alone, not on order or workers."""
    return (int(architecture.id[:7], 16) + 7919 * recipe.seed) % 2**31
