"""Criteria: the loss that a model is trained by, and the error and the other metrics that it is judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, final

import numpy as np
import torch
import torch.nn.functional as F

from nas.values.comparison import wilson_interval


class Score(NamedTuple):
    """A metric over a split, lower is better, with the 95 % interval for other data of the same kind."""

    value: float
    low: float
    high: float


class Tally(Protocol):
    """Adds up what metrics need, batch by batch, so that the outputs of a whole split never lie in memory."""

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Add a batch: outputs of shape (N, …) and its targets."""
        ...

    @property
    def error(self) -> float:
        """The criterion's error so far, at least 0."""
        ...

    @property
    def chance_error(self) -> float:
        """The error of the best constant answer to the targets so far."""
        ...

    def scores(self) -> Mapping[str, Score]:
        """Return every metric by its name; ``error`` is the first."""
        ...


class Criterion(Protocol):
    """What a model is trained for.

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

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        return F.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def soft_loss(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs, teacher.softmax(dim=1))

    def tally(self) -> Tally:
        return _ClassTally(self.classes)


@final
class _ClassTally:
    def __init__(self, classes: int) -> None:
        self._wrong = 0
        self._members = np.zeros(classes, dtype=np.int64)

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        self._wrong += int((outputs.argmax(dim=1) != targets).sum())
        self._members += np.bincount(targets.cpu().numpy(), minlength=len(self._members))

    @property
    def _count(self) -> int:
        return int(self._members.sum())

    @property
    def error(self) -> float:
        return self._wrong / self._count

    @property
    def chance_error(self) -> float:
        return (self._count - int(self._members.max())) / self._count

    def scores(self) -> dict[str, Score]:
        return {"error": Score(self.error, *wilson_interval(self._wrong, self._count))}


@final
@dataclass(frozen=True)
class MultiLabel:
    """Any number of labels for each item. Outputs are logits of shape (N, labels), targets 0 or 1 of the same shape.

    The error is the share of wrong labels over all items and labels, where a label counts as given from probability
    0.5 on.
    """

    labels: int
    kind = "multi-label"

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        wanted = targets.to(outputs.dtype) * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, wanted)

    def soft_loss(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(outputs, teacher.sigmoid())

    def tally(self) -> Tally:
        return _LabelTally(self.labels)


@final
class _LabelTally:
    def __init__(self, labels: int) -> None:
        self._given = np.zeros(labels, dtype=np.int64)
        self._wrong = np.zeros(labels + 1, dtype=np.int64)  # the number of items with so many wrong labels

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        wanted = targets > 0.5
        wrong = ((outputs > 0) != wanted).sum(dim=1)
        self._wrong += np.bincount(wrong.cpu().numpy(), minlength=len(self._wrong))
        self._given += wanted.sum(dim=0).cpu().numpy()

    @property
    def _count(self) -> int:
        return int(self._wrong.sum())

    @property
    def error(self) -> float:
        return float(self._wrong @ np.arange(len(self._wrong))) / (self._count * len(self._given))

    @property
    def chance_error(self) -> float:
        return float(np.minimum(self._given, self._count - self._given).sum()) / (self._count * len(self._given))

    def scores(self) -> dict[str, Score]:
        """Return the error, with Wilson's interval for as many independent labels as give the items' spread.

        Labels of one item depend on each other, so they count as at least one and at most all of them.
        """
        shares = np.arange(len(self._wrong)) / len(self._given)
        spread = float(self._wrong @ (shares - self.error) ** 2) / self._count
        independent = self.error * (1 - self.error) / spread if spread else 1.0
        count = self._count * min(max(independent, 1.0), len(self._given))
        return {"error": Score(self.error, *wilson_interval(self.error * count, count))}


@final
@dataclass(frozen=True)
class Regression:
    """Numbers for each item. Outputs and targets have the shape (N, values), and targets are standardised.

    The error is the mean squared error of the standardised targets: the share of their variance that stays unexplained
    on data of the same spread.
    """

    kind = "regression"

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        return F.mse_loss(outputs, targets.reshape(outputs.shape).to(outputs.dtype))

    def soft_loss(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(outputs, teacher)

    def tally(self) -> Tally:
        return _NumberTally()


@final
class _NumberTally:
    def __init__(self) -> None:
        self._squares: list[torch.Tensor] = []
        self._targets: list[torch.Tensor] = []

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        targets = targets.reshape(outputs.shape).double().cpu()
        self._squares.append((outputs.double().cpu() - targets).square().mean(dim=1))
        self._targets.append(targets)

    @property
    def error(self) -> float:
        return float(torch.cat(self._squares).mean())

    @property
    def chance_error(self) -> float:
        return float(torch.cat(self._targets).var(dim=0, correction=0).mean())

    def scores(self) -> dict[str, Score]:
        squares = torch.cat(self._squares)
        half = 1.959964 * float(squares.std()) / math.sqrt(len(squares)) if len(squares) > 1 else math.inf
        return {"error": Score(self.error, max(0.0, self.error - half), self.error + half)}


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

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=-100, label_smoothing=smoothing)

    def soft_loss(self, outputs: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), teacher.flatten(0, 1).softmax(dim=1))

    def tally(self) -> Tally:
        return _TokenTally(self)


@final
class _TokenTally:
    def __init__(self, criterion: NextToken) -> None:
        self._bits_of_token = math.log2(criterion.vocabulary)
        self._token_bytes = torch.tensor(criterion.token_bytes)
        self._members = torch.zeros(criterion.vocabulary, dtype=torch.int64)
        self._sums: list[torch.Tensor] = []
        """Of each batch: the bits, the tokens and the bytes of its sequences, shape (3, N)."""

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        losses = F.cross_entropy(outputs.transpose(1, 2).float(), targets, ignore_index=-100, reduction="none")
        targets = targets.cpu()
        is_known = targets >= 0
        sizes = self._token_bytes[targets.clamp(min=0)] * is_known
        self._members += torch.bincount(targets[is_known], minlength=len(self._members))
        bits = losses.double().sum(dim=1).cpu() / math.log(2)
        self._sums.append(torch.stack([bits, is_known.sum(dim=1).double(), sizes.sum(dim=1).double()]))

    @property
    def error(self) -> float:
        bits, tokens, _ = torch.cat(self._sums, dim=1).sum(dim=1).tolist()
        return float(bits / tokens / self._bits_of_token)

    @property
    def chance_error(self) -> float:
        shares = self._members[self._members > 0].double() / self._members.sum()
        return float(-(shares * shares.log2()).sum()) / self._bits_of_token

    def scores(self) -> dict[str, Score]:
        bits, tokens, size = torch.cat(self._sums, dim=1)
        of_token = _ratio(bits, tokens)
        return {
            "error": Score(*(value / self._bits_of_token for value in of_token)),
            "perplexity": Score(*(2**value if value < 1000 else math.inf for value in of_token)),
            "bits_per_byte": _ratio(bits, size),
        }


def _ratio(above: torch.Tensor, below: torch.Tensor) -> Score:
    """Return the ratio of two sums over sequences, with the interval for other sequences of the same kind."""
    value, count = float(above.sum() / below.sum()), len(above)
    squares = float((above - value * below).square().sum())
    half = 1.959964 * math.sqrt(squares * count / (count - 1)) / float(below.sum()) if count > 1 else math.inf
    return Score(value, max(0.0, value - half), value + half)


CRITERIA: Mapping[str, Any] = {
    "classification": Classification,
    "multi-label": MultiLabel,
    "regression": Regression,
    "next-token": NextToken,
}
"""The criteria by their names."""


def largest_error(criterion: Criterion) -> float:
    """Return the largest error that there can be: 1 where it is a share of the items or of the labels."""
    return 1.0 if isinstance(criterion, Classification | MultiLabel) else math.inf
