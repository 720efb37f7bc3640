"""Baselines: models of another kind that learn the same task, beside which winners of a search are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True)
class Baseline:
    """A well-known model that a search should beat.

    Attributes:
        name: its name, for people.
        in_words: how it is fitted, in a few words.
        fit: fits it to the training and validation items, and returns it as an ONNX file for a number of items in a
            batch. The file takes the inputs of the task's models, by the same names, and gives the same output.
    """

    name: str
    in_words: str
    fit: Callable[[int], bytes] = field(repr=False)
