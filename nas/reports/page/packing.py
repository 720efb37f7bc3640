"""Columns of numbers as short texts: the bytes of little-endian arrays in base64, exact and quick to read."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def packed_floats(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Return a column of floats, of which None and NaN are absent; None if all are.

    A column of which less than half is present has the places of the present ones, ``at``, beside ``f8``.
    """
    found = np.array([math.nan if value is None else value for value in values], dtype="<f8")
    present = np.flatnonzero(~np.isnan(found))
    if not len(present):
        return None
    if len(present) * 2 < len(found):
        return {"f8": _text(found[present]), "at": packed_counts(present.tolist())}
    return {"f8": _text(found)}


def packed_counts(values: Sequence[int]) -> dict[str, str]:
    """Return a column of whole numbers from 0 on, in as few bytes each as the largest one needs."""
    largest = max(values, default=0)
    kind = "u1" if largest < 2**8 else "u2" if largest < 2**16 else "u4"
    return {kind: _text(np.array(values, dtype=f"<{kind}"))}


def _text(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
