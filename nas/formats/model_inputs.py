"""The inputs that a model declares, in any format, and fixed values for them to measure with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Input:
    """One declared input. A size that is not fixed is None. ``counts`` are those of its type, where they are known."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    counts: tuple[int, ...] = ()


def image_input(shape: tuple[int, ...]) -> Input:
    """Return the only input of a model of floating-point images, whose ``shape`` includes the batch."""
    return Input("images", np.dtype(np.float32), shape)


def random_inputs(inputs: tuple[Input, ...]) -> dict[str, npt.NDArray[Any]]:
    """Return fixed pseudo-random inputs: standard normal values, or whole numbers below their counts.

    Integers of unknown counts are 0 and 1, because they may be indices.

    Raises:
        ValueError: a size is not fixed.
    """
    values: dict[str, npt.NDArray[Any]] = {}
    for index, declared in enumerate(inputs):
        check_fixed(declared)
        shape = tuple(int(size) for size in declared.shape if size is not None)
        rng = np.random.default_rng(index)
        is_whole = declared.dtype.kind in "iub"
        drawn = rng.integers(0, declared.counts or 2, shape) if is_whole else rng.standard_normal(shape)
        values[declared.name] = drawn.astype(declared.dtype)
    return values


def check_fixed(declared: Input) -> None:
    """Check that an input has no symbolic size left. Raises ValueError, which says how to fix the sizes."""
    if None in declared.shape:
        raise ValueError(
            f"input sizes must be fixed to be measured, but {declared.name} has {shape_text(declared.shape)}; "
            "name them with --input-shape, such as 3x224x224, or export the model with fixed sizes."
        )


def shape_text(shape: Sequence[int | None]) -> str:
    """Return a shape such as ``1×3×?×?``, where a size that is not fixed is a question mark."""
    return "×".join("?" if size is None else str(size) for size in shape) or "no sizes"
