"""What may spoil a row of a table without changing its target."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from nas.tasks.batches import Tensors
from nas.tasks.deployed.tabular import NO_VALUE

NOISE, MISSING = "noise", "missing"
"""What may spoil rows."""


def corrupted_rows(
    raw: Tensors, deviations: Sequence[float], name: str, strength: float, generator: torch.Generator
) -> Tensors:
    """Return raw rows, of numbers and of categories as far as there are any, under the corruption called ``name``.

    ``deviations`` are those of the columns of numbers: noise of strength 1 is as strong as a column varies. Missing
    values of strength 1 take half of the cells. Raises ValueError for another name.
    """
    if name == NOISE:
        numbers, *others = raw
        noise = torch.randn(numbers.shape, generator=generator) * torch.tensor(deviations)
        return (numbers + (strength * noise).to(numbers.dtype), *others)
    if name != MISSING:
        raise ValueError(f"a corruption is one of {NOISE}, {MISSING}, but got {name!r}.")
    emptied = []
    for each in raw:
        is_lost = torch.rand(each.shape, generator=generator) < strength / 2
        nothing = math.nan if each.is_floating_point() else NO_VALUE
        emptied.append(torch.where(is_lost, torch.tensor(nothing, dtype=each.dtype), each))
    return tuple(emptied)
