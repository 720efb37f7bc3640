"""Tallies of the criteria: what each adds up over a split, and the scores that it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from nas.tasks.scores import (
    FloatArray,
    IntArray,
    Score,
    bounded_score,
    free_score,
    mean_of_shares,
    share_of_items,
)
from nas.values.comparison import Z95, wilson_interval

MOST_PROBABLE = 5
CONFIDENCE_BINS = 15


def class_metrics(classes: int) -> tuple[str, ...]:
    """Return the names of the scores of ``classes``; with at most five, the class is always among five."""
    top5 = ("top5_error",) if classes > MOST_PROBABLE else ()
    return ("error", *top5, "balanced_error", "macro_f1_loss", "calibration_error", "log_loss")


@final
class ClassTally:
    """The tally of one class for each item. It keeps a few numbers of each item, for scores of whole classes."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._wrong = 0
        self._members = np.zeros(classes, dtype=np.int64)
        self._found: list[torch.Tensor] = []
        """Of each batch: the label, the answer, and whether the label is among the five most probable, (N, 3)."""
        self._confidences: list[torch.Tensor] = []
        self._losses: list[torch.Tensor] = []

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        answers = outputs.argmax(dim=1)
        self._wrong += int((answers != targets).sum())
        self._members += np.bincount(targets.cpu().numpy(), minlength=self._classes)
        best = outputs.topk(min(MOST_PROBABLE, self._classes), dim=1).indices
        is_among = (best == targets[:, None]).any(dim=1)
        self._found.append(torch.stack([targets.long(), answers, is_among.long()], dim=1).cpu())
        self._confidences.append(outputs.float().softmax(dim=1).amax(dim=1).cpu())
        self._losses.append(F.cross_entropy(outputs.float(), targets.long(), reduction="none").double().cpu())

    @property
    def _count(self) -> int:
        return int(self._members.sum())

    @property
    def error(self) -> float:
        return self._wrong / self._count

    @property
    def chance_error(self) -> float:
        return (self._count - int(self._members.max())) / self._count

    @property
    def confusion(self) -> IntArray:
        """The number of items by label and answer, shape (classes, classes)."""
        found = torch.cat(self._found).numpy() if self._found else np.zeros((0, 3), dtype=np.int64)
        pairs = found[:, 0] * self._classes + found[:, 1]
        return np.bincount(pairs, minlength=self._classes**2).reshape(self._classes, self._classes)

    def scores(self, groups: IntArray | None = None) -> dict[str, Score]:
        """Return the scores; with ``groups``, of shape (N,), intervals are for other groups of items."""
        labels, answers, is_among = torch.cat(self._found).numpy().T
        confidences = torch.cat(self._confidences).double().numpy()
        losses = torch.cat(self._losses).numpy()
        is_there = self._members > 0
        missed = np.bincount(labels[labels != answers], minlength=self._classes).astype(np.float64)
        members = self._members.astype(np.float64)
        if groups is None:
            error = share_of_items(self._wrong, self._count)
            top5 = share_of_items(self._count - int(is_among.sum()), self._count)
            balanced = mean_of_shares(missed[is_there], members[is_there])
        else:
            wrong, shares = (labels != answers).astype(np.float64), missed / np.maximum(members, 1)
            error = bounded_score(self.error, wrong, groups)
            top5 = bounded_score(1 - float(is_among.mean()), 1.0 - is_among, groups)
            influences = self._count / is_there.sum() * (wrong - shares[labels]) / members[labels]
            balanced = bounded_score(float(shares[is_there].mean()), influences, groups)
        scores = {
            "error": error,
            "top5_error": top5,
            "balanced_error": balanced,
            "macro_f1_loss": macro_f1_loss(labels, answers, self._classes, groups),
            "calibration_error": calibration_error(confidences, labels == answers, groups),
            "log_loss": free_score(float(losses.mean()), losses, groups),
        }
        return {name: scores[name] for name in class_metrics(self._classes)}


def macro_f1_loss(labels: IntArray, answers: IntArray, classes: int, groups: IntArray | None = None) -> Score:
    """Return 1 − the mean F1 score of the classes that are among labels or answers, both of shape (N,)."""
    members, given = (np.bincount(each, minlength=classes).astype(np.float64) for each in (labels, answers))
    hits = np.bincount(labels[labels == answers], minlength=classes)
    of_both = np.maximum(members + given, 1.0)
    losses = np.where(members + given > 0, 1 - 2 * hits / of_both, 0.0)
    known = int((members + given > 0).sum())
    # An item counts in the class of its label and in that of its answer: by 1 − loss where the two differ, in each.
    count, is_wrong = len(labels), labels != answers
    own, other = (np.where(is_wrong, 1.0, 0.0) - losses[each] for each in (labels, answers))
    influences = count * (own / of_both[labels] + other / of_both[answers]) / known
    return bounded_score(float(losses.sum()) / known, influences, groups)


def calibration_error(
    confidences: FloatArray, is_right: npt.NDArray[np.bool_], groups: IntArray | None = None
) -> Score:
    """Return the mean difference between confidence and accuracy in 15 bins of N confidences, weighted by items.

    Guo and others, "On calibration of modern neural networks", 2017.
    """
    bins = np.minimum((confidences * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
    differences = confidences - is_right
    sums = np.bincount(bins, weights=differences, minlength=CONFIDENCE_BINS)
    return bounded_score(float(np.abs(sums).sum()) / len(confidences), np.sign(sums)[bins] * differences, groups)


@final
class LabelTally:
    """The tally of any number of labels for each item."""

    def __init__(self, labels: int) -> None:
        self._labels = labels
        self._found: list[npt.NDArray[np.bool_]] = []
        """Of each batch: the wanted and the given labels, shape (2, N, labels)."""

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        self._found.append(torch.stack([targets > 0.5, outputs > 0]).cpu().numpy())

    @property
    def error(self) -> float:
        wanted, given = np.concatenate(self._found, axis=1)
        return float((wanted != given).mean())

    @property
    def chance_error(self) -> float:
        wanted = np.concatenate(self._found, axis=1)[0].sum(axis=0)
        count = sum(each.shape[1] for each in self._found)
        return float(np.minimum(wanted, count - wanted).sum() / (count * self._labels))

    def scores(self, groups: IntArray | None = None) -> dict[str, Score]:
        """Return the scores. Labels of one item depend on each other, so intervals go by items, not by labels."""
        wanted, given = np.concatenate(self._found, axis=1)
        wrong = (wanted != given).astype(np.float64)
        each = wrong.mean(axis=1)
        error = self._error_score(wrong.sum(axis=1)) if groups is None else bounded_score(self.error, each, groups)
        return {"error": error, "macro_f1_loss": _label_f1_loss(wanted, given, wrong, groups)}

    def _error_score(self, wrong: FloatArray) -> Score:
        """Return the error of N items with ``wrong`` labels each, shape (N,).

        Wilson's interval is for as many independent labels as give the items' spread: at least one an item, and at
        most all.
        """
        value, spread = float(wrong.mean()) / self._labels, float(np.var(wrong / self._labels))
        independent = value * (1 - value) / spread if spread else 1.0
        count = len(wrong) * min(max(independent, 1.0), self._labels)
        return Score(value, *wilson_interval(value * count, count))


def _label_f1_loss(
    wanted: npt.NDArray[np.bool_], given: npt.NDArray[np.bool_], wrong: FloatArray, groups: IntArray | None
) -> Score:
    """Return 1 − the mean F1 score of the labels that are wanted or given anywhere; all arrays (N, labels)."""
    touched = wanted.astype(np.float64) + given
    sums = touched.sum(axis=0)
    is_known = sums > 0
    if not is_known.any():
        return Score(0.0, 0.0, 1.0)
    losses = wrong.sum(axis=0)[is_known] / sums[is_known]
    changes = (wrong[:, is_known] - losses * touched[:, is_known]) * len(wanted) / sums[is_known]
    return bounded_score(float(losses.mean()), changes.mean(axis=1), groups)


@final
class NumberTally:
    """The tally of values, whose differences of 1 are ``scale`` in the units of the data."""

    def __init__(self, scale: Sequence[float] = ()) -> None:
        self._scale = np.array(scale or (1.0,))
        self._errors: list[torch.Tensor] = []
        self._targets: list[torch.Tensor] = []

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        targets = targets.reshape(outputs.shape).double().cpu()
        self._errors.append(outputs.double().cpu() - targets)
        self._targets.append(targets)

    @property
    def error(self) -> float:
        return float(torch.cat(self._errors).square().mean(dim=1).mean())

    @property
    def chance_error(self) -> float:
        return float(torch.cat(self._targets).var(dim=0, correction=0).mean())

    def scores(self, groups: IntArray | None = None) -> dict[str, Score]:
        """Return the scores; with ``groups``, of shape (N,), intervals are for other groups of items."""
        errors, targets = torch.cat(self._errors).numpy(), torch.cat(self._targets).numpy()
        squares = np.square(errors * self._scale).mean(axis=1)
        absolute = np.abs(errors * self._scale).mean(axis=1)
        mse = free_score(float(squares.mean()), squares, groups)
        return {
            "error": free_score(self.error, np.square(errors).mean(axis=1), groups),
            "unexplained_variance": _unexplained(np.square(errors), np.square(targets - targets.mean(axis=0)), groups),
            "mae": free_score(float(absolute.mean()), absolute, groups),
            "rmse": Score(*(math.sqrt(each) for each in mse)),
            "mse": mse,
        }


def _unexplained(errors: FloatArray, spreads: FloatArray, groups: IntArray | None) -> Score:
    """Return 1 − R², the mean over values, by the squares of errors and of targets around their means, (N, values)."""
    variances = spreads.mean(axis=0)
    if not (variances > 0).all():
        return Score(math.inf, 0.0, math.inf)
    shares = errors.mean(axis=0) / variances
    return free_score(float(shares.mean()), ((errors - shares * spreads) / variances).mean(axis=1), groups)


@final
class TokenTally:
    """The tally of next tokens: their bits, in all and for each byte of text."""

    def __init__(self, vocabulary: int, token_bytes: Sequence[int]) -> None:
        self._bits_of_token = math.log2(vocabulary)
        self._token_bytes = torch.tensor(token_bytes)
        self._members = torch.zeros(vocabulary, dtype=torch.int64)
        self._sums: list[torch.Tensor] = []
        """Of each batch: the bits, the tokens and the bytes of its sequences, shape (3, N)."""

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        targets = targets.long()
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

    def scores(self, groups: IntArray | None = None) -> dict[str, Score]:
        """Return the scores; with ``groups``, of shape (N,), intervals are for other groups of sequences."""
        bits, tokens, size = torch.cat(self._sums, dim=1)
        if groups is not None:
            bits, tokens, size = (_sums_by_group(each, groups) for each in (bits, tokens, size))
        of_token = _ratio(bits, tokens)
        return {
            "error": Score(*(value / self._bits_of_token for value in of_token)),
            "perplexity": Score(*(2**value if value < 1000 else math.inf for value in of_token)),
            "bits_per_byte": _ratio(bits, size),
        }


def _sums_by_group(values: torch.Tensor, groups: IntArray) -> torch.Tensor:
    """Return the sum of each group's values, shape (G,), of those of its sequences, shape (N,)."""
    return torch.from_numpy(np.bincount(np.unique(groups, return_inverse=True)[1], weights=values.numpy()))


def _ratio(above: torch.Tensor, below: torch.Tensor) -> Score:
    """Return the ratio of two sums over sequences or groups, with the interval for others of the same kind."""
    value, count = float(above.sum() / below.sum()), len(above)
    squares = float((above - value * below).square().sum())
    half = Z95 * math.sqrt(squares * count / (count - 1)) / float(below.sum()) if count > 1 else math.inf
    return Score(value, max(0.0, value - half), value + half)
