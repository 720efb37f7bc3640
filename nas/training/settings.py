"""The settings of one training, as a recipe gives them, and its seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nas.recipe.recipe import Recipe
from nas.recipe.training_sections import SEARCHABLE
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.tasks.corruptions import NOISE, Robustness
from nas.values.objective import trained_metrics

TUNED_ON_RATE = 0.3
"""The share of the learning rate with which a trained module is tuned on for an epoch.

An EfficientNet-Lite0 on 598 photos has mean test errors over five folds of 27.1 % after eight epochs on the training
items, 24.8 % after a ninth on all items with this share, 27.1 % with the whole rate, and 24.4 % if all eight are on all
items, which takes nine times as long.
"""


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a training. ``subset`` is the share of the training items that it uses.

    ``use_validation`` adds the validation items. With several ``folds``, training and validation items are divided into
    so many parts, and each is left out of one of as many trainings. ``subsets`` holds a share for each epoch; if it is
    empty, every epoch uses ``subset``. With ``robustness`` the validation items are also evaluated under noise. With
    ``keep_statistics`` batch normalisations keep those that they come with. The recipe's section ``[training]``
    describes the others.
    """

    epochs: int
    subset: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    augment: bool
    device: str
    time_limit_s: float
    threads: int
    keep_weights: bool = False
    use_validation: bool = False
    subsets: tuple[float, ...] = ()
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warm_up: float = 0.05
    gradient_clip: float = 5.0
    mixup: float = 0.0
    cutmix: float = 0.0
    augmentation_strength: float = 0.0
    ema: float = 0.0
    precision: str = "auto"
    tune: str = "all"
    layer_decay: float = 1.0
    head_epochs: int = 0
    fit_head: bool = False
    distillation_weight: float = 0.5
    temperature: float = 2.0
    robustness: Robustness | None = None
    folds: int = 1
    keep_statistics: bool = False

    def __post_init__(self) -> None:
        if self.subsets and len(self.subsets) != self.epochs:
            raise ValueError(f"subsets must hold one share for each of {self.epochs} epochs, but got {self.subsets}.")

    def of(self, space: SearchSpace, architecture: Architecture, longer: float = 1.0) -> TrainingSettings:
        """Return the settings of one candidate: its choices of training take the place of those of the same name.

        Epochs of its own are multiplied by ``longer``.
        """
        names = [choice.name for choice in space.choices if choice.is_of_training and choice.name in SEARCHABLE]
        changes: dict[str, Any] = {name: architecture[name] for name in names if name in architecture}
        if "epochs" in changes:
            changes["epochs"] = max(1, round(longer * changes["epochs"]))
        return replace(self, **changes)

    def tuned_on(self) -> TrainingSettings:
        """Return how a module that was trained by these settings learns from further items of the same kind."""
        return replace(
            self,
            epochs=1,
            subsets=(),
            learning_rate=TUNED_ON_RATE * self.learning_rate,
            fit_head=False,
            head_epochs=0,
            keep_statistics=self.fit_head,
        )


def training_settings(
    recipe: Recipe,
    epochs: int | None = None,
    subset: float | None = None,
    time_limit_s: float | None = None,
    **changes: Any,
) -> TrainingSettings:
    """Return the recipe's way of training, or that for other epochs, another share of the items, or another time."""
    training = {key: value for key, value in recipe.training.model_dump().items() if key in SEARCHABLE}
    return TrainingSettings(
        **{**training, "epochs": recipe.training.epochs if epochs is None else epochs},
        subset=recipe.training.subset if subset is None else subset,
        device=recipe.training.device,
        time_limit_s=recipe.training.time_limit_s if time_limit_s is None else time_limit_s,
        threads=recipe.execution.threads_per_worker,
        robustness=searched_robustness(recipe),
        folds=recipe.training.folds,
        **changes,
    )


def retraining_settings(
    recipe: Recipe,
    epochs: int | None = None,
    time_limit_s: float | None = None,
    training: Mapping[str, Any] | None = None,
) -> TrainingSettings:
    """Return the way of retraining winners: on all items, with the weights kept.

    It is the recipe's, or that for other epochs, another time, or other settings than its ``retraining.training``.
    """
    section = recipe.retraining
    settings = training_settings(
        recipe,
        section.epochs if epochs is None else epochs,
        1.0,
        section.time_limit_s if time_limit_s is None else time_limit_s,
        keep_weights=True,
        use_validation=True,
    )
    changes: dict[str, Any] = dict(section.training if training is None else training)
    return replace(settings, folds=1, **changes)


def searched_robustness(recipe: Recipe) -> Robustness | None:
    """Return the noise that candidates are evaluated under; None where its error is neither minimised nor limited."""
    asked = trained_metrics(recipe.parsed_objectives, recipe.parsed_limits)
    return robustness_of(recipe) if NOISE in asked else None


def robustness_of(recipe: Recipe) -> Robustness:
    """Return the noise that the recipe describes."""
    section = recipe.robustness
    return Robustness(section.corruptions, section.strengths, recipe.seed)


def training_seed(recipe: Recipe, architecture: Architecture) -> int:
    """Return a seed that depends on the recipe's seed and the architecture alone, not on order or workers."""
    return (int(architecture.id[:7], 16) + 7919 * recipe.seed) % 2**31


def further_seed(seed: int, number: int) -> int:
    """Return the seed of a further training of the same architecture; number 0 is ``seed`` itself."""
    return (seed + 104_729 * number) % 2**31
