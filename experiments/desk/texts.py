"""Twenty lines for text: interpolated n-grams by Witten and Bell, whose order the validation split chooses.

Witten and Bell, "The zero-frequency problem" (1991), in the interpolated form of Chen and Goodman (1999).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.desk.simple_models import Fitted, thread_ms
from nas.values.pareto import FloatArray

ORDERS = (2, 3, 4, 5)
BYTES = 256
Tokens = Sequence[Any]
"""Texts, each an array of bytes."""


def fit_texts(task: Any, seed: int, folder: Path) -> list[Fitted]:
    """Return the n-grams of each order. Those that are tested count the validation texts too.

    An n-gram sees all bytes before the one that it tells, and a model of the search only those of its window. Its
    latency is the time of one window in numpy, because it has no ONNX file.
    """
    train, validation, test = (texts_of(task, title) for title in ("train", "validation", "test"))
    found = []
    for order in ORDERS:
        chosen = NGrams.of(train, order).shares(validation, task.context)
        counted = NGrams.of([*train, *validation], order)
        window = [test[0][: task.context + 1]]
        milliseconds = thread_ms(lambda: counted.probabilities(window))  # noqa: B023 called at once
        errors = counted.shares(test, task.context)
        name = f"{order}-gram, Witten-Bell"
        found.append(Fitted(name, float(chosen.mean()), errors, pipeline_ms=milliseconds))
    return found


def texts_of(task: Any, title: str) -> list[Any]:
    """Return the texts of a split."""
    return np.split(np.asarray(task.tokens.tokens(title)), task.tokens.ends[title][:-1])


@dataclass(frozen=True)
class Counts:
    """Numbers of times: of n-grams of one order, and of what they begin with, which also has different followers."""

    grams: Any
    times: Any
    contexts: Any
    context_times: Any
    followers: Any


@dataclass(frozen=True)
class NGrams:
    """Counts of each order from 1."""

    counts: tuple[Counts, ...]

    @classmethod
    def of(cls, texts: Tokens, order: int) -> NGrams:
        """Return the counts in some texts."""
        found = []
        for size in range(1, order + 1):
            grams, times = np.unique(np.concatenate([packed(text, size) for text in texts]), return_counts=True)
            contexts, first, followers = np.unique(grams >> 8, return_index=True, return_counts=True)
            found.append(Counts(grams, times, contexts, np.add.reduceat(times, first), followers))
        return cls(tuple(found))

    def probabilities(self, texts: Tokens) -> list[FloatArray]:
        """Return for each text the probability of each byte, given those before it.

        At each order, ``followers`` is how often a context was seen with something new after it. This is the weight of
        the order below.
        """
        found = []
        for text in texts:
            shares = np.full(len(text), 1 / BYTES)
            for size, known in enumerate(self.counts, start=1):
                grams = packed(text, size)
                times = looked_up(grams, known.grams, known.times)
                of_context = looked_up(grams >> 8, known.contexts, known.context_times)
                new = looked_up(grams >> 8, known.contexts, known.followers)
                below = shares[size - 1 :]
                mixed = (times + new * below) / np.maximum(of_context + new, 1)
                shares[size - 1 :] = np.where(of_context > 0, mixed, below)
            found.append(shares)
        return found

    def shares(self, texts: Tokens, context: int) -> FloatArray:
        """Return the error of each window of ``context`` bytes, as ``errors_of`` does. The first byte is given."""
        sums, sizes = [], []
        for shares in self.probabilities([text for text in texts if len(text) > 1]):
            losses = -np.log(shares[1:]) / math.log(BYTES)
            starts = np.arange(0, len(losses), context)
            sums.append(np.add.reduceat(losses, starts))
            sizes.append(np.minimum(len(losses) - starts, context))
        errors: FloatArray = np.concatenate(sums) / np.concatenate(sizes).mean()
        return errors


def packed(text: Any, size: int) -> Any:
    """Return the n-grams of a text as whole numbers, the last byte lowest. Orders up to 8 fit."""
    count = max(len(text) - size + 1, 0)
    found = np.zeros(count, dtype=np.uint64)
    for place in range(size):
        found = (found << np.uint64(8)) | text[place : place + count].astype(np.uint64)
    return found


def looked_up(wanted: Any, keys: Any, values: Any) -> Any:
    """Return the values of keys in order, and 0 for those that are not among them."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)
