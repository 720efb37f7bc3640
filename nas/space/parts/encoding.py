"""Architectures as one-hot columns, and back."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import SearchSpace, settle

FloatArray = npt.NDArray[np.float64]


def encode(space: SearchSpace, architectures: Sequence[Architecture]) -> FloatArray:
    """Return one-hot features, shape (N, D): one column for each option, all zero for an inactive choice."""
    columns = {
        (choice.name, option): index
        for index, (choice, option) in enumerate(itertools.chain.from_iterable(_pairs(c) for c in space.choices))
    }
    features = np.zeros((len(architectures), len(columns)))
    for row, architecture in enumerate(architectures):
        for name, value in architecture.items():
            features[row, columns[name, value]] = 1.0
    return features


def decode(space: SearchSpace, features: FloatArray) -> Architecture:
    """Return the architecture whose encoding, shape (D,), is nearest to ``features`` choice by choice."""
    start = 0
    best: dict[str, Option] = {}
    for choice in space.choices:
        part = features[start : start + len(choice.options)]
        best[choice.name] = choice.options[int(np.argmax(part))]
        start += len(choice.options)
    return settle(space, lambda choice: best[choice.name])


def _pairs(choice: Choice) -> list[tuple[Choice, Option]]:
    return [(choice, option) for option in choice.options]
