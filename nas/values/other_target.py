"""Measurements of one metric on another target, to transfer from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.space.architecture import Architecture


@dataclass(frozen=True, eq=False, repr=False)
class Source:
    """Values of a metric on another target, shape (N,), to transfer from. ``target`` is its name in messages."""

    target: str
    architectures: Sequence[Architecture]
    values: npt.NDArray[np.float64]

    def __repr__(self) -> str:
        return f"Source of {len(self.values)} values on {self.target}"
