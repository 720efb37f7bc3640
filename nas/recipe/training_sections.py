"""The sections of a recipe about training candidates, stopping it early, and retraining winners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from nas.errors import did_you_mean
from nas.recipe.sections import OwnOption, Section
from nas.space.architecture import Choice

SEARCHABLE = frozenset(
    {
        *(
            "epochs",
            "batch_size",
            "learning_rate",
            "weight_decay",
            "label_smoothing",
            "optimizer",
            "schedule",
            "warm_up",
        ),
        *("augment", "augmentation_strength", "mixup", "cutmix", "gradient_clip", "ema", "precision"),
        *("tune", "layer_decay", "head_epochs", "fit_head", "distillation_weight", "temperature"),
    }
)
"""The keys of ``[training]`` that candidates may differ in. The others decide what is compared, and where it runs."""


class TrainingRecipe(Section):
    """How a candidate is trained."""

    epochs: int = Field(default=8, ge=1)
    """Epochs of a candidate's training."""
    subset: float = Field(default=1.0, gt=0, le=1)
    """The share of the training items that candidates see."""
    batch_size: int = Field(default=64, ge=1)
    """Images in a batch."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """The peak learning rate."""
    weight_decay: float = Field(default=0.05, ge=0)
    """The weight decay. Biases and the scales of normalisations have none."""
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    """The share of each label that is spread over all classes."""
    augment: bool = True
    """Augment training items as the task does: images are shifted or cut to parts, and mirrored where classes allow."""
    augmentation_strength: float = Field(default=0.0, ge=0, le=1)
    """How strongly training items are changed further; for pictures, by RandAugment, whose 30 is 1. 0 turns it off."""
    mixup: float = Field(default=0.0, ge=0)
    """The alpha of mixup, which blends two items and their targets; 0 turns it off."""
    cutmix: float = Field(default=0.0, ge=0)
    """The alpha of CutMix, which pastes a part of one picture or signal into another; 0 turns it off."""
    optimizer: str = "adamw"
    """The optimizer: ``adamw``, or any that timm has, such as ``sgd``, ``nadamw``, ``lion`` or ``lamb``."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warm_up: float = Field(default=0.05, ge=0, le=0.5)
    """The share of the steps in which the learning rate rises to its peak."""
    gradient_clip: float = Field(default=5.0, ge=0)
    """The largest norm of a step's gradient, to which longer ones are cut; 0 for any."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """The decay of an average of the weights over steps, such as 0.99, which is kept as the model; 0 turns it off."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """The numbers in which layers compute; ``auto`` is bf16 or fp16 on GPUs that have it, and fp32 on CPUs."""
    tune: str = Field(default="all", min_length=1)
    """The weights that change: ``all``, ``last`` (stage), ``head``, ``norms`` (with the head), or names of layers."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """The factor between the learning rates of neighbouring layers, lowest at the input. For pretrained weights."""
    head_epochs: int = Field(default=0, ge=0)
    """First epochs in which only the last layer is trained. For pretrained weights."""
    fit_head: bool = False
    """Fit a last linear layer by regression to the features of all items before the first epoch; batch normalisations
    then keep their statistics. For pretrained weights."""
    teacher: str | None = None
    """A trained model to learn from as well: the folder of a bundle, or ``module:function`` that returns a module."""
    distillation_weight: float = Field(default=0.5, ge=0, le=1)
    """The share of the loss that compares with the teacher."""
    temperature: float = Field(default=2.0, gt=0)
    """By this the outputs of teacher and candidate are divided before they are compared. Higher is softer."""
    search: dict[str, tuple[bool | int | float | str, ...]] = {}  # noqa: RUF012 (pydantic copies it)
    """Settings that candidates differ in: a table of other keys of this section, each with a list of options."""
    folds: int = Field(default=1, ge=1, le=20)
    """Cross-validation for few items: a candidate is trained so often, each time without another part of them."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where candidates are trained; ``auto`` takes a GPU if there is one."""
    time_limit_s: float = Field(default=1800.0, gt=0)
    """The time limit of one training, in seconds."""
    function: Annotated[str | None, OwnOption("--train")] = None
    """A training function of your own, ``my_module:train``, in the place of the trainer of this project."""

    @field_validator("search", mode="before")
    @classmethod
    def _lists_of_options(cls, value: object) -> object:
        """Refuse what is no table of lists, with the name of the key."""
        if not isinstance(value, Mapping):
            raise ValueError(f"search must be a table, such as learning_rate = [1e-3, 1e-2], but got {value!r}.")
        for name, options in value.items():
            if name not in SEARCHABLE:
                raise ValueError(
                    f"search must name keys of [training], but got {name!r}. {did_you_mean(name, SEARCHABLE)}"
                )
            if not isinstance(options, list | tuple) or not options:
                raise ValueError(f"search.{name} must be a list of options, but got {options!r}.")
        return value

    @model_validator(mode="after")
    def _options_are_values(self) -> Self:
        """Refuse an option that its key would refuse, and one that comes twice."""
        for name, options in self.search.items():
            for option in options:
                if why := refusal(name, option):
                    raise ValueError(f"search.{name} has the option {option!r}: {why}")
            Choice(name, tuple(options), affects="training")
        return self


def refusal(name: str, option: object) -> str | None:
    """Return why the key ``name`` of ``[training]`` cannot have an option as it is; None if it can.

    A recipe's own values are converted, but options of a choice stay as they are: 32.0 is no number of items.
    """
    try:
        found = getattr(TrainingRecipe.model_validate({name: option}), name)
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return f"Input should be {found}" if isinstance(found, int) and isinstance(option, float) else None


class RetrainingRecipe(Section):
    """How winners are retrained, on the training and validation items together."""

    winners: int = Field(default=4, ge=1)
    """The most winners."""
    epochs: int = Field(default=16, ge=1)
    """Epochs of a winner's training."""
    seeds: int = Field(default=1, ge=1, le=100)
    """Trainings of each winner, by different seeds. With several, its accuracy has an interval over seeds."""
    time_limit_s: float = Field(default=7200.0, gt=0)
    """The time limit of one retraining, in seconds."""
    start: Literal["scratch", "supernet"] = "scratch"
    """Retrain from scratch, or from the weights that candidates shared."""
    teacher: str | None = Field(default=None, min_length=1)
    """A model to learn from as well: ``best``, the best winner; a bundle's folder; or ``my_module:function``."""
    training: dict[str, bool | int | float | str] = {}  # noqa: RUF012 (pydantic copies it)
    """Keys of ``[training]`` that winners are trained by in the place of the recipe's, such as ``ema``."""

    @field_validator("training", mode="before")
    @classmethod
    def _settings_of_training(cls, value: object) -> object:
        """Refuse what is no table of settings of training, with the name of the key."""
        if not isinstance(value, Mapping):
            raise ValueError(f"training must be a table, such as ema = 0.99, but got {value!r}.")
        known = SEARCHABLE - {"epochs"}
        for name, setting in value.items():
            if name == "epochs":
                raise ValueError(f"training has no epochs, but got {setting!r}: set retraining.epochs.")
            if name not in known:
                raise ValueError(
                    f"training must name keys of [training], but got {name!r}. {did_you_mean(name, known)}"
                )
            if why := refusal(name, setting):
                raise ValueError(f"training.{name} is {setting!r}: {why}")
        return value


def check_retraining(retraining: RetrainingRecipe, training: TrainingRecipe, evaluate: str) -> None:
    """Check that winners can be retrained as their section says. Raises ValueError if other sections forbid it."""
    if retraining.start == "supernet" and evaluate not in ("supernet", "auto"):
        raise ValueError(
            'retraining.start "supernet" takes weights that candidates shared, so evaluate must be "supernet", '
            f'but got "{evaluate}".'
        )
    if training.function is not None and retraining.teacher is not None:
        raise ValueError(
            f"retraining.teacher teaches in the trainer of this project, but got {retraining.teacher!r} with "
            f"training.function {training.function!r}. Leave one of them out."
        )
    both = sorted(set(retraining.training) & set(training.search))
    if both:
        raise ValueError(
            f"training.search has the options of {both[0]}, and each winner keeps its own, but retraining.training "
            f"sets it to {retraining.training[both[0]]!r}. Leave one of them out."
        )


def why_no_folds(training: TrainingRecipe, evaluate: str, precisions: tuple[str, ...]) -> str:
    """Return why candidates cannot be trained in folds; empty if they can."""
    if evaluate not in ("train", "auto"):
        return f'evaluate must be "train", but is "{evaluate}"'
    if training.function is not None:
        return f"a function of your own gets the splits as they are, but training.function is {training.function!r}"
    if precisions:
        return f"int8 is tested on validation items, which folds train on, but precisions are searched: {precisions}"
    return ""


def check_folds(training: TrainingRecipe, evaluate: str, precisions: tuple[str, ...]) -> None:
    """Check that candidates can be trained in folds. Raises ValueError if other sections forbid it."""
    why = why_no_folds(training, evaluate, precisions)
    if training.folds > 1 and why:
        raise ValueError(f"training.folds is {training.folds}, but {why}. Set training.folds to 1.")


class EarlyStoppingRecipe(Section):
    """Stopping trainings that others of similar cost dominate."""

    enabled: bool = True
    """Stop trainings early."""
    check: int = Field(default=5, ge=3)
    """Trainings that must run to their end before any is stopped."""
    least_correlation: float = Field(default=0.5, ge=-1, le=1)
    """The Spearman correlation with final errors that an early epoch needs before trainings are stopped there."""
    reduction: float = Field(default=1.5, ge=1.1)
    """Trainings are compared at ``epochs`` divided by powers of this."""
    keep: float = Field(default=0.25, gt=0, le=1)
    """This share of the compared trainings always continues: the best by Pareto rank and then crowding."""
    min_peers: int = Field(default=4, ge=1)
    """The fewest trainings in a comparison."""
    neighbours: int = Field(default=12, ge=1)
    """A training is compared with this number of others of the nearest cost."""
    margin: float = Field(default=0.7, ge=0)
    """A training is stopped only if it is dominated by more than this multiple of the noise of early errors."""
    grow_subset: bool = False
    """Let early epochs see fewer items: ``reduction`` times fewer before each comparison."""


class RobustnessRecipe(Section):
    """The corruptions under which models are tested, for ``noise_error``. Without names, it is off until asked for."""

    corruptions: tuple[str, ...] = ()
    """Names of the task's corruptions. Winners are tested under these; ``noise_error`` takes all if there are none."""
    strengths: tuple[float, ...] = (0.3, 0.6)
    """The strengths of each corruption, above 0 and at most 1."""

    @field_validator("corruptions")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"each corruption is named once, but got {list(value)}.")
        return value

    @field_validator("strengths")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or not all(0 < strength <= 1 for strength in value) or len(set(value)) < len(value):
            raise ValueError(
                f"strengths are different numbers above 0 and at most 1, at least one, but got {list(value)}."
            )
        return value
