"""Scores: metrics over a split with 95 % intervals for other data of the same kind."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from nas.errors import CandidateError
from nas.tasks.batches import Examples, groups_of
from nas.values.comparison import Z95, wilson_interval

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


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
        """Return every metric by its name; ``error`` is the first.

        A tally may also take ``groups``, the number of the group of each item, shape (N,): items of one group belong
        together, and intervals are for other groups. Those of this project do. One that does not is never given any.
        """
        ...


def add_finite(tally: Tally, outputs: torch.Tensor, targets: torch.Tensor) -> None:
    """Add a batch. Raises CandidateError if an output is NaN or infinite, though it may look like an answer."""
    if not bool(outputs.isfinite().all()):
        items = int((~outputs.isfinite()).reshape(len(outputs), -1).any(dim=1).sum())
        raise CandidateError(
            "nan", f"outputs of a model must be finite, but those of {items} of {len(outputs)} are not."
        )
    tally.add(outputs, targets)


def share_of_items(wrong: float, count: float) -> Score:
    """Return a share of independent items, with Wilson's interval."""
    return Score(wrong / count, *wilson_interval(wrong, count))


def variance_of(influences: FloatArray, groups: IntArray | None = None) -> float:
    """Return the variance of the mean of N influences, for other items, or for other groups of items.

    Infinite if there is only one group, or one item.
    """
    count = len(influences)
    parts = influences - influences.mean()
    if groups is not None:
        parts = np.bincount(np.unique(groups, return_inverse=True)[1], weights=parts)
    if len(parts) < 2:
        return math.inf
    return float(np.square(parts).sum()) / count**2 * len(parts) / (len(parts) - 1)


def bounded_score(value: float, influences: FloatArray, groups: IntArray | None = None) -> Score:
    """Return a value from 0 to 1, with Wilson's interval for as many items as give its variance.

    ``influences``, shape (N,), are the changes of N times the value for each item: their spread over the root of N is
    the standard error (the infinitesimal jackknife of Jaeckel, 1972). Wilson's interval stays within 0 and 1, and
    does not vanish when a test has no mistake. With ``groups``, those are the items.
    """
    count = len(influences) if groups is None else len(np.unique(groups))
    variance, share = variance_of(influences, groups), value * (1 - value)
    items = count if variance <= 0 or share <= 0 else max(1.0, min(float(count) * count, share / variance))
    return Score(value, *wilson_interval(value * items, items))


def free_score(value: float, influences: FloatArray, groups: IntArray | None = None) -> Score:
    """Return a value of at least 0, with a normal interval by the influences of N items, as in ``bounded_score``."""
    half = Z95 * math.sqrt(variance_of(influences, groups))
    return Score(value, max(0.0, value - half), value + half)


def mean_of_shares(wrong: FloatArray, counts: FloatArray) -> Score:
    """Return the mean of shares of separate groups of items, each from ``wrong`` of ``counts``, shape (G,).

    The interval adds those of Wilson in quadrature (Zou and Donner, "Construction of confidence limits about effect
    measures: a general approach", 2008), so that groups of a few items widen it as they should.
    """
    shares = wrong / counts
    bounds = np.array([wilson_interval(float(w), float(n)) for w, n in zip(wrong, counts, strict=True)])
    value = float(shares.mean())
    below, above = (float(np.linalg.norm(shares - bounds[:, side])) / len(shares) for side in (0, 1))
    return Score(value, max(0.0, value - below), min(1.0, value + above))


def scores_of(tally: Tally, examples: Examples) -> Mapping[str, Score]:
    """Return the scores of a split, by its ``groups`` if it has some: then items of one group belong together."""
    return grouped_scores(tally, groups_of(examples))


def grouped_scores(tally: Tally, groups: IntArray | None) -> Mapping[str, Score]:
    """Return the scores of a tally. If its ``scores`` takes ``groups``, it gets the number of each item's group, (N,).

    ``groups`` are None if each item stands alone. A tally that does not take them counts each item alone, too.
    """
    scores: Any = tally.scores
    if groups is None:
        return dict(scores())
    parameters = inspect.signature(scores).parameters
    kinds = {each.kind for each in parameters.values()}
    if "groups" in parameters or inspect.Parameter.VAR_KEYWORD in kinds:
        return dict(scores(groups=groups))
    return dict(scores(groups) if inspect.Parameter.VAR_POSITIONAL in kinds else scores())
