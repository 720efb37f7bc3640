"""Criteria: the loss that a model is trained by, and the error and the other metrics that it is judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, final

import torch
import torch.nn.functional as F

from nas.tasks.scores import Tally
from nas.tasks.tallies import ClassTally, LabelTally, NumberTally, TokenTally, class_metrics
from nas.values.error_words import ErrorWords

Kind = Literal["auto", "classification", "regression"]
KINDS: tuple[Kind, ...] = ("auto", "classification", "regression")
"""What a user may say of targets that are one class or values."""


class Criterion(Protocol):
    """What a model is trained for.

    A criterion of your own may also have ``metrics``, the names of what its tallies score, and ``words`` for its error.

    Attributes:
        kind: its name, which bundles record: it says how outputs become answers.
    """

    @property
    def kind(self) -> str: ...

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Return the mean loss of a batch. ``smoothing`` spreads this share of each label over all classes."""
        ...

    def soft_loss(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch whose targets are the outputs of another model."""
        ...

    def tally(self) -> Tally:
        """Return an empty tally."""
        ...


@final
@dataclass(frozen=True)
class Classification:
    """One class for each item. Outputs are logits of shape (N, classes), targets class numbers of shape (N,).

    The error is the share of items whose most probable class is wrong.
    """

    classes: int
    kind = "classification"
    words: ClassVar[ErrorWords] = ErrorWords()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what tallies score."""
        return class_metrics(self.classes)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        return F.cross_entropy(outputs, _class_numbers(targets), label_smoothing=smoothing)

    def soft_loss(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs, teacher.softmax(dim=1))

    def tally(self) -> Tally:
        return ClassTally(self.classes)


@final
@dataclass(frozen=True)
class MultiLabel:
    """Any number of labels for each item. Outputs are logits of shape (N, labels), targets 0 or 1 of the same shape.

    The error is the share of wrong labels over all items and labels, where a label counts as given from probability
    0.5 on.
    """

    labels: int
    kind = "multi-label"
    metrics: ClassVar[tuple[str, ...]] = ("error", "macro_f1_loss")
    words: ClassVar[ErrorWords] = ErrorWords(
        error="share of wrong labels", accuracy="label accuracy", constant="always answering the most frequent labels"
    )

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        wanted = targets.to(outputs.dtype) * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, wanted)

    def soft_loss(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(outputs, teacher.sigmoid())

    def tally(self) -> Tally:
        return LabelTally(self.labels)


@final
@dataclass(frozen=True)
class Regression:
    """Numbers for each item. Outputs and targets have the shape (N, values), and targets are standardised.

    The error is the mean squared error of the standardised targets: the share of their variance that stays unexplained
    on data of the same spread.

    Attributes:
        scale: by value, what a difference of 1 is in the units of the data; 1 for each if it is empty.
    """

    scale: tuple[float, ...] = ()
    kind = "regression"
    metrics: ClassVar[tuple[str, ...]] = ("error", "unexplained_variance", "mae", "rmse", "mse")

    @property
    def words(self) -> ErrorWords:
        """The words for the error, which is no share unless targets are standardised."""
        error = "standardised squared error" if self.scale else "squared error"
        return ErrorWords(error=error, accuracy="", constant="always answering the mean", is_share=bool(self.scale))

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        return F.mse_loss(outputs, targets.reshape(outputs.shape).to(outputs.dtype))

    def soft_loss(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(outputs, teacher)

    def tally(self) -> Tally:
        return NumberTally(self.scale)


@final
@dataclass(frozen=True)
class NextToken:
    """The next token after each one. Outputs are logits of shape (N, tokens, vocabulary), targets have (N, tokens).

    Targets of -100 are left out. The error is the mean bits of a token, divided by those of a token that is written
    without a model: the share to which a perfect compressor with this model shrinks a text.

    Attributes:
        vocabulary: the number of different tokens.
        token_bytes: the bytes of text that each token stands for.
    """

    vocabulary: int
    token_bytes: tuple[int, ...]
    kind = "next-token"
    metrics: ClassVar[tuple[str, ...]] = ("error", "perplexity", "bits_per_byte")
    words: ClassVar[ErrorWords] = ErrorWords(
        error="compressed size", accuracy="", constant="knowing only how frequent each token is"
    )

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        wanted = _class_numbers(targets.flatten())
        return F.cross_entropy(outputs.flatten(0, 1), wanted, ignore_index=-100, label_smoothing=smoothing)

    def soft_loss(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), teacher.flatten(0, 1).softmax(dim=1))

    def tally(self) -> Tally:
        return TokenTally(self.vocabulary, self.token_bytes)


def _class_numbers(targets: torch.Tensor) -> torch.Tensor:
    """Return whole numbers of any size in 64 bits, as torch's losses take them. Others are for torch to refuse."""
    return targets if targets.is_floating_point() else targets.long()


CRITERIA: Mapping[str, Any] = {
    "classification": Classification,
    "multi-label": MultiLabel,
    "regression": Regression,
    "next-token": NextToken,
}
"""The criteria by their names."""
OF_CLASSES = ("classification", "multi-label")
"""Kinds of criteria whose outputs are compared with each other or with 0: how large they are matters little."""


def largest_error(criterion: Criterion) -> float:
    """Return the largest error that there can be: 1 where it is a share of the items or of the labels."""
    return 1.0 if isinstance(criterion, Classification | MultiLabel) else math.inf
